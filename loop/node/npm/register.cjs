'use strict';
// node --require loopscope/register app.js, or --import: watches every loop of the process, without a change to the program.

const fs = require('fs');
const path = require('path');

// Package managers, which are programs of Node's themselves: they start the program, and are not what is to be watched.
const MANAGERS = /\/(node_modules|nodejs)\/(npm|pnpm|yarn|@yarnpkg\/cli-dist|corepack)\/|\/corepack\/.*\/(yarn|pnpm|npm)\/|\/\.yarn\/releases\//;
const NAMES = /^(npm|npx|pnpm|pnpx|yarn|yarnpkg|corepack)(-cli)?(\.c?js)?$/;

function isPackageManager() {
  const script = process.argv[1];
  if (!script) return false;
  try {
    // What is on the PATH is a link to it.
    const file = fs.realpathSync(script);
    return MANAGERS.test(file) || (NAMES.test(path.basename(script)) && script !== file);
  } catch {
    return false;
  }
}

// A process that is restricted may be permitted to read this file and none beside it. It goes on without being watched.
function say(error) {
  const needed = `--allow-fs-read=${__dirname}/* --allow-addons`;
  const why = error.code === 'ERR_ACCESS_DENIED' ? `this process may not load it: add ${needed}` : error.message.split('\n')[0];
  if (require('worker_threads').isMainThread) process._rawDebug(`loopscope: off, because ${why}`);
}

try {
  if (!isPackageManager()) require('./index.cjs').start({ isPreloaded: true });
} catch (error) {
  say(error);
}
