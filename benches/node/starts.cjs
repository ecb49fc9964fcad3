// From the start of a process to the end of an empty script: plain, plain again (A/A), with the addon, and by `loopscope run`; and what
// the start of the addon takes of the main thread.
//
//   node starts.cjs [ROUNDS]        LOOPSCOPE_NODE_ADDON: the addon; LOOPSCOPE_COMMAND: the command
'use strict';
const { spawnSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const rounds = Number(process.argv[2] || 60);
const npm = path.join(__dirname, '../../loop/node/npm');
const command = process.env.LOOPSCOPE_COMMAND || path.join(__dirname, '../../target/release/loopscope');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'starts-'));
const empty = path.join(folder, 'empty.js');
fs.writeFileSync(empty, '');
const timed = path.join(folder, 'timed.js');
// Both files are read before, as any program's are: what is timed is `dlopen` and the start.
fs.writeFileSync(timed, `const begun = process.hrtime.bigint(); require(${JSON.stringify(`${npm}/index.cjs`)}).start();
console.log(Number(process.hrtime.bigint() - begun) / 1e6);`);

const node = process.execPath;
const env = { ...process.env };
delete env.NODE_OPTIONS;
const off = { ...env, LOOPSCOPE: 'off' };
const WAYS = [
  ['plain', node, [empty], off],
  ['plain (A/A)', node, [empty], off],
  ['--require loopscope/register', node, ['--require', `${npm}/register.cjs`, empty], env],
  ['the same, LOOPSCOPE=off', node, ['--require', `${npm}/register.cjs`, empty], off],
  ['loopscope run -- node', command, ['run', '--', node, empty], env],
];

const ms = WAYS.map(() => []);
const main = [];
for (let round = 0; round < rounds + 2; round += 1) {
  for (let turn = 0; turn < WAYS.length; turn += 1) {
    const at = (round + turn) % WAYS.length;
    const [, file, flags, environment] = WAYS[at];
    const begun = performance.now();
    const { status, stderr } = spawnSync(file, flags, { env: environment });
    const took = performance.now() - begun;
    if (status !== 0) throw new Error(`${WAYS[at][0]}: ${status} ${stderr}`);
    if (round >= 2) ms[at].push(took);
  }
  const { stdout } = spawnSync(node, [timed], { env });
  if (round >= 2) main.push(Number(stdout));
}
fs.rmSync(folder, { recursive: true });

const sorted = (values) => [...values].sort((a, b) => a - b);
function spread(values) {
  const all = sorted(values);
  const reach = 0.98 * Math.sqrt(all.length);
  const rank = (where) => all[Math.min(all.length - 1, Math.max(0, Math.floor(where)))].toFixed(1);
  return `${rank(all.length / 2)} [${rank(all.length / 2 - reach)}, ${rank(all.length / 2 + reach)}]`;
}
console.log(`Node ${process.version}, ${rounds} rounds: ms, medians [95 % of the median]`);
console.log('| way | ms | more than plain, paired |\n|---|---|---|');
WAYS.forEach(([name], at) => {
  console.log(`| ${name} | ${spread(ms[at])} | ${spread(ms[at].map((one, round) => one - ms[0][round]))} |`);
});
console.log(`the start on the main thread: ${spread(main)} ms, at most ${sorted(main)[main.length - 1].toFixed(1)}`);
