// How long after the threshold the line that blocks is printed: in JavaScript, and inside native code.
//
//   node blocks.cjs [PROCESSES]        LOOPSCOPE_NODE_ADDON: the addon
//
// Each process blocks eight times in JavaScript and eight times in pbkdf2Sync, each time from another function, because what was told
// a moment ago is told less often. A block lasts 600 ms; the parent reads standard error and notes when the line with the function
// came. Both sides read the same monotonic clock. The first block of a process, at which the map of code is made, is told apart.
'use strict';
const { spawn } = require('child_process');
const path = require('path');

const THRESHOLD_MS = 100;
const BLOCK_MS = 600;
const BLOCKS = 4;
const now = () => Number(process.hrtime.bigint()) / 1e6;

function child() {
  const crypto = require('crypto');
  crypto.pbkdf2Sync('p', 's', 20000, 64, 'sha512');
  const begun = now();
  crypto.pbkdf2Sync('p', 's', 50000, 64, 'sha512');
  const iterations = Math.round((50000 * BLOCK_MS) / (now() - begun));
  const bodies = {
    js: `const end = Date.now() + ${BLOCK_MS}; let sum = 0; while (Date.now() < end) { sum += 1; }`,
    native: `crypto.pbkdf2Sync('p', 's', ${iterations}, 64, 'sha512');`,
  };
  const all = [];
  for (let at = 0; at < BLOCKS; at += 1) {
    for (const kind of Object.keys(bodies)) {
      const name = `${kind}Block${at}`;
      all.push([name, new Function('now', 'crypto', `return function ${name}() { ${bodies[kind]} }`)(now, crypto)]);
    }
  }
  const next = () => {
    const one = all.shift();
    if (!one) return process.exit();
    const [name, block] = one;
    const from = now();
    block();
    console.log(`${name} ${from} ${now()}`);
    setTimeout(next, 1100);
  };
  setTimeout(next, 1100);
}

async function parent() {
  const late = { js: [], native: [], 'js, first': [], 'native, first': [] };
  const missed = { js: 0, native: 0 };
  const blockedFor = [];
  for (let at = 0; at < Number(process.argv[2] || 6); at += 1) {
    const register = path.join(__dirname, '../../loop/node/npm/register.cjs');
    const env = { ...process.env, LOOPSCOPE_LISTEN: 'off', LOOPSCOPE_THRESHOLDS: `${THRESHOLD_MS}ms/1h` };
    const running = spawn(process.execPath, ['--require', register, __filename, 'child'], { env });
    const lines = [];
    const blocks = [];
    let text = '';
    running.stderr.on('data', (part) => {
      const came = now();
      text += part;
      const whole = text.split('\n');
      text = whole.pop();
      for (const line of whole) lines.push([came, line]);
    });
    running.stdout.on('data', (part) => {
      for (const line of part.toString().trim().split('\n')) blocks.push(line.split(' '));
    });
    await new Promise((done) => { running.on('close', done); });
    blocks.forEach(([name, from, to], index) => {
      const kind = name.startsWith('js') ? 'js' : 'native';
      const told = lines.find(([came, line]) => line.includes(name) && came >= Number(from));
      blockedFor.push(to - from);
      if (!told || told[0] > Number(to)) {
        missed[kind] += 1;
        if (process.env.TELL) console.error(name, told ? `after its end: ${told[1]}` : 'nothing', lines.filter(([came]) => came >= from && came <= Number(to) + 500).map(([, line]) => line));
        return;
      }
      late[index < 2 ? `${kind}, first` : kind].push(told[0] - Number(from) - THRESHOLD_MS);
    });
  }
  const sorted = (values) => [...values].sort((a, b) => a - b);
  console.log(`Node ${process.version}: ms from the threshold to the printed function, while the block lasts`);
  console.log('| what | blocks | median | largest | not told while it lasted |\n|---|---|---|---|---|');
  for (const [kind, values] of Object.entries(late)) {
    const all = sorted(values);
    const [told, most] = [all[all.length >> 1], all[all.length - 1]].map((one) => (one === undefined ? '-' : one.toFixed(1)));
    console.log(`| ${kind} | ${all.length} | ${told} | ${most} | ${missed[kind] ?? ''} |`);
  }
  console.log(`blocks of ${Math.min(...blockedFor).toFixed(0)} to ${Math.max(...blockedFor).toFixed(0)} ms`);
}

if (process.argv[2] === 'child') child(); else parent();
