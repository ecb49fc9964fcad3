// A little of everything, for a recording: requests, files, names, timers, immediates, ticks, promises, closing.
'use strict';
const fs = require('fs');
const http = require('http');
const dns = require('dns');
const zlib = require('zlib');

let left = 3;
const server = http.createServer((request, response) => {
  setTimeout(() => {
    Promise.resolve().then(() => {}).then(() => {});
    process.nextTick(() => {});
    response.end('hello');
  }, 1);
});
function ask() {
  http.get({ port: server.address().port, agent: false }, (response) => {
    response.resume();
    response.on('end', () => (--left ? ask() : server.close(files)));
  });
}
function files() {
  fs.stat('/', () => {
    process.nextTick(() => Promise.resolve().then(() => process.nextTick(() => {})));
    fs.promises.readFile('/dev/null').then(() => dns.lookup('127.0.0.1', () => zlib.gzip('x', batches)));
  });
}
function batches() {
  for (let i = 0; i < 3; i++) {
    setImmediate(() => Promise.resolve().then(() => {}));
    setTimeout(() => process.nextTick(() => {}), 2);
  }
}
server.listen(0, '127.0.0.1', ask);
