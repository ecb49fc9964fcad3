// Blocks in native code and in JavaScript, each in a function that does so in another line than its first.
'use strict';
const text = JSON.stringify(Array.from({ length: 400000 }, (_, id) => ({ id, name: `n${id}` })));

function parseBig(ms) {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    JSON.parse(text);
  }
}

function spin(ms) {
  const end = Date.now() + ms;
  while (Date.now() < end) {}
}

setTimeout(parseBig, 300, 300);
setTimeout(spin, 1000, 300);
setTimeout(() => {}, 1600);
