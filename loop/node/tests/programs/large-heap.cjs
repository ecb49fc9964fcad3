// Blocks in native code while the heap is large: V8 is not to go through it.
'use strict';
const keep = (globalThis.keep = []);
while (process.memoryUsage().heapUsed < 100 * 1048576) {
  const some = [];
  for (let at = 0; at < 20000; at++) some.push({ at, inner: { at }, list: [at] });
  keep.push(some);
}
const text = JSON.stringify(Array.from({ length: 200000 }, (_, id) => ({ id, name: `n${id}` })));

function parseBig(ms) {
  for (const end = Date.now() + ms; Date.now() < end;) JSON.parse(text);
}

parseBig(0);
if (globalThis.gc) for (let times = 0; times < 3; times++) gc();
setTimeout(parseBig, 300, 300);
setTimeout(parseBig, 1000, 300);
setTimeout(() => console.log(keep.length > 0), 1600);
