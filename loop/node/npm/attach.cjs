'use strict';
// What `loopscope attach` has done in a program that runs: the inspector evaluates one expression each.

const path = require('path');

// Returns '' where the loop is watched, or why it is not.
function attach(options) {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null));
  return require('./index.cjs').attach({ ...given, isAttached: true });
}

// Ends the watching, and forgets these files.
function detach() {
  require('./index.cjs').stop();
  for (const file of Object.keys(require.cache)) {
    if (path.dirname(file) === __dirname) delete require.cache[file];
  }
}

// Closes the inspector, and with it the session that has this evaluated: no timer is needed for it, which a loop that hangs would
// never come to. No answer is sent.
function closeInspector() {
  require('inspector').close();
}

module.exports = { attach, detach, closeInspector };
