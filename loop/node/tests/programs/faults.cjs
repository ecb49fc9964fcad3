// Blocks the loop in one way after the other, each in a request of its own: node faults.cjs FAULT...
'use strict';
const http = require('http');
const crypto = require('crypto');
const fs = require('fs');
const child = require('child_process');
const loopscope = require(process.env.LOOPSCOPE_INDEX);
const whenWatched = require('./watched.cjs');

const MS = 450;
const until = (ms) => { const end = Date.now() + ms; return () => Date.now() < end; };

function spin(ms) { const goes = until(ms); while (goes()) {} }
function parseBig() { return JSON.parse(parseBig.text ||= `[${'{"a":[1,2,3,"xxxxxxxxxxxxxxxx"],"b":{"c":null}},'.repeat(500000)}1]`); }
function hash() { return crypto.pbkdf2Sync('p', 's', 700000, 64, 'sha512'); }
function backtrack() { return /^(a+)+$/.test('a'.repeat(25) + 'b'); }
async function recur() { const goes = until(MS); while (goes()) await null; }
function ticks() { const goes = until(MS); (function again() { if (goes()) process.nextTick(again); })(); }
function immediates() { for (let i = 0; i < 1500; i++) setImmediate(function small() { const end = process.hrtime.bigint() + 300000n; while (process.hrtime.bigint() < end) {} }); }
function sortHuge() { const all = Array.from({ length: 900000 }, () => Math.random()); all.sort(function bySize(a, b) { return a - b; }); }
function thrash() { const goes = until(MS); const kept = []; while (goes()) { kept.push(new Array(1000).fill({ a: 1 })); if (kept.length > 20000) kept.length = 0; } }
function timers() { for (let i = 0; i < 40; i++) setTimeout(function slow() { const goes = until(12); while (goes()) {} }, 5); }
function timer() { setTimeout(function lone() { const end = Date.now() + MS; while (Date.now() < end); }, 5); }
function behind() {
  for (let i = 0; i < 3; i++) setTimeout(function quick() {}, 5);
  setTimeout(function last() { const end = Date.now() + MS; while (Date.now() < end); }, 5);
  setTimeout(function quick() {}, 5);
}
function execute() { child.execSync('sleep 0.45'); }
function readFifo() {
  const file = `${process.env.LOOPSCOPE_RUNTIME_DIR}/fifo-${process.pid}`;
  child.execSync(`mkfifo ${file}`);
  child.spawn('sh', ['-c', `sleep 0.45; echo x > ${file}`]);
  fs.readFileSync(file);
}
function fillPool() { for (let i = 0; i < 24; i++) crypto.pbkdf2('p', 's', 150000, 64, 'sha512', () => {}); }

const faults = {
  spin: () => spin(MS), json: parseBig, pbkdf2: hash, regex: backtrack, microtasks: recur, ticks, immediates,
  sort: sortHuge, gc: thrash, timers, timer, behind, exec: execute, fifo: readFifo, pool: fillPool,
};

const wanted = process.argv.slice(2);
const server = http.createServer((request, response) => {
  const fault = request.url.slice(1);
  loopscope.label(`fault ${fault}`);
  faults[fault]();
  response.end('done');
});
function next() {
  const fault = wanted.shift();
  if (!fault) return setTimeout(end, 700);
  http.get({ port: server.address().port, path: `/${fault}`, agent: false }, (response) => {
    response.resume();
    response.on('end', () => setTimeout(next, fault === 'pool' ? 3000 : 900));
  });
}
function end() {
  console.log(JSON.stringify(loopscope.counts()));
  server.close();
}
// The start of a program is no stall.
spin(300);
server.listen(0, '127.0.0.1', () => whenWatched(next));
