// Blocks in native code while the heap is large: V8 is not to go through it.
'use strict';
const keep = (globalThis.keep = []);
while (process.memoryUsage().heapUsed < 100 * 1048576) {
  const some = [];
  for (let at = 0; at < 20000; at++) some.push({ at, inner: { at }, list: [at] });
  keep.push(some);
}
const text = JSON.stringify(Array.from({ length: 200000 }, (_, id) => ({ id, name: `n${id}` })));

function parseBig() {
  for (const end = Date.now() + 300; Date.now() < end;) JSON.parse(text);
}

setTimeout(parseBig, 300);
setTimeout(parseBig, 1000);
setTimeout(() => console.log(keep.length > 0), 1600);
