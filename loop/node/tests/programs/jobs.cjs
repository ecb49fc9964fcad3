// One long job of a queue, or many short ones, after a while in which the queue had some: node jobs.cjs FAULT
'use strict';
const loopscope = require(process.env.LOOPSCOPE_INDEX);
const whenWatched = require('./watched.cjs');

const MS = 900;
const until = (ms) => { const end = Date.now() + ms; return () => Date.now() < end; };

function parseAll() { const goes = until(MS); while (goes()) {} }
async function handle() { await null; parseAll(); }
function ticks() { const goes = until(MS); (function again() { if (goes()) process.nextTick(again); })(); }
async function recur() { const goes = until(MS); while (goes()) await null; }

const faults = {
  'one microtask': handle,
  'many microtasks': recur,
  'one tick': () => process.nextTick(parseAll),
  'many ticks': ticks,
};

async function use(times) {
  for (let i = 0; i < times; i++) {
    await new Promise((resolve) => setImmediate(() => process.nextTick(resolve)));
    for (let jobs = i % 5; jobs > 0; jobs--) await null;
  }
}

whenWatched(async () => {
  await use(20);
  setTimeout(() => {
    faults[process.argv[2]]();
    setTimeout(() => console.log(JSON.stringify(loopscope.counts())), 300);
  }, 10);
});
