'use strict';
// loopscope for Node.js: loads the addon where it can be loaded, and does nothing where it cannot. The program never fails by it.

const path = require('path');

const MAJOR_MIN = 18;
const off = (why) => process._rawDebug(`loopscope: off, because ${why}`);

// Looked at before the addon is loaded: other runtimes have some of Node's functions, and end the process at others.
function refusal() {
  const { versions, platform, arch } = process;
  if (versions.bun) return `this is Bun ${versions.bun}, and loopscope watches Node.js only`;
  if (versions.deno) return `this is Deno ${versions.deno}, and loopscope watches Node.js only`;
  const major = Number.parseInt(versions.node, 10);
  if (!(major >= MAJOR_MIN)) return `this is Node.js ${versions.node}, and loopscope needs ${MAJOR_MIN} or later`;
  if (platform !== 'linux' || arch !== 'x64') return `there is no addon for ${platform} on ${arch}`;
  return '';
}

function load() {
  const file = process.env.LOOPSCOPE_NODE_ADDON || path.join(__dirname, 'prebuilds', 'linux-x64-glibc', 'loopscope.node');
  const module = { exports: {} };
  try {
    process.dlopen(module, file);
    return module.exports;
  } catch (error) {
    off(error.code === 'ERR_DLOPEN_DISABLED' || error.code === 'ERR_ACCESS_DENIED'
      ? 'this process may load no addons (--allow-addons permits it)'
      : `the addon cannot be loaded: ${error.message}`);
    return null;
  }
}

function isOff() {
  return ['off', '0', 'false'].includes((process.env.LOOPSCOPE || '').toLowerCase());
}

let addon = null;
let isMain = true;

function names() {
  const worker = require('worker_threads');
  isMain = worker.isMainThread;
  const script = process.argv[1] ? path.basename(process.argv[1]) : 'node';
  // Node's own default is the same for all.
  const given = worker.threadName === 'WorkerThread' ? '' : worker.threadName;
  const thread = isMain ? 'main' : given || `worker-${worker.threadId}`;
  return { loop: isMain ? script : thread, script, thread };
}

function versions() {
  return ['node', 'v8', 'uv'].map((name) => `${name} ${process.versions[name]}`).join(',');
}

// The program's own context: an AsyncLocalStorage, and under which key its store has a name.
let context = null;

function nameOfContext() {
  const store = context?.storage.getStore();
  const name = store instanceof Map ? store.get(context.key) : typeof store === 'string' ? store : store?.[context.key];
  return typeof name === 'string' ? name : '';
}

// What the addon asks while the loop is blocked. Whatever goes wrong here is no matter of the program's.
function answer(question) {
  try {
    return question === 'ticks' ? require('./ticks.cjs').onlyTick() : nameOfContext();
  } catch {
    return null;
  }
}

// Begins to watch the loop of this thread; the agent comes with the main thread's.
function start() {
  if (addon || isOff()) return;
  const why = refusal();
  if (why) {
    off(why);
    return;
  }
  const loaded = load();
  if (!loaded) return;
  const { loop, script, thread } = names();
  const limit = require('v8').getHeapStatistics().heap_size_limit;
  loaded.start(loop, script, thread, String(limit), String(isMain), answer, versions());
  addon = loaded;
  // After a main script that is none of CommonJS's there is more to come of the start. Asked when the script has run.
  if (isMain) queueMicrotask(() => process.mainModule || (addon && addon.module()));
  process.on('exit', () => addon && addon.exit(String(isMain)));
  process.on('uncaughtExceptionMonitor', () => addon && addon.threw());
}

// Where the agent answers: '' until it does, some 20 ms after the start.
function url() {
  return addon ? addon.url() : '';
}

// Ends the watching; the program goes on.
function stop() {
  if (addon) addon.stop(String(isMain));
  addon = null;
}

// Names the callback or drain that runs: in metrics, flamegraphs and incidents.
function label(name) {
  // A batch of timers or immediates is one to V8, but for the microtasks between its members.
  if (addon && addon.label(String(name)) === 'batch') queueMicrotask(() => {});
}

// Has what blocks the loop named by the program's own AsyncLocalStorage: its store is the name, or has it under `key`.
function nameBy(storage, key = 'label') {
  context = storage ? { storage, key } : null;
}

// What was counted so far, without what runs now; null where nothing is watched.
function counts() {
  return addon ? JSON.parse(addon.counts()) : null;
}

// Takes everything off this loop's thread, or puts it back: to measure what it costs in one process.
function pause(isPaused) {
  if (addon) addon.pause(String(isPaused));
}

module.exports = { start, stop, url, label, nameBy, counts, pause };
