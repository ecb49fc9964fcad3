// Node's way through its thread pool, with the least that it has to do there: a file's facts.
'use strict';
const fs = require('node:fs');
const driver = require('./driver.cjs');

const outstanding = Number(process.argv[3]);
driver.rounds((count, done) => {
  let left = count;
  let running = 0;
  const submit = () => {
    left--;
    running++;
    fs.stat('/', finished);
  };
  const finished = () => {
    running--;
    if (left > 0) submit();
    else if (running === 0) done();
  };
  for (let at = 0; at < outstanding && left > 0; at++) submit();
});
