// What each part of the adapter costs: of an HTTP request that says hello, and of a turn of the loop with one immediate.
//
//   node parts.cjs [ROUNDS] [SLICE_MS]        LOOPSCOPE_NODE_ADDON: the addon
//
// One process, in which `pause` takes everything off the loop's thread, and puts it back without the parts that are named. Each slice
// with parts has one with nothing before it and one after it, and is compared with the mean of the two; the control (A/A) has nothing
// in it either. "Told nothing" is what Node, V8 and libuv do for our hooks, which return at once. CPU time is that of all threads. The
// server runs on the last processor, this client on the first.
'use strict';
const { spawn } = require('child_process');
const http = require('http');
const net = require('net');
const os = require('os');
const path = require('path');
const { load } = require('./load.cjs');

const CONNECTIONS = 16;
const TURNS = 4000;
const PARTS = ['handles', 'entries', 'checkpoints', 'gc', 'drains', 'names', 'turns'];
const MODES = [
  ['nothing (A/A)', null],
  ['everything', []],
  ['everything, told nothing', ['telling']],
  ...PARTS.map((part) => [`without ${part}`, [part]]),
  ...PARTS.map((part) => [`without ${part}, told nothing`, [part, 'telling']]),
];

function child() {
  const loopscope = require('../../loop/node/npm/index.cjs');
  const cpu = () => { const { user, system } = process.cpuUsage(); return user + system; };
  const turns = (count) => new Promise((done) => {
    let left = count;
    const step = () => { left -= 1; if (left > 0) setImmediate(step); else done(); };
    setImmediate(step);
  });
  const server = http.createServer((request, response) => response.end('hello'));
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
  process.on('message', async ({ mode, ask }) => {
    if (mode !== undefined) {
      loopscope.pause(true);
      if (mode) loopscope.pause(false, mode);
    }
    if (ask === 'turns') {
      const before = cpu();
      await turns(TURNS);
      return process.send({ us: (cpu() - before) / TURNS });
    }
    process.send({ us: cpu() });
  });
}

const ask = (one, message) => new Promise((done) => { one.once('message', done); one.send(message); });

async function requestUs(one, sockets, mode, sliceMs) {
  const { us: before } = await ask(one, { mode });
  const answers = await load(sockets, sliceMs);
  return ((await ask(one, {})).us - before) / answers;
}

async function parent(rounds, sliceMs) {
  const register = path.join(__dirname, '../../loop/node/npm/register.cjs');
  const env = { ...process.env, LOOPSCOPE_LISTEN: 'off', LOOPSCOPE_THRESHOLDS: '1h/2h' };
  const flags = ['-c', String(os.cpus().length - 1), process.execPath, '--require', register, __filename, 'child'];
  const one = spawn('taskset', flags, { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const { port } = await new Promise((done) => { one.once('message', done); });
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => done(socket));
    socket.setNoDelay(true);
  })));
  const works = [
    ['a request', (mode) => requestUs(one, sockets, mode, sliceMs)],
    ['a turn', async (mode) => (await ask(one, { mode, ask: 'turns' })).us],
  ];
  await load(sockets, 2000);
  for (const [name, work] of works) {
    for (const mode of [[], null, []]) await work(mode);
    const more = MODES.map(() => []);
    const off = [];
    for (let round = 0; round < rounds; round += 1) {
      let before = await work(null);
      for (let turn = 0; turn < MODES.length; turn += 1) {
        const at = (turn * 5 + round * 7) % MODES.length;
        const us = await work(MODES[at][1]);
        const after = await work(null);
        more[at].push((us - (before + after) / 2) * 1000);
        off.push(after);
        before = after;
      }
    }
    report(name, off, more);
  }
  one.kill();
}

function report(name, off, more) {
  const sorted = (values) => [...values].sort((a, b) => a - b);
  const base = sorted(off)[off.length >> 1] * 1000;
  console.log(`\nNode ${process.version}, ${name}: ${more[0].length} slices each; with nothing ${base.toFixed(0)} ns`);
  console.log('| what | more, ns, median [95 % of it] | ratio |\n|---|---|---|');
  MODES.forEach(([mode], at) => {
    const all = sorted(more[at]);
    const reach = 0.98 * Math.sqrt(all.length);
    const rank = (where) => all[Math.min(all.length - 1, Math.max(0, Math.floor(where)))];
    const half = all.length / 2;
    const [low, middle, high] = [rank(half - reach), rank(half), rank(half + reach)];
    console.log(`| ${mode} | ${middle.toFixed(0)} [${low.toFixed(0)}, ${high.toFixed(0)}] | ${(1 + middle / base).toFixed(3)} |`);
  });
}

if (process.argv[2] === 'child') child(); else parent(Number(process.argv[2] || 40), Number(process.argv[3] || 60));
