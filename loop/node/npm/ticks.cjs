'use strict';
// Which function waits in the queue of process.nextTick: found once, by a look at what process.nextTick itself refers to, as a
// debugger does, when a flood of ticks blocks the loop for the first time; nothing is changed. That happens at any place of the
// program's code: what it needs is taken here, before the program can put something else in its place.

// Node's own loader of its modules, also where a program replaces `Module._load` later; `inspector` takes a ms to load.
const { getBuiltinModule } = process;
const load = getBuiltinModule || require('module')._load;

const LOOKED_AT = 16;
const KEY = Symbol.for('loopscope.queue');
const { isArray } = Array;
const { apply } = Reflect;
const { startsWith } = String.prototype;

// The first of a list of the inspector's that `isIt`.
function first(list, isIt) {
  for (let at = 0; at < list.length; at++) if (isIt(list[at])) return list[at];
  return undefined;
}

function findQueue() {
  const { Session } = load('inspector');
  const session = new Session();
  session.connect();
  try {
    const post = (method, parameters) => {
      let result;
      session.post(method, parameters, (error, answer) => { if (!error) result = answer; });
      return result;
    };
    const propertiesOf = (objectId) => post('Runtime.getProperties', { objectId, ownProperties: true });
    // A getter of the program's is not called.
    const { result } = post('Runtime.evaluate', { expression: 'process.nextTick', silent: true, throwOnSideEffect: true });
    const scopes = first(propertiesOf(result.objectId).internalProperties, ({ name }) => name === '[[Scopes]]');
    const chain = propertiesOf(scopes.value.objectId).result;
    for (let at = 0; at < chain.length; at++) {
      const { objectId: closure, description } = chain[at].value || {};
      if (!closure || typeof description !== 'string' || !apply(startsWith, description, ['Closure'])) continue;
      const found = first(propertiesOf(closure).result, ({ name }) => name === 'queue');
      if (!found) continue;
      // The one way from an object of the inspector's to the object itself is to call a function with it.
      const { objectId } = found.value;
      post('Runtime.callFunctionOn', { objectId, functionDeclaration: 'function () { globalThis[Symbol.for("loopscope.queue")] = this; }' });
      const queue = globalThis[KEY];
      delete globalThis[KEY];
      return queue;
    }
    return null;
  } finally {
    session.disconnect();
  }
}

let queue;

// The one function that waits, first of all; null where several do, or none.
function onlyTick() {
  if (queue === undefined) {
    queue = null;
    queue = findQueue();
  }
  let only = null;
  let left = LOOKED_AT;
  for (let ring = queue?.tail; ring && left > 0; ring = ring.next) {
    if (!isArray(ring.list)) return null;
    for (let at = ring.bottom; at !== ring.top && left > 0; at = (at + 1) % ring.list.length, left--) {
      const waiting = ring.list[at]?.callback;
      if (typeof waiting !== 'function' || (only && waiting !== only)) return null;
      only = waiting;
    }
  }
  return only;
}

module.exports = { onlyTick };
