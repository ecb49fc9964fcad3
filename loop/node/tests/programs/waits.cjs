// Waits for another thread in Atomics.wait, for some seconds: node waits.cjs worker | main
'use strict';
const { Worker, isMainThread, workerData } = require('worker_threads');

const WAIT_MS = 3000;

function waitForWork(memory) {
  Atomics.wait(memory, 0, 0, WAIT_MS);
  console.log('waited');
}

// As the worker of a pool that has nothing to do: in a continuation, after its loop has polled.
const soon = (memory) => setTimeout(() => Promise.resolve().then(() => waitForWork(memory)), 200);

if (!isMainThread) {
  soon(workerData);
} else {
  const memory = new Int32Array(new SharedArrayBuffer(4));
  if (process.argv[2] === 'worker') new Worker(__filename, { workerData: memory });
  else soon(memory);
}
