'use strict';
// Which function waits in the queue of process.nextTick: found once, by a look at what process.nextTick itself refers to, as a
// debugger does. Loaded when a flood of ticks blocks the loop for the first time; nothing is changed.

const LOOKED_AT = 16;

function findQueue() {
  const { Session } = require('inspector');
  const session = new Session();
  session.connect();
  try {
    const post = (method, parameters) => {
      let result;
      session.post(method, parameters, (error, answer) => { if (!error) result = answer; });
      return result;
    };
    const propertiesOf = (objectId) => post('Runtime.getProperties', { objectId, ownProperties: true });
    const { result } = post('Runtime.evaluate', { expression: 'process.nextTick', silent: true });
    const scopes = propertiesOf(result.objectId).internalProperties.find(({ name }) => name === '[[Scopes]]');
    for (const scope of propertiesOf(scopes.value.objectId).result) {
      const isClosure = scope.value?.objectId && scope.value.description?.startsWith('Closure');
      const found = isClosure && propertiesOf(scope.value.objectId).result.find(({ name }) => name === 'queue');
      if (!found) continue;
      // The one way from an object of the inspector's to the object itself is to call a function with it.
      const key = Symbol.for('loopscope.queue');
      const { objectId } = found.value;
      post('Runtime.callFunctionOn', { objectId, functionDeclaration: 'function () { globalThis[Symbol.for("loopscope.queue")] = this; }' });
      const queue = globalThis[key];
      delete globalThis[key];
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
    for (let at = ring.bottom; at !== ring.top && left > 0; at = (at + 1) % ring.list.length, left--) {
      const waiting = ring.list[at]?.callback;
      if (typeof waiting !== 'function' || (only && waiting !== only)) return null;
      only = waiting;
    }
  }
  return only;
}

module.exports = { onlyTick };
