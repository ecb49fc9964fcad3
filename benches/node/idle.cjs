// Memory and wake-ups of an idle HTTP server with and without the addon, and with it after its first capture.
//
//   node idle.cjs [ROUNDS]        LOOPSCOPE_NODE_ADDON: the addon
//
// Resident memory and the heap of JavaScript after a forced collection; wake-ups are the voluntary switches of our threads and of all
// others, counted from outside (V8's threads wake some 60 times, once, some seconds after the last work). The capture is of a block of
// half a second in pbkdf2Sync.
'use strict';
const { spawn } = require('child_process');
const fs = require('fs');
const path = require('path');

const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

function child() {
  const crypto = require('crypto');
  const http = require('http');
  const server = http.createServer((request, response) => response.end('hello')).listen(0, '127.0.0.1');
  void server;
  const hash = () => { const end = Date.now() + 500; while (Date.now() < end) crypto.pbkdf2Sync('p', 's', 20000, 64, 'sha512'); };
  process.on('message', (what) => {
    if (what === 'block') hash();
    global.gc();
    setTimeout(() => {
      global.gc();
      const { rss, heapUsed } = process.memoryUsage();
      process.send({ rss: rss / 2 ** 20, heap: heapUsed / 2 ** 20 });
    }, 2000);
  });
  process.channel.unref();
}

const ask = (one, what) => new Promise((done) => { one.once('message', done); one.send(what); });

function switches(pid) {
  const sum = { ours: 0, others: 0 };
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    const status = fs.readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    sum[/^Name:\s+loopscope-/m.test(status) ? 'ours' : 'others'] += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)[1]);
  }
  return sum;
}

async function one(flags) {
  const running = spawn(process.execPath, ['--expose-gc', ...flags, __filename, 'child'], {
    env: { ...process.env, LOOPSCOPE_LISTEN: '127.0.0.1:0' }, stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  await sleep(5000);
  const told = { idle: await ask(running, 'tell') };
  await sleep(5000);
  const before = switches(running.pid);
  await sleep(20000);
  const after = switches(running.pid);
  told.ours = (after.ours - before.ours) / 20;
  told.others = (after.others - before.others) / 20;
  told.captured = await ask(running, 'block');
  await sleep(58000);
  told.minute = await ask(running, 'tell');
  running.kill();
  return told;
}

async function main() {
  const register = path.join(__dirname, '../../loop/node/npm/register.cjs');
  const rounds = Number(process.argv[2] || 5);
  const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
  // Side by side: nothing of this depends on who has a processor.
  const all = await Promise.all(Array.from({ length: rounds * 2 }, (_, at) => one(at % 2 ? ['--require', register] : [])));
  const of = (parity, read) => middle(all.filter((_, at) => at % 2 === parity).map(read));
  console.log(`Node ${process.version}, ${rounds} processes each, medians`);
  console.log('| what | without | with | more |\n|---|---|---|---|');
  const rows = [
    ['resident, idle, MiB', (told) => told.idle.rss], ['heap of JavaScript, idle, MiB', (told) => told.idle.heap],
    ['wake-ups a second, idle, our threads', (told) => told.ours],
    ['wake-ups a second, idle, all others', (told) => told.others],
    ['resident, after a block and its capture, MiB', (told) => told.captured.rss],
    ['resident, a minute later, MiB', (told) => told.minute.rss],
    ['heap of JavaScript, a minute later, MiB', (told) => told.minute.heap],
  ];
  for (const [name, read] of rows) {
    const [without, withIt] = [of(0, read), of(1, read)];
    console.log(`| ${name} | ${without.toFixed(2)} | ${withIt.toFixed(2)} | ${(withIt - without).toFixed(2)} |`);
  }
}

if (process.argv[2] === 'child') child(); else main();
