// What every Node peer begins with: rounds of work, asked for on standard input (see c/driver.h).
'use strict';
const fs = require('node:fs');

const input = Buffer.alloc(64);
let unread = '';

// Returns the next number of operations, 0 when there are no more. Blocks: nothing else is to run meanwhile.
function nextRound() {
  while (!unread.includes('\n')) {
    const count = fs.readSync(0, input);
    if (count === 0) return 0;
    unread += input.toString('latin1', 0, count);
  }
  const end = unread.indexOf('\n');
  const line = unread.slice(0, end);
  unread = unread.slice(end + 1);
  return Number(line);
}

function roundDone() {
  fs.writeSync(1, 'done\n');
}

// Calls `work(count, done)` for each round; the next begins in a callback of its own.
function rounds(work) {
  const count = nextRound();
  if (count === 0) process.exit(0);
  work(count, () => {
    roundDone();
    setImmediate(rounds, work);
  });
}

let state = 1;
function randomBits() {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return state >>> 17;
}

const FEW_MS = [1, 10, 100, 250, 500];

module.exports = {
  rounds,
  randomMs: () => 1 + (randomBits() % 1000),
  fewMs: () => FEW_MS[randomBits() % 5],
  farMs: () => 60000 + (randomBits() % 30000),
  someFewFarMs: () => 60000 + FEW_MS[randomBits() % 5],
  periodMs: () => 20 + (randomBits() % 180),
};
