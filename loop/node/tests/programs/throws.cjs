// Exceptions in a program that goes on with a handler for them: how many callbacks and ticks there were, and for how long they
// worked at least, and what was told of them.
'use strict';

const fs = require('node:fs');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const WORK_MS = 5;

process.on('uncaughtException', () => {});

// Returns for how many nanoseconds it worked.
function work() {
  const begin = process.hrtime.bigint();
  let passed = 0n;
  while (passed < BigInt(WORK_MS) * 1000000n) passed = process.hrtime.bigint() - begin;
  return Number(passed);
}

const fail = () => {
  throw new Error('planted');
};

// Makes all of them due in one batch.
function timers(...callbacks) {
  for (const callback of callbacks) setTimeout(callback, 1);
  const begin = process.hrtime.bigint();
  while (process.hrtime.bigint() - begin < 5000000n);
}

const immediates = (...callbacks) => callbacks.forEach((callback) => setImmediate(callback));

const cases = {
  timers: { kind: 'timer', batch: timers, callbacks: () => [fail, tickThenFail, tickAndWork] },
  immediates: { kind: 'immediate', batch: immediates, callbacks: () => [fail, tickThenFail, tickAndWork] },
  // An exception that leaves nothing.
  'timers with a rejection': { kind: 'timer', batch: timers, callbacks: () => [reject, tickAndWork] },
  'immediates with a rejection': { kind: 'immediate', batch: immediates, callbacks: () => [tickAndWork, reject] },
};

let worked = {};

const reject = () => Promise.reject(new Error('planted'));
const tick = () => process.nextTick(() => (worked.ticks += work()));

function tickThenFail() {
  process.nextTick(() => {});
  fail();
}

function tickAndWork() {
  tick();
  worked.callbacks += work();
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const stat = () => new Promise((resolve) => fs.stat('/', resolve));

async function measure({ kind, batch, callbacks }) {
  worked = { callbacks: 0, ticks: 0 };
  const all = callbacks();
  let before;
  await new Promise((resolve) => {
    // Within a callback of another kind, so that none of this kind is under way.
    fs.stat('/', () => {
      before = loopscope.counts();
      batch(...all);
      resolve();
    });
  });
  await later(50);
  // Whatever was late: between two files there is a check phase.
  await stat();
  await stat();
  const after = loopscope.counts();
  const difference = (of, name) => ({
    count: (after[of][name]?.count ?? 0) - (before[of][name]?.count ?? 0),
    ns: (after[of][name]?.ns ?? 0) - (before[of][name]?.ns ?? 0),
  });
  return { made: all.length, worked, callbacks: difference('kinds', kind), ticks: difference('drains', 'nexttick') };
}

// Ticks in the second round of a drain, which promises have queued.
async function secondRounds() {
  worked = { callbacks: 0, ticks: 0 };
  const before = loopscope.counts();
  for (let number = 0; number < 10; number += 1) {
    await new Promise((resolve) => {
      const last = () => {
        worked.ticks += work();
        setTimeout(resolve, 1);
        fail();
      };
      fs.stat('/', () => process.nextTick(() => Promise.resolve().then(() => process.nextTick(last))));
    });
  }
  const after = loopscope.counts();
  return { worked, ns: after.drains.nexttick.ns - (before.drains.nexttick?.ns ?? 0) };
}

(async () => {
  await later(50);
  const told = {};
  for (const [name, what] of Object.entries(cases)) told[name] = await measure(what);
  told.rounds = await secondRounds();
  console.log(JSON.stringify(told));
})();
