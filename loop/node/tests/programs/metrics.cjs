// Does a little of what is measured, and prints its own metrics: node metrics.cjs
'use strict';
const fs = require('fs');
const http = require('http');
const v8 = require('v8');
const vm = require('vm');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const DEADLINE_MS = 60000;
const until = Date.now() + DEADLINE_MS;

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');

process.on('uncaughtException', () => {});
const scrape = () => new Promise((resolve, reject) => {
  http.get(`${loopscope.url()}/metrics`, { agent: false }, (response) => {
    let text = '';
    response.on('data', (part) => { text += part; }).on('end', () => resolve(text));
  }).on('error', reject);
});

let collected = 0;
setTimeout(() => { throw new Error('on purpose'); }, 20);
const collecting = setInterval(() => { gc(); collected += 1; }, 50);
const file = setInterval(() => fs.stat('/', () => {}), 20);

// The agent begins some ms after the program, finds the pool some ms later, and what the loop's thread reads of the heap is of its
// first turn.
const again = async () => {
  const text = loopscope.url() ? await scrape() : '';
  const isAll = /heap_used[^\n]* [1-9]/.test(text) && /pool_threads\{[^\n]* [1-9]/.test(text) && collected > 2;
  if (!isAll && Date.now() < until) return setTimeout(again, 100);
  clearInterval(collecting);
  const limit = v8.getHeapStatistics().heap_size_limit;
  console.log(JSON.stringify({ collected, limit, metrics: await scrape() }));
  clearInterval(file);
};
again();
