'use strict';
// loopscope for Node.js: loads the addon where it can be loaded, and does nothing where it cannot. The program never fails by it.

const path = require('path');
const worker = require('worker_threads');
const { AsyncLocalStorage } = require('async_hooks');
const { isMap, isProxy } = require('util').types;
const ticks = require('./ticks.cjs');

// What answers while the loop is blocked runs at any place of the program's code. So it calls nothing that the program may have
// put in place of Node's own since: only what is taken here.
const { apply, getOwnPropertyDescriptor } = Reflect;
const { hasOwnProperty } = Object.prototype;
const { getStore } = AsyncLocalStorage.prototype;
const getOfMap = Map.prototype.get;

// Where the addon of this thread is, for every copy of this file: one is preloaded, another one may be the program's.
const KEY = Symbol.for('loopscope');

// What `start` takes, and what the addon calls it.
const OPTIONS = { listen: 'listen', warningMs: 'warning_ms', incidentsDir: 'incidents_dir' };

const isOff = () => ['off', '0', 'false'].includes((process.env.LOOPSCOPE || '').toLowerCase());

// Says why nothing is watched: once, and not again in every worker.
function off(why) {
  if (worker.isMainThread) process._rawDebug(`loopscope: off, because ${why}`);
}

// The main script's file name. PM2 has a main script of its own, which runs the program's.
function scriptName() {
  const name = process.argv[1] ? path.basename(process.argv[1]) : 'node';
  if (!name.startsWith('ProcessContainer')) return name;
  try {
    const { pm_exec_path: own } = process.env.pm2_env ? JSON.parse(process.env.pm2_env) : process.env;
    return own ? path.basename(own) : name;
  } catch {
    return name;
  }
}

function names(given) {
  const script = scriptName();
  // Node's own default is the same for all.
  const name = worker.threadName === 'WorkerThread' ? '' : worker.threadName;
  const thread = worker.isMainThread ? 'main' : name || `worker-${worker.threadId}`;
  return { loop: given || (worker.isMainThread ? script : thread), script, thread };
}

// Options as the addon reads them: a line each.
function lines(options) {
  const texts = [];
  for (const [option, name] of Object.entries(OPTIONS)) {
    if (options[option] !== undefined) texts.push(`${name}=${options[option]}`);
  }
  if (process.env.LOOPSCOPE_ANNOUNCE) texts.push('announce=true');
  if (options.isAttached) texts.push('attached=true');
  if (options.isPreloaded) texts.push('preloaded=true');
  return texts.join('\n');
}

function versions() {
  return ['node', 'v8', 'uv'].map((name) => `${name} ${process.versions[name]}`).join(',');
}

// The program's own context: an AsyncLocalStorage, and under which key its store has a name.
let context = null;

// What a store has under the key, without a call of a getter or of a proxy's traps.
function ownValue(store) {
  if (typeof store !== 'object' || store === null || isProxy(store)) return undefined;
  if (isMap(store)) return apply(getOfMap, store, [context.key]);
  const property = getOwnPropertyDescriptor(store, context.property);
  return property && apply(hasOwnProperty, property, ['value']) ? property.value : undefined;
}

function nameOfContext() {
  if (!context) return '';
  const store = apply(getStore, context.storage, []);
  const name = typeof store === 'string' ? store : ownValue(store);
  return typeof name === 'string' ? name : '';
}

// What the addon asks while the loop is blocked. Whatever goes wrong here is no matter of the program's.
function answer(question) {
  try {
    return question === 'ticks' ? ticks.onlyTick() : nameOfContext();
  } catch {
    return null;
  }
}

// Where Node counts the hooks of async_hooks that are active; undefined where it does not tell.
function hookCounters() {
  const had = Object.getOwnPropertyDescriptor(process, 'noDeprecation');
  try {
    // Node would warn the program of what is asked here.
    process.noDeprecation = true;
    return process.binding('async_wrap').async_hook_fields;
  } catch {
    return undefined;
  } finally {
    if (had) Object.defineProperty(process, 'noDeprecation', had);
    else delete process.noDeprecation;
  }
}

// Tells whether the main script, which has run, is a module. What has no file, as `-e`, is none but by its flag.
function isModule() {
  if (process.mainModule) return false;
  const isFile = path.isAbsolute(process.argv[1] || '');
  return isFile || process.execArgv.some((flag) => flag.startsWith('--input-type=module'));
}

// Begins to watch the loop of this thread; the agent comes with the main thread's.
function start(options = {}) {
  const why = attach(options);
  if (why) off(why);
}

// As `start`; returns why nothing is watched, where that is news.
function attach(options) {
  if (process[KEY]) return '';
  if (isOff()) return options.isAttached ? `LOOPSCOPE=${process.env.LOOPSCOPE} is in its environment` : '';
  const { addon, why } = require('./addon.cjs').load(options.addon);
  if (!addon) return why;
  const { loop, script, thread } = names(options.name);
  const limit = require('v8').getHeapStatistics().heap_size_limit;
  const isMain = String(worker.isMainThread);
  // V8 has all of a function once it was called: the addon checks by this one how V8 keeps functions.
  answer('');
  addon.start(loop, script, thread, String(limit), isMain, answer, versions(), lines(options));
  // An addon of an earlier version cannot.
  addon.named?.(String(context !== null));
  // After a main module there is more to come of the start. Asked when the script has run: under `--import` not before microtasks.
  if (!options.isAttached) {
    process.nextTick(() => isModule() && process[KEY] && process[KEY].addon.module());
  }
  const counters = hookCounters();
  if (counters) addon.hooks(counters);
  const onExit = () => addon.exit(isMain);
  const onThrow = () => addon.threw();
  const state = { addon, isMain, onExit, onThrow, listeners: new Set(), isListening: false };
  Object.defineProperty(process, KEY, { value: state, configurable: true });
  process.on('exit', onExit);
  process.on('uncaughtExceptionMonitor', onThrow);
  return '';
}

// Where the agent answers: '' until it does, some 20 ms after the start.
function url() {
  return process[KEY] ? process[KEY].addon.url() : '';
}

// Ends the watching, and leaves nothing behind but the addon's file in memory; the program goes on.
function stop() {
  const state = process[KEY];
  if (!state) return;
  delete process[KEY];
  process.off('exit', state.onExit);
  process.off('uncaughtExceptionMonitor', state.onThrow);
  if (state.isListening) state.addon.unlisten();
  state.addon.stop(state.isMain);
}

// Names the callback or drain that runs: in metrics, flamegraphs and incidents.
function label(name) {
  const state = process[KEY];
  // A batch of timers or immediates is one to V8, but for the microtasks between its members.
  if (state && state.addon.label(String(name)) === 'batch') queueMicrotask(() => {});
}

// Calls `work`, which may block the loop for this reason: its time is no stall. Returns what it returns.
function expectBlock(reason, work) {
  const state = process[KEY];
  if (!state) return work();
  state.addon.expect(String(reason));
  try {
    return work();
  } finally {
    if (process[KEY] === state) state.addon.expected();
  }
}

// What this thread's loop did since its start; null where nothing is watched.
function snapshot() {
  const text = process[KEY] ? process[KEY].addon.snapshot() : '';
  return text ? JSON.parse(text) : null;
}

// Tells all listeners what was not told yet. Called by the addon, within a turn of the loop.
function tell(state) {
  for (let text = state.addon.stall(); text; text = state.addon.stall()) {
    const stall = JSON.parse(text);
    for (const listener of [...state.listeners]) listener(stall);
  }
}

// Calls `listener` after each stall of any loop of this process. Returns a function that ends that.
function onStall(listener) {
  if (typeof listener !== 'function') throw new TypeError('onStall needs a function');
  const state = process[KEY];
  if (!state) return () => {};
  // The same function may be given twice.
  const own = (stall) => listener(stall);
  state.listeners.add(own);
  if (!state.isListening) state.isListening = state.addon.listen(() => tell(state)) === 'true';
  return () => {
    state.listeners.delete(own);
    if (state.listeners.size > 0 || !state.isListening) return;
    state.isListening = false;
    state.addon.unlisten();
  };
}

// Has what blocks the loop named by the program's own AsyncLocalStorage: its store is the name, or has it under `key`, as an entry
// of a Map or a property of its own that is no getter.
function nameBy(storage, key = 'label') {
  const isKnown = storage instanceof AsyncLocalStorage;
  context = isKnown ? { storage, key, property: typeof key === 'symbol' ? key : String(key) } : null;
  if (process[KEY]) process[KEY].addon.named?.(String(context !== null));
}

// What was counted so far, without what runs now; null where nothing is watched.
function counts() {
  return process[KEY] ? JSON.parse(process[KEY].addon.counts()) : null;
}

// Takes everything off this loop's thread, or puts it back, without the parts that are named: to measure what each costs in one process.
function pause(isPaused, leftOut = []) {
  if (process[KEY]) process[KEY].addon.pause(String(isPaused), leftOut.join());
}

module.exports = { start, attach, stop, url, label, nameBy, expectBlock, snapshot, onStall, counts, pause };
