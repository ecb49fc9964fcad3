'use strict';
// What `loopscope attach` has done in a program that runs: the inspector evaluates one expression each.

const path = require('path');

// Watches the loop of this thread, and those of its workers. Returns why it does not, '' where it does, and how many workers are
// asked.
function attach(options) {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null));
  const index = require('./index.cjs');
  let why = index.attach({ ...given, isAttached: true });
  if (!why && index.snapshot() === null) {
    index.stop();
    why = 'its loop cannot be watched; the program\'s stderr says why';
  }
  return { why, workers: why ? 0 : require('./workers.cjs').attach(given) };
}

// Ends the watching, and forgets these files. Returns how many workers are asked to do the same.
function detach() {
  const workers = require('./workers.cjs').detach();
  require('./index.cjs').stop();
  for (const file of Object.keys(require.cache)) {
    if (path.dirname(file) === __dirname) delete require.cache[file];
  }
  return { workers };
}

// Closes the inspector, and with it the session that has this evaluated: no timer is needed for it, which a loop that hangs would
// never come to. No answer is sent.
function closeInspector() {
  require('inspector').close();
}

module.exports = { attach, detach, closeInspector };
