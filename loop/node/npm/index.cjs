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
  loaded.start(loop, script, thread, String(limit), String(isMain));
  addon = loaded;
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

// Names what runs, from now to the end of this callback: in metrics, flamegraphs and incidents.
function label(name) {
  if (addon) addon.label(String(name));
}

// How much had no name, for whoever wants to know; null where nothing is watched.
function counts() {
  return addon ? JSON.parse(addon.counts()) : null;
}

// Takes everything off this loop's thread, or puts it back: to measure what it costs in one process.
function pause(isPaused) {
  if (addon) addon.pause(String(isPaused));
}

module.exports = { start, stop, url, label, counts, pause };
