// What Node calls outside of any scope, and the ticks after it: for how long they worked at least, and what was told of them; or
// one of them that blocks: node outside.cjs [flood | finalizer]
'use strict';

const { webcrypto } = require('node:crypto');
const fs = require('node:fs');
const v8 = require('node:v8');
const vm = require('node:vm');
const { Worker } = require('node:worker_threads');
const loopscope = require(process.env.LOOPSCOPE_INDEX);
const whenWatched = require('./watched.cjs');

let worked = 0;

function work(ms) {
  const begin = process.hrtime.bigint();
  let passed = 0n;
  while (passed < BigInt(ms) * 1000000n) passed = process.hrtime.bigint() - begin;
  worked += Number(passed);
}

const tick = () => process.nextTick(() => work(5));
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');
// Kept, or it is collected itself.
let registry;

async function finalize(callback) {
  let register;
  const finalized = new Promise((done) => {
    registry = new FinalizationRegistry(() => done(callback()));
    register = () => registry.register({}, 0);
  });
  register();
  await later(20);
  collect();
  return finalized;
}

async function close() {
  const file = await fs.promises.open(__filename);
  await file.close();
  tick();
}

// Each ends with ticks that work, but the last, which works itself.
const sources = {
  'a promise of a file': () => fs.promises.stat('/').then(tick),
  'a handle of a file': close,
  import: () => import('node:string_decoder').then(tick),
  webcrypto: () => webcrypto.subtle.digest('SHA-256', Buffer.from('a')).then(tick),
  WebAssembly: () => WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])).then(tick),
  'the end of a worker': () => new Promise((end) => new Worker('0', { eval: true }).on('exit', () => end(tick()))),
  'a finalizer': () => finalize(() => work(5)),
};

async function measure(begin) {
  worked = 0;
  const before = loopscope.counts();
  await begin();
  await later(50);
  const after = loopscope.counts();
  const difference = (of, name, what) => (after[of][name]?.[what] ?? 0) - (before[of][name]?.[what] ?? 0);
  const ticks = { count: difference('drains', 'nexttick', 'count'), ns: difference('drains', 'nexttick', 'ns') };
  const [other, immediates] = ['other', 'immediate'].map((kind) => ({ ns: difference('kinds', kind, 'ns') }));
  return { worked, ticks, other, immediates };
}

function flood(end) {
  if (Date.now() < end) process.nextTick(flood, end);
}

(async () => {
  await later(50);
  const [mode] = process.argv.slice(2);
  if (mode) await new Promise(whenWatched);
  if (mode === 'flood') return fs.promises.stat('/').then(() => flood(Date.now() + 500));
  if (mode === 'finalizer') return finalize(() => work(500)).then(() => later(50));
  const told = {};
  for (const [name, begin] of Object.entries(sources)) told[name] = await measure(begin);
  console.log(JSON.stringify(told));
})();
