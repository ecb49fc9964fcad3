'use strict';
// The service of `loopscope demo --node`: answers HTTP, asks itself, and misbehaves every two seconds in functions with telling
// names. Its options are one argument, in JSON.

const crypto = require('crypto');
const http = require('http');

const { host, port, trouble, rate, forMs } = JSON.parse(process.argv[2]);
const EVERY_MS = 2000;
const LASTS_MS = 300;
const SMALL_MS = 1;
const TIMERS = 500;
const JOBS = 40;

const until = (ms) => {
  const end = performance.now() + ms;
  return () => performance.now() < end;
};

function busy(ms) {
  const goes = until(ms);
  while (goes());
}

function parseInvoices() {
  busy(LASTS_MS);
}

async function retryPromise() {
  const goes = until(LASTS_MS);
  while (goes()) await null;
}

function deferAgain(goes = until(LASTS_MS)) {
  if (goes()) process.nextTick(deferAgain, goes);
}

function resizeImages() {
  for (let job = 0; job < JOBS; job++) crypto.pbkdf2('image', 'salt', 100000, 64, 'sha512', () => {});
}

function expireSessions() {
  for (let session = 0; session < TIMERS; session++) setTimeout(function expireSession() { busy(SMALL_MS); }, 1);
}

const TROUBLES = {
  block: parseInvoices, microtasks: retryPromise, nexttick: deferAgain, pool: resizeImages, timers: expireSessions,
};

const server = http.createServer((request, response) => {
  const ms = Number(new URL(request.url, 'http://localhost').searchParams.get('ms'));
  if (ms > 0) busy(Math.min(ms, 10000));
  response.end('hello\n');
});

server.listen(port, host, () => {
  const address = server.address();
  console.log(`loopscope demo on Node ${process.versions.node}, pid ${process.pid}: trouble: ${trouble}`);
  console.log(`  service  http://${address.address}:${address.port}/work?ms=20`);
  console.log('Ctrl-C stops it.');
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  const ask = () => http.get({ host: address.address, port: address.port, agent }, (response) => response.resume()).on('error', () => {});
  if (rate > 0) setInterval(ask, 1000 / rate);
});
server.on('error', (error) => {
  console.error(`loopscope: ${error.message}`);
  process.exit(1);
});

let turn = 0;
setInterval(() => {
  const names = trouble === 'mixed' ? Object.keys(TROUBLES) : [trouble];
  TROUBLES[names[turn++ % names.length]]?.();
}, EVERY_MS);
if (forMs) setTimeout(() => process.exit(0), forMs);
process.on('SIGINT', () => process.exit(0));
