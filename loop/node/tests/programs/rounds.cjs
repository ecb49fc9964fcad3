// Queues ticks in ways of which the rounds are known, and prints them beside what was counted: node rounds.cjs
'use strict';
const fs = require('fs');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const tick = (then = () => {}) => process.nextTick(then);
const promise = (then) => Promise.resolve().then(then);
// What a callback does, and how many rounds of ticks come after it.
const ways = [
  [() => {}, 0],
  [() => tick(), 1],
  [() => { tick(); tick(() => tick(() => tick())); }, 1],
  [() => promise(() => {}), 0],
  [() => promise(() => tick()), 1],
  [() => { tick(() => promise(() => {})); }, 1],
  [() => tick(() => promise(() => tick(() => promise(() => tick())))), 3],
  [() => { promise(() => tick()); tick(); }, 2],
];

let begun;
let rounds = 0;
const count = () => loopscope.counts().drains.nexttick.count;
function next(number) {
  fs.stat('/', () => {
    // The callback of a file that is asked for has no ticks of Node's own.
    if (number === 0) begun = count();
    if (number === 400) return console.log(JSON.stringify({ told: count() - begun, rounds }));
    const [way, more] = ways[number % ways.length];
    rounds += more;
    way();
    next(number + 1);
  });
}
setTimeout(() => next(0), 20);
