// Exceptions that nobody catches, in and after each kind of entry: how many were counted of each kind.
'use strict';

const { createHook } = require('node:async_hooks');
const fs = require('node:fs');
const http = require('node:http');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

let caught;
process.on('uncaughtException', () => caught());

const fail = () => {
  throw new Error('planted');
};
// One at a time: after one, Node goes on with its ticks in an immediate.
const ways = {
  callback: fail,
  tick: () => process.nextTick(fail),
  microtask: () => queueMicrotask(fail),
  rejection: () => Promise.reject(new Error('planted')),
};

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function serve(handler) {
  return new Promise((resolve) => {
    const server = http.createServer((request, response) => {
      response.end();
      handler();
    });
    server.listen(0, '127.0.0.1', () => {
      http.get({ port: server.address().port, agent: false }, (response) => {
        response.resume();
        response.on('end', () => server.close(resolve));
      });
    });
  });
}

const sources = {
  timer: (way) => setTimeout(way, 1),
  immediate: (way) => setImmediate(way),
  work_done: (way) => fs.stat('/', way),
  io_read: serve,
  // With immediates of Node's own the program's are not told.
  'immediate, beside those of Node': (way) => {
    const hook = createHook({ destroy() {} }).enable();
    fs.stat('/', () =>
      setImmediate(() => {
        setTimeout(() => hook.disable(), 5);
        way();
      }),
    );
  },
};

(async () => {
  await later(50);
  const told = {};
  for (const [name, begin] of Object.entries(sources)) {
    for (const [how, way] of Object.entries(ways)) {
      const before = loopscope.counts().errors;
      await Promise.all([new Promise((resolve) => (caught = resolve)), begin(way)]);
      await later(10);
      const after = loopscope.counts().errors;
      const kinds = Object.keys(after).filter((kind) => after[kind] !== (before[kind] ?? 0));
      told[`${name}: ${how}`] = Object.fromEntries(kinds.map((kind) => [kind, after[kind] - (before[kind] ?? 0)]));
    }
  }
  console.log(JSON.stringify(told));
})();
