'use strict';
// Finds the addon and loads it, or says in one line what is needed instead. The program goes on either way.

const fs = require('fs');
const path = require('path');
const { version } = require('./package.json');

const MAJOR_MIN = 18;
const ARCHITECTURES = ['x64', 'arm64'];
// How the kernel names musl's loader among the files that a process has mapped: Debian's is a link to the library.
const MUSL_LOADER = /\/ld-musl-|-linux-musl\w*\/libc\.so$/m;

// Looked at before the addon is loaded: other runtimes have some of Node's functions, and end the process at others.
function refusal() {
  const { versions, platform, arch } = process;
  if (versions.bun) return `this is Bun ${versions.bun}, and loopscope watches Node.js only`;
  if (versions.deno) return `this is Deno ${versions.deno}, and loopscope watches Node.js only`;
  if (versions.electron) return `this is Electron ${versions.electron}, and loopscope watches Node.js only`;
  const major = Number.parseInt(versions.node, 10);
  if (!(major >= MAJOR_MIN)) return `this is Node.js ${versions.node}, and loopscope needs ${MAJOR_MIN} or later`;
  if (platform !== 'linux' || !ARCHITECTURES.includes(arch)) {
    return `there is no addon for ${platform} on ${arch}: loopscope runs on Linux, on ${ARCHITECTURES.join(' and ')}`;
  }
  if (require('v8').startupSnapshot?.isBuildingSnapshot?.()) {
    return 'a startup snapshot is being built, and it cannot contain an addon: preload loopscope when the snapshot is run';
  }
  return '';
}

// The C libraries that this process may have: one, but where it may not read what it has mapped.
function libraries() {
  try {
    return [MUSL_LOADER.test(fs.readFileSync('/proc/self/maps', 'latin1')) ? 'musl' : 'glibc'];
  } catch {
    return ['glibc', 'musl'];
  }
}

// The packages with the addon for this system, of which one is installed.
const packageNames = () => libraries().map((library) => `loopscope-${process.platform}-${process.arch}-${library}`);

// Returns the addon's file, or throws what to say.
function find(own) {
  const given = own || process.env.LOOPSCOPE_NODE_ADDON;
  if (given) return given;
  const names = packageNames();
  for (const name of names) {
    try {
      return require.resolve(`${name}/loopscope.node`);
    } catch { /* The next one. */ }
  }
  const [name] = names;
  throw new Error(
    `the package ${names.join(' or ')} is not installed: npm install ${name}@${version} (--omit=optional leaves it out, and so ` +
    'does a lockfile that was made on another system), or name a file in LOOPSCOPE_NODE_ADDON',
  );
}

function explain(error, file) {
  if (['ERR_DLOPEN_DISABLED', 'ERR_ACCESS_DENIED'].includes(error.code)) {
    return process.execArgv.concat(process.env.NODE_OPTIONS || '').join(' ').includes('--no-addons')
      ? 'this process may not load addons: start it without --no-addons'
      : 'this process may not load addons: start it with --allow-addons';
  }
  const [first] = error.message.split('\n');
  const hint = fs.existsSync(file) ? `; the one for this system is in the package ${packageNames().join(' or ')}` : '';
  return `the addon cannot be loaded: ${first}${hint}`;
}

// Returns the addon's functions; or { why } where there are none. `own` is the file, where that is known.
function load(own) {
  const why = refusal();
  if (why) return { why };
  let file;
  try {
    file = find(own);
  } catch (error) {
    return { why: error.message };
  }
  const module = { exports: {} };
  try {
    process.dlopen(module, file);
    return { addon: module.exports };
  } catch (error) {
    return { why: explain(error, file) };
  }
}

module.exports = { load };
