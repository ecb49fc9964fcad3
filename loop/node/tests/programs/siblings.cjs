// A function blocks the loop in native code, and another one, which does not, runs right after it, called from the same place:
// node siblings.cjs HOW [late]. It does so again until a stall has a name, a few times at most: a machine that others use, too, may miss one.
'use strict';
const fs = require('fs');
const child = require('child_process');
// Late: in a heap of 100 MB, and watched only once its functions are compiled, so that V8 told of none of them.
const isLate = process.argv[3] === 'late';
const loopscope = require(process.env.LOOPSCOPE_INDEX);
if (isLate) {
  loopscope.stop();
  globalThis.large = Array.from({ length: 900000 }, (_, at) => ({ at, inner: { at } }));
}

const ROUNDS = 4;

// Long enough to be captured, in one piece.
const text = `[${'{"a":[1,2,3,"xxxxxxxxxxxxxxxx"],"b":{"c":null}},'.repeat(500000)}1]`;
const cell = new Int32Array(new SharedArrayBuffer(4));
const fifo = `${process.env.LOOPSCOPE_RUNTIME_DIR}/fifo-${process.pid}`;

function parses() { return JSON.parse(text).length; }
// V8 compiles the loop while it runs, and does not tell of such code later.
function parsesInLoop() { let sum = 0; for (let at = 0; at < 3e7; at++) sum += at % 7; return sum + JSON.parse(text).length; }
// Compiled from a text, as validators and templates are: of no file.
const evaluated = eval('(function evaluated() { return Atomics.wait(cell, 0, 0, 450); })');
function waits() { return Atomics.wait(cell, 0, 0, 450); }
function reads() { return fs.readFileSync(fifo, 'utf8'); }
const numbers = Array.from({ length: 900000 }, (_, at) => (at * 7919) % 1000003);
function sorts() { return numbers.slice().sort().length; }
function collects() { for (let times = 0; times < 20; times++) globalThis.gc(); }
function innocent() { return 1; }
// Timers run at the same depth of the stack, and leave their frames in the room that the wait for events has there.
function waitsInIo() { return Atomics.wait(cell, 0, 0, 450); }

const blocks = { parses, parsesInLoop, sorts, waits, evaluated, reads, collects, waitsInIo }[process.argv[2]];
if (blocks === reads) child.execSync(`mkfifo ${fifo}`);
if (blocks === collects) {
  require('v8').setFlagsFromString('--expose-gc');
  globalThis.gc = require('vm').runInNewContext('gc');
  globalThis.kept = Array.from({ length: 400000 }, (_, at) => ({ at, text: `x${at}` }));
}
if (blocks === waitsInIo) setInterval(innocent, 5).unref();

function block(then) {
  if (blocks === waitsInIo) return fs.stat(__filename, () => { waitsInIo(); then(); });
  // Both are V8's own, so that nothing of JavaScript runs between the two.
  const { call } = Function.prototype;
  [blocks, innocent].forEach(call, call);
  then();
}

if (isLate) {
  fs.writeFileSync(fifo + '-file', 'x');
  fs.readFileSync(fifo + '-file', 'utf8');
  innocent();
  loopscope.start({ name: 'late' });
}
let isNamed = false;
const unlisten = loopscope.onStall(({ function: name }) => { isNamed ||= name !== null; });
function round(left) {
  if (blocks === reads) child.spawn('sh', ['-c', `sleep 0.6; echo x > ${fifo}`]);
  setTimeout(() => block(() => setTimeout(() => {
    if (!isNamed && left > 1) return round(left - 1);
    unlisten();
    console.log('done');
  }, 900)), 50);
}
round(ROUNDS);
