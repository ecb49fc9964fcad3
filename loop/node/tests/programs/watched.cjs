// Says when the agent's thread is there: on a busy machine that takes a second, and a program that is over by then has no incident.
'use strict';

const fs = require('node:fs');

const DEADLINE_MS = 60000;
const EVERY_MS = 10;

const threads = () => fs.readdirSync('/proc/self/task').map((tid) => `/proc/self/task/${tid}/comm`);

function isThere() {
  const is = (file) => {
    try {
      return fs.readFileSync(file, 'utf8') === 'loopscope-agent\n';
    } catch {
      return false;
    }
  };
  return threads().some(is);
}

// Calls back when it is there, and has had the time of one look.
module.exports = (then) => {
  const until = Date.now() + DEADLINE_MS;
  const look = setInterval(() => {
    if (!isThere() && Date.now() < until) return;
    clearInterval(look);
    setTimeout(then, 50);
  }, EVERY_MS);
};
