// Contexts with a queue of microtasks of their own, which is drained in the middle of a callback, of timers, of a tick and of a
// microtask: how many of each there were, for how long they worked at least, and what was told of them.
'use strict';

const fs = require('node:fs');
const vm = require('node:vm');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

let worked = 0;

function work(ms) {
  const begin = process.hrtime.bigint();
  let passed = 0n;
  while (passed < BigInt(ms) * 1000000n) passed = process.hrtime.bigint() - begin;
  worked += Number(passed);
}

const context = vm.createContext({}, { microtaskMode: 'afterEvaluate' });

function evaluate() {
  work(1);
  vm.runInContext('Promise.resolve().then(() => {})', context);
  work(1);
}

const evaluateOften = () => {
  for (let number = 0; number < 5; number += 1) evaluate();
};

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What was told of a kind or a queue while `begin` ran, and one timer.
async function measure(of, name, begin) {
  worked = 0;
  const before = loopscope.counts();
  await new Promise(begin);
  await later(1);
  const after = loopscope.counts();
  const number = (counts, what) => (counts[of][name] ? counts[of][name][what] : 0);
  const difference = (what) => number(after, what) - number(before, what);
  return { count: difference('count'), ns: difference('ns'), worked };
}

function timers(done) {
  for (let number = 1; number <= 10; number += 1) {
    setTimeout(() => {
      evaluate();
      if (number === 10) done();
    }, 1);
  }
  work(5);
  worked = 0;
}

// Evaluates, and is done.
const last = (done) => () => {
  evaluateOften();
  done();
};

(async () => {
  await later(50);
  console.log(
    JSON.stringify({
      callback: await measure('kinds', 'work_done', (done) => fs.stat('/', last(done))),
      timers: await measure('kinds', 'timer', timers),
      ticks: await measure('drains', 'nexttick', (done) => fs.stat('/', () => process.nextTick(last(done)))),
      // Beside that drain there is the one in which this goes on, after the timer.
      microtasks: await measure('drains', 'microtask', (done) => fs.stat('/', () => Promise.resolve().then(last(done)))),
    }),
  );
})();
