// What a turn of the loop, an immediate, an await and a tick cost more while the addon is on: off and on in turn within one process.
//
//   LOOPSCOPE_LISTEN=off LOOPSCOPE_THRESHOLDS=1h node --require ../../loop/node/npm/register.cjs turns.cjs [PAIRS]
//
// Off and on are `pause(true)` and `pause(false)`, which takes hooks and handles off the loop's thread and puts them back; the agent
// runs all the time. CPU time is that of all threads. The control (A/A) is the same with both halves off.
'use strict';
const loopscope = require('../../loop/node/npm/index.cjs');

const pairs = Number(process.argv[2] || 60);

function chain(schedule) {
  return (count) => new Promise((done) => {
    let left = count;
    const step = () => { left -= 1; if (left > 0) schedule(step); else done(); };
    schedule(step);
  });
}

function fifty(count) {
  return new Promise((done) => {
    let left = count;
    const step = () => { left -= 1; if (left > 0) setImmediate(step); else if (left === -49) done(); };
    for (let at = 0; at < 50; at += 1) setImmediate(step);
  });
}

async function awaits(count) { for (let left = count; left > 0; left -= 1) await null; }

const WORK = [
  ['a turn with one immediate', chain(setImmediate), 20000],
  ['an immediate among 50 of a turn', fifty, 60000],
  ['an await', awaits, 300000],
  ['a nextTick', chain(process.nextTick), 300000],
];

const middle = (values) => [...values].sort((a, b) => a - b);

async function measure(work, count, isControl) {
  const halves = [];
  for (let half = 0; half < 2 * pairs + 1; half += 1) {
    loopscope.pause(half % 2 === 0 || isControl);
    await new Promise(setImmediate);
    const { user, system } = process.cpuUsage();
    await work(count);
    const now = process.cpuUsage();
    halves.push(((now.user + now.system - user - system) * 1000) / count);
    await new Promise((done) => { setTimeout(done, 1); });
  }
  // Each one that is on, against the mean of the two beside it.
  const more = [];
  for (let at = 1; at < halves.length - 1; at += 2) more.push(halves[at] - (halves[at - 1] + halves[at + 1]) / 2);
  const sorted = middle(more);
  const reach = 0.98 * Math.sqrt(sorted.length);
  const rank = (where) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.floor(where)))].toFixed(0);
  const half = sorted.length / 2;
  return { base: middle(halves.filter((_, at) => at % 2 === 0))[pairs >> 1], text: `${rank(half)} [${rank(half - reach)}, ${rank(half + reach)}]` };
}

async function main() {
  console.log(`Node ${process.version}, ${pairs} pairs: ns, medians [95 % of the median]`);
  console.log('| what | off | A/A | on |\n|---|---|---|---|');
  for (const [name, work, count] of WORK) {
    await work(count);
    await work(count);
    const control = await measure(work, count, true);
    const on = await measure(work, count, false);
    console.log(`| ${name} | ${on.base.toFixed(0)} | ${control.text} | ${on.text} |`);
  }
  process.exit();
}
main();
