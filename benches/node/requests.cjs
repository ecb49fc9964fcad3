// CPU per request of an HTTP server that says hello, with and without what watches it: each server a process of its own.
//
//   node requests.cjs GENERATIONS ROUNDS SLICE_MS TOOL...
//
// A tool is a word of TOOLS below; the first is what the others are compared with, and belongs there twice (A/A):
// `node requests.cjs 6 20 100 off off loopscope`. Servers run on the last processor, this client on the first. They take turns in short
// slices, in an order that changes, and are started anew in each generation, because where the memory of one lies makes a
// difference. CPU time is that of all threads of the process (getrusage), asked for before and after each slice. Tools of others
// are found in the folder PEERS/node_modules (`npm install` here); LOOPSCOPE_NODE_ADDON is the addon.
'use strict';
const { spawn } = require('child_process');
const { once } = require('events');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { REQUEST, load } = require('./load.cjs');

const CONNECTIONS = 16;
const WARM_UP = 2;
const ASK_CPU = 'GET /cpu HTTP/1.1\r\nhost: localhost\r\n\r\n';
const PEERS = process.env.PEERS || __dirname;
const server = path.join(__dirname, 'server.cjs');
const register = path.join(__dirname, '../../loop/node/npm/register.cjs');
const bin = (name) => path.join(PEERS, 'node_modules/.bin', name);

// What is in front of the server: flags of Node, or a command that starts it.
const TOOLS = {
  off: [],
  loopscope: ['--require', register],
  'loopscope, no captures': ['--require', register],
  'async_hooks': [],
  'prom-client': [], monitorEventLoopDelay: [], 'blocked-at': [], 'sentry block': [], 'sentry all': [],
  'cpu-prof': ['--cpu-prof'],
  '0x': { command: [bin('0x'), '--output-dir', 'flame', '--'] },
  'clinic doctor': { command: [bin('clinic'), 'doctor', '--collect-only', '--'] },
};

// Servers that run: whatever ends this program ends them.
const running = new Set();
process.on('exit', () => running.forEach((child) => process.kill(-child.pid, 'SIGKILL')));

const lastProcessor = os.cpus().length - 1;

async function start(tool) {
  const of = TOOLS[tool];
  const [command, flags] = Array.isArray(of) ? [[process.execPath], of] : [[process.execPath, ...of.command, process.execPath], []];
  const [first, ...rest] = [...command, ...flags, server, tool];
  const env = { ...process.env, LOOPSCOPE_LISTEN: 'off', NO_INSIGHT: '1' };
  if (tool === 'loopscope, no captures') env.LOOPSCOPE_CAPTURES = 'off';
  // Some write files to where they are.
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'requests-'));
  const stdio = ['ignore', 'pipe', 'inherit'];
  const child = spawn('taskset', ['-c', String(lastProcessor), first, ...rest], { env, cwd, stdio, detached: true });
  running.add(child);
  child.on('exit', () => running.delete(child));
  const port = await new Promise((done, fail) => {
    let text = '';
    // Read on to the end: some write when they end, too.
    child.stdout.on('data', (part) => {
      text += part;
      const said = /port (\d+)/.exec(text);
      if (said) done(Number(said[1]));
    });
    child.on('exit', () => fail(new Error(`${tool} did not start: ${text}`)));
  });
  return { tool, child, cwd, port };
}

async function connect(port) {
  const socket = net.connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  await once(socket, 'connect');
  return socket;
}

async function ask(socket, request) {
  socket.write(request);
  const [answer] = await once(socket, 'data');
  return answer.toString();
}

async function generation(tools, rounds, sliceMs, cost) {
  const servers = [];
  for (const tool of tools) servers.push(await start(tool));
  for (const one of servers) {
    one.sockets = [];
    for (let at = 0; at < CONNECTIONS; at += 1) one.sockets.push(await connect(one.port));
  }
  const cpu = async (one) => Number(/cpu (\d+)/.exec(await ask(one.sockets[0], ASK_CPU))[1]);
  // Until V8 has compiled what is hot.
  for (const one of servers) await load(one.sockets, 1500);
  for (let round = 0; round < rounds + WARM_UP; round += 1) {
    for (let turn = 0; turn < servers.length; turn += 1) {
      // There and back, so that none has always the same one before it.
      const at = (round + (round % 2 ? servers.length - turn : turn)) % servers.length;
      const before = await cpu(servers[at]);
      const answers = await load(servers[at].sockets, sliceMs);
      const us = ((await cpu(servers[at])) - before) / answers;
      if (round >= WARM_UP) cost[at].push(us);
    }
  }
  for (const one of servers) {
    one.sockets.forEach((socket) => socket.destroy());
    const ended = once(one.child, 'exit');
    process.kill(-one.child.pid, 'SIGINT');
    await ended;
    fs.rmSync(one.cwd, { recursive: true, force: true });
  }
}

function sorted(values) { return [...values].sort((a, b) => a - b); }
const median = (values) => sorted(values)[values.length >> 1];

function report(tools, cost) {
  console.log(`Node ${process.version}, ${cost[0].length} slices each`);
  console.log('| server | CPU us/request | ratio to off, paired, median [95 % of it] |\n|---|---|---|');
  tools.forEach((tool, at) => {
    const ratios = sorted(cost[at].map((us, slice) => us / cost[0][slice]));
    // Ranks between which the true median lies in 95 of 100 cases.
    const reach = 0.98 * Math.sqrt(ratios.length);
    const rank = (where) => ratios[Math.min(ratios.length - 1, Math.max(0, Math.floor(where)))].toFixed(3);
    const half = ratios.length / 2;
    console.log(`| ${tool} | ${median(cost[at]).toFixed(1)} | ${rank(half)} [${rank(half - reach)}, ${rank(half + reach)}] |`);
  });
}

async function main() {
  const [generations, rounds, sliceMs, ...tools] = process.argv.slice(2);
  const unknown = tools.find((tool) => !(tool in TOOLS));
  if (unknown !== undefined || tools.length === 0) {
    throw new Error(`no tool is called "${unknown ?? ''}"; known are: ${Object.keys(TOOLS).join(', ')}`);
  }
  const cost = tools.map(() => []);
  for (let at = 0; at < Number(generations); at += 1) await generation(tools, Number(rounds), Number(sliceMs), cost);
  report(tools, cost);
  process.exit();
}
main();
