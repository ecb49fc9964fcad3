// Node's immediates (1000 an iteration), ticks, microtasks and awaits.
'use strict';
const driver = require('./driver.cjs');

function immediates(count, done) {
  let left = count;
  const run = () => {
    if (left > 1000) setImmediate(run);
    if (--left === 0) done();
  };
  for (let at = 0; at < 1000; at++) setImmediate(run);
}

function ticks(count, done) {
  const run = () => {
    if (--count > 0) process.nextTick(run);
    else done();
  };
  process.nextTick(run);
}

function microtasks(count, done) {
  const run = () => {
    if (--count > 0) queueMicrotask(run);
    else done();
  };
  queueMicrotask(run);
}

async function awaits(count, done) {
  for (let at = 0; at < count; at++) await null;
  done();
}

driver.rounds({ immediates, ticks, microtasks, futures: awaits }[process.argv[2]]);
