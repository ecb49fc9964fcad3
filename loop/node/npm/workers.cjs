'use strict';
// Worker threads of a program that was attached to. Each evaluates what its main thread did, through Node's own inspector, within
// the process: nothing listens for that, and a session is there only while a worker is asked.
//
// A worker that starts later is asked when it is online: what is evaluated before that meets a Node that is half made.

const { Session } = require('inspector');
const { BroadcastChannel, isMainThread } = require('worker_threads');

// How `detach` finds what `attach` of another copy of this file has begun.
const KEY = Symbol.for('loopscope.workers');
// Where a worker tells the main thread of one that it has started.
const CHANNEL = 'loopscope.workers';
const LATER = 'later';
const RETRY_MS = 50;
const TRIES = 40;

// Returns the expression that calls a function of `attach.cjs` in a worker, where that is ready for it.
function expression(name, options) {
  const script = JSON.stringify(require.resolve('./attach.cjs'));
  const isReady = "typeof require === 'function' && require('worker_threads').parentPort";
  return `${isReady} ? require(${script}).${name}(${JSON.stringify(options)}) : '${LATER}'`;
}

function isDone(answer) {
  const { result } = JSON.parse(answer);
  return Boolean(result) && !result.exceptionDetails && result.result.value !== LATER;
}

// Has workers evaluate an expression: all that are there, also workers of workers, or the one with this number. Returns how many
// are asked. Only in the main thread. Who is in native code answers after that.
function ask(evaluated, only) {
  const session = new Session();
  // How often each was asked that has not done it yet.
  const tries = new Map();
  let isListed = false;
  const end = (id) => {
    tries.delete(id);
    if (isListed && tries.size === 0) session.disconnect();
  };
  const send = (id) => {
    if (!tries.has(id)) return;
    tries.set(id, tries.get(id) + 1);
    const params = { expression: evaluated, includeCommandLineAPI: true, returnByValue: true, silent: true };
    const message = JSON.stringify({ id: tries.get(id), method: 'Runtime.evaluate', params });
    session.post('NodeWorker.sendMessageToWorker', { sessionId: id, message }, (error) => error && end(id));
  };
  session.connect();
  session.on('NodeWorker.attachedToWorker', ({ params: { sessionId, workerInfo } }) => {
    const number = /^\[worker (\d+)\]/.exec(workerInfo.title)?.[1];
    if (isListed || (only !== undefined && number !== undefined && Number(number) !== only)) return;
    tries.set(sessionId, 0);
  });
  session.on('NodeWorker.receivedMessageFromWorker', ({ params: { sessionId, message } }) => {
    if (isDone(message) || tries.get(sessionId) >= TRIES) return end(sessionId);
    setTimeout(send, RETRY_MS, sessionId).unref();
  });
  session.on('NodeWorker.detachedFromWorker', ({ params }) => end(params.sessionId));
  session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  isListed = true;
  const asked = [...tries.keys()];
  asked.forEach(send);
  if (asked.length === 0) session.disconnect();
  return asked.length;
}

// As `ask`: what goes wrong here is no matter of the program's.
function askQuietly(evaluated, only) {
  try {
    return ask(evaluated, only);
  } catch {
    return 0;
  }
}

// Calls `onStart` with the number of each worker that this thread starts, when that is online, and in the main thread with those
// that other threads start. Returns a function that ends that.
function watchStarts(onStart) {
  let channel;
  const onWorker = (started) => {
    // Only now can there be workers of workers.
    if (isMainThread) listen();
    started.once('online', () => onStart(started.threadId));
  };
  const listen = () => {
    if (channel) return;
    channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = ({ data }) => onStart(data);
    channel.unref();
  };
  process.on('worker', onWorker);
  return { listen, end: () => { process.off('worker', onWorker); channel?.close(); } };
}

// Only the main thread can ask, and it can ask all.
function tellMainThread(number) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(number);
  channel.close();
}

// Has the workers of this process watched, those that start later, too. Returns how many there are now. In a worker it does the
// latter for those that this one starts.
function attach(options) {
  if (process[KEY]) return 0;
  const evaluated = expression('attach', options);
  const starts = watchStarts(isMainThread ? (number) => askQuietly(evaluated, number) : tellMainThread);
  Object.defineProperty(process, KEY, { value: starts.end, configurable: true });
  const count = isMainThread ? askQuietly(evaluated) : 0;
  if (count > 0) starts.listen();
  return count;
}

// Ends the watching of workers. Returns how many there are.
function detach() {
  process[KEY]?.();
  delete process[KEY];
  return isMainThread ? askQuietly(expression('detach', {})) : 0;
}

module.exports = { attach, detach };
