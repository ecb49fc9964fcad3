// Immediates beside those of Node's own, which a destroy hook of async_hooks has: for how long the program's worked at least, and what
// was told of them, where it queues no tick; or the same of a worker's, beside the main thread's loop: node destroy-hook.cjs [worker]
'use strict';

const { createHook } = require('node:async_hooks');
const fs = require('node:fs');
const { Worker, isMainThread } = require('node:worker_threads');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const ROUNDS = 20;
let worked = 0;

function work(ms) {
  const begin = process.hrtime.bigint();
  let passed = 0n;
  while (passed < BigInt(ms) * 1000000n) passed = process.hrtime.bigint() - begin;
  worked += Number(passed);
}

// A file whose request is destroyed in the check phase in which the immediate runs.
const round = () =>
  new Promise((resolve) =>
    fs.stat('/', () =>
      setImmediate(() => {
        work(3);
        resolve();
      }),
    ),
  );

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

if (isMainThread && process.argv[2] === 'worker') new Worker(__filename, { argv: process.argv.slice(2) });
else measure();

async function measure() {
  await later(50);
  createHook({ destroy() {} }).enable();
  // In the first of them it is found out that Node has some.
  for (let number = 0; number < 5; number += 1) await round();
  await later(20);
  worked = 0;
  const before = loopscope.counts();
  for (let number = 0; number < ROUNDS; number += 1) await round();
  await later(20);
  const after = loopscope.counts();
  const difference = (of, name, what) => (after[of][name]?.[what] ?? 0) - (before[of][name]?.[what] ?? 0);
  const told = {
    immediates: difference('kinds', 'immediate', 'ns'),
    // Beside the rounds' own.
    others: difference('kinds', 'immediate', 'count') - ROUNDS,
    ticks: difference('drains', 'nexttick', 'count'),
  };
  console.log(JSON.stringify({ worked, ...told }));
}
