// Is paused by a debugger, a worker's here, for a while; then blocks for as long by itself: node debugger.cjs
'use strict';
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

const MS = 400;

function paused() {
  debugger;
}

function spin(ms) {
  for (const end = Date.now() + ms; Date.now() < end;);
}

function debug() {
  const { Session } = require('node:inspector');
  const session = new Session();
  session.connectToMainThread();
  session.on('Debugger.paused', () => setTimeout(() => session.post('Debugger.resume'), MS));
  // A session keeps no loop alive.
  const waits = setInterval(() => {}, 1000);
  session.on('Debugger.resumed', () => {
    session.disconnect();
    clearInterval(waits);
  });
  session.post('Debugger.enable', () => parentPort.postMessage('ready'));
}

if (isMainThread) {
  const worker = new Worker(__filename);
  worker.on('message', () => require('./watched.cjs')(paused));
  worker.on('exit', () => setTimeout(spin, 500, MS));
} else {
  debug();
}
