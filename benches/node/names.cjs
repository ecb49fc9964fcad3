// Who is named for a block: functions that block in random ways, at random places, of which it is known what and how long.
//
//   node names.cjs [BLOCKS] [SEED] [HEAP_MB]        LOOPSCOPE_NODE_ADDON: the addon
//
// One block in PAUSE_MS (6500: ten stalls a minute are told), of 0.1 to 0.3 s or what its work takes. Each stall that is told is laid beside
// the block that is most of it: named is the function itself, or one that it has called; wrong is any other; none is no name. At the end
// a line of counts, and one for each that is wrong, told twice or not at all, or of another length.
'use strict';
const fs = require('fs');
const http = require('http');
const zlib = require('zlib');
const crypto = require('crypto');
const child = require('child_process');
const path = require('path');

const loopscope = require(path.join(__dirname, '../../loop/node/npm/index.cjs'));
const [BLOCKS, SEED, HEAP_MB] = [40, 1, 0].map((otherwise, at) => Number(process.argv[2 + at] || otherwise));
const PAUSE_MS = Number(process.env.PAUSE_MS || 6500);
const THRESHOLD_MS = 100;

let state = SEED;
const random = () => {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return state / 0x7fffffff;
};
const one_of = (list) => list[Math.floor(random() * list.length)];

globalThis.heap = Array.from({ length: HEAP_MB * 8000 }, (_, at) => ({ at, inner: { at } }));
const text = `[${'{"a":[1,2,3,"xxxxxxxxxxxxxxxx"],"b":{"c":null}},'.repeat(300000)}1]`;
const numbers = Array.from({ length: 400000 }, (_, at) => (at * 7919) % 1000003);
const bytes = crypto.randomBytes(6 << 20);
const cell = new Int32Array(new SharedArrayBuffer(4));
const until = (ms) => performance.now() + ms;

// JavaScript.
function spins(ms) { const end = until(ms); let sum = 0; while (performance.now() < end) sum += 1; return sum; }
function counts(ms) { let sum = 0; for (let at = 0; at < ms * 7e5; at += 1) sum += at % 7; return sum; }
function allocates(ms) { const end = until(ms); let kept = []; while (performance.now() < end) { kept.push({ a: [1, 2], b: String(kept.length) }); if (kept.length > 1e5) kept = []; } return kept.length; }
function concats(ms) { const end = until(ms); let all = ''; while (performance.now() < end) { all += `abc${all.length}`; if (all.length > 1e6) all = all.slice(0, 9); } return all.length; }
function recurses(ms) { const inner = function inner(n) { return n < 2 ? n : inner(n - 1) + inner(n - 2); }; const end = until(ms); let sum = 0; while (performance.now() < end) sum += inner(15); return sum; }
const evaluated = eval('(function evaluated(ms) { const end = performance.now() + ms; let sum = 0; while (performance.now() < end) sum += 1; return sum; })');
// V8's own functions, and what they call.
function parses() { return JSON.parse(text).length; }
function stringifies() { let sum = 0; for (let at = 0; at < 4; at += 1) sum += JSON.stringify(numbers.map(String)).length; return sum; }
function sorts() { return numbers.slice().sort().length; }
function compares() { return numbers.slice().sort(function compare(a, b) { return a - b; }).length; }
function matches() { return /^(a+)+$/.test(`${'a'.repeat(23)}b`); }
function maps() { return numbers.map(function mapped(number) { return Math.sqrt(number) + String(number).length; }).length; }
// Node's own, and the system.
function hashes(ms) { return crypto.pbkdf2Sync('a', 'b', Math.round(ms * 2500), 32, 'sha256').length; }
function deflates() { return zlib.deflateSync(bytes).length; }
function executes(ms) { return child.execSync(`sleep ${ms / 1000}`).length; }
function waits(ms) { return Atomics.wait(cell, 0, 0, ms); }

const WAYS = { spins, counts, allocates, concats, recurses, evaluated, parses, stringifies, sorts, compares, matches, maps, hashes, deflates, executes, waits };
const CALLED = { recurses: ['inner'], compares: ['compare'], maps: ['mapped'] };

// Those that run before and after one that blocks, called from the same place.
function innocent() { return 1; }
function another() { return innocent() + 1; }
const { call } = Function.prototype;

let answering = null;
const server = http.createServer((_, response) => {
  innocent();
  answering();
  response.end('x');
});
const PLACES = {
  timeout: (run, done) => setTimeout(() => { run(); done(); }, 5),
  siblings: (run, done) => setTimeout(() => { [innocent, run, innocent, another].forEach(call, call); done(); }, 5),
  immediate: (run, done) => setImmediate(() => { innocent(); run(); another(); done(); }),
  tick: (run, done) => process.nextTick(() => { run(); another(); done(); }),
  microtask: (run, done) => queueMicrotask(() => { run(); done(); }),
  async: async (run, done) => { await null; innocent(); run(); await null; another(); done(); },
  pool: (run, done) => fs.stat(__filename, () => { run(); innocent(); done(); }),
  read: (run, done) => fs.readFile(__filename, () => { innocent(); run(); done(); }),
  request: (run, done) => { answering = run; http.get({ port: server.address().port }, (response) => response.resume().on('end', done)); },
};

const blocked = [];
const told = [];
const now = () => performance.timeOrigin + performance.now();

function step(left) {
  if (left === 0) return setTimeout(report, 2000);
  const [name, place, ms] = [one_of(Object.keys(WAYS)), one_of(Object.keys(PLACES)), THRESHOLD_MS + random() * 200];
  const run = () => {
    const begin = now();
    WAYS[name](ms);
    blocked.push({ name, place, begin, end: now(), stalls: [] });
  };
  PLACES[place](run, () => setTimeout(step, PAUSE_MS, left - 1));
}

function report() {
  const lines = [];
  const counted = { version: process.version, told: told.length, named: 0, none: 0, wrong: 0 };
  for (const stall of told) {
    const end = stall.beganAt + stall.durationMs;
    const common = (one) => Math.min(end, one.end) - Math.max(stall.beganAt, one.begin);
    const one = blocked.reduce((most, other) => (common(other) > common(most) ? other : most));
    one.stalls.push(stall);
    const isIt = common(one) > 0 && [one.name, ...(CALLED[one.name] || [])].includes(stall.function);
    counted[stall.function === null ? 'none' : isIt ? 'named' : 'wrong'] += 1;
    if (stall.function !== null && !isIt) lines.push(`wrong: ${stall.function} for ${one.name}, ${one.place}: ${stall.summary}`);
  }
  // What took just as long as the threshold may be told or not.
  for (const { name, place, begin, end, stalls } of blocked.filter((one) => one.end - one.begin > THRESHOLD_MS + 1)) {
    const off = stalls.length === 1 ? Math.abs(stalls[0].durationMs - (end - begin)) : 0;
    if (stalls.length !== 1) lines.push(`told ${stalls.length} times: ${name}, ${place}, ${end - begin} ms`);
    else if (off > 50) lines.push(`of another length: ${name}, ${place}, ${end - begin} ms: ${stalls[0].durationMs} ms, ${stalls[0].summary}`);
  }
  console.log([JSON.stringify(counted), ...lines].join('\n  '));
  server.close();
  loopscope.stop();
}

loopscope.start({ name: 'names' });
loopscope.onStall((stall) => told.push(stall));
server.listen(0, '127.0.0.1', () => setTimeout(step, 300, BLOCKS));
