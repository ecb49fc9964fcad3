// Counts what a loop does by Node's own means, and prints it beside what loopscope counted: node parity.cjs
'use strict';
const fs = require('fs');
const net = require('net');
const { performance, monitorEventLoopDelay } = require('perf_hooks');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const TURNS = 150;
const sums = {};
const counted = { timer: 0, immediate: 0, fs: 0, close: 0 };
// Microtasks of ours: each jobs of V8's queue.
let microtasks = 0;
const spin = (us) => { const end = process.hrtime.bigint() + BigInt(us) * 1000n; while (process.hrtime.bigint() < end); };
function add(kind, us) {
  const begin = process.hrtime.bigint();
  spin(us);
  sums[kind] = (sums[kind] || 0) + Number(process.hrtime.bigint() - begin);
}
function microtask(kind, us) {
  microtasks++;
  queueMicrotask(() => add(kind, us));
}

let turns = 0;
let begun;
let delay;

// From here on everything is counted on both sides, at one instant.
function begin() {
  const metrics = performance.nodeTiming.uvMetricsInfo;
  begun = { elu: performance.eventLoopUtilization(), loopscope: loopscope.counts(), uv: metrics, microtasks, time: process.hrtime.bigint() };
  const [major, minor] = process.versions.node.split('.').map(Number);
  // Older versions do not know the option, and say nothing.
  if (major > 26 || (major === 26 && minor >= 5) || (major === 24 && minor >= 19)) {
    delay = monitorEventLoopDelay({ samplePerIteration: true });
    delay.enable();
  }
  turn();
}

function turn() {
  if (++turns > TURNS) return setTimeout(end, 5);
  setTimeout(() => { counted.timer++; add('timer', 300); microtask('microtask', 100); }, 1);
  setImmediate(() => { counted.immediate++; add('immediate', 400); process.nextTick(() => add('tick', 200)); });
  fs.stat('/', () => { counted.fs++; add('fs', 300); microtask('microtask', 50); });
  const socket = new net.Socket();
  socket.on('close', () => { counted.close++; add('close', 100); });
  socket.destroy();
  setTimeout(turn, 2);
}

function end() {
  const ended = process.hrtime.bigint();
  const elu = performance.eventLoopUtilization(begun.elu);
  const now = loopscope.counts();
  const uv = performance.nodeTiming.uvMetricsInfo;
  const samples = delay?.count;
  delay?.disable();
  const difference = (table, name) => {
    const [after, before] = [now[table][name], begun.loopscope[table][name]];
    return Object.fromEntries(Object.entries(after || {}).map(([key, value]) => [key, value - (before?.[key] || 0)]));
  };
  const since = (name) => now[name] - begun.loopscope[name];
  console.log(JSON.stringify({
    // All that the process did up to here, for those who count from its start.
    ended_us: Number(ended / 1000n), all: now, waited_for_cpu_ns: Number(fs.readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]),
    sums, counted, samples, turns: TURNS,
    microtasks: microtasks - begun.microtasks,
    elu: { idle_ns: elu.idle * 1e6, active_ns: elu.active * 1e6, utilization: elu.utilization },
    uv: uv && { iterations: uv.loopCount - begun.uv.loopCount, events: uv.events - begun.uv.events },
    told: {
      iterations: since('iterations'), idle_ns: since('idle_ns'), active_ns: since('active_ns'), poll_events: since('poll_events'),
      timer: difference('kinds', 'timer'), immediate: difference('kinds', 'immediate'), work_done: difference('kinds', 'work_done'),
      nexttick: difference('drains', 'nexttick'), microtask: difference('drains', 'microtask'),
    },
  }));
}

// After the first turns: what the start of a program does is not of interest here.
setTimeout(begin, 20);
