// Two Node threads that wake each other in turn, by messages.
'use strict';
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

if (isMainThread) {
  const driver = require('./driver.cjs');
  const other = new Worker(__filename);
  let left = 0;
  let finished = () => {};
  other.on('message', () => {
    if (--left > 0) other.postMessage(0);
    else finished();
  });
  other.once('online', () => driver.rounds((count, done) => {
    left = count;
    finished = done;
    other.postMessage(0);
  }));
} else {
  parentPort.on('message', () => parentPort.postMessage(0));
}
