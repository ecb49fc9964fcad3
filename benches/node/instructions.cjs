// What the addon costs in instructions, which do not depend on what else the machine does: a turn of the loop with one immediate, or
// an HTTP request that says hello. Run under valgrind, once on and once off; the difference, divided by COUNT, is what one takes.
//
//   LOOPSCOPE_NODE_ADDON=... LOOPSCOPE_LISTEN=off LOOPSCOPE_THRESHOLDS=1h/2h \
//     valgrind --tool=callgrind --smc-check=all-non-file node --single-threaded \
//     --require ../../loop/node/npm/register.cjs instructions.cjs turns|requests|served COUNT on|off|PART,PART...
//
// `served` is requests of another process, on 16 connections, which begins once the port is printed: `node instructions.cjs ask PORT`.
// With `--cache-sim=yes` callgrind counts the lines, too, that are not in the nearest cache: most of what a request costs. Where
// Node compiles is not the same twice: so the addon's own functions are compared, of two runs with different counts.
//
// PART is what is left out, as in parts.cjs. callgrind_annotate tells the functions; those of an addon that is not stripped, too.
// The client of the requests is in the same process, and costs the same on and off but for its own entries.
'use strict';
const http = require('http');
const net = require('net');
const loopscope = require('../../loop/node/npm/index.cjs');

const [what, count, mode] = process.argv.slice(2);
const REQUEST = 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n';

function turns(left) {
  return new Promise((done) => {
    const step = () => { left -= 1; if (left > 0) setImmediate(step); else done(); };
    setImmediate(step);
  });
}

function requests(left) {
  return new Promise((done) => {
    const server = http.createServer((request, response) => response.end('hello'));
    server.keepAliveTimeout = 0;
    server.listen(0, '127.0.0.1', () => {
      const socket = net.connect(server.address().port, '127.0.0.1');
      socket.on('data', () => { left -= 1; if (left > 0) socket.write(REQUEST); else done(); });
      socket.write(REQUEST);
    });
  });
}

function served(left) {
  return new Promise((done) => {
    const server = http.createServer((request, response) => {
      left -= 1;
      response.end('hello', left > 0 ? undefined : done);
    });
    server.keepAliveTimeout = 0;
    server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
  });
}

// Keeps connections busy until the server ends.
function ask(port) {
  for (let at = 0; at < 16; at += 1) {
    const socket = net.connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    socket.on('connect', () => socket.write(REQUEST));
    socket.on('data', () => socket.write(REQUEST));
    socket.on('error', () => {});
  }
}

async function main() {
  // The agent has started by then.
  await new Promise((done) => { setTimeout(done, 300); });
  loopscope.pause(true);
  if (mode !== 'off') loopscope.pause(false, mode === 'on' ? [] : mode.split(','));
  await new Promise(setImmediate);
  await { turns, requests, served }[what](Number(count));
  process.exit();
}
if (what === 'ask') ask(Number(count)); else main();
