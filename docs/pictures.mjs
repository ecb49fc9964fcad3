// Makes the pictures of the first screen of README.md: what the command prints, run for real, as terminals in SVG.
//
//   cargo build --release -p loopscope && cargo build --profile node -p loopscope-node
//   node docs/pictures.mjs target/release/loopscope target/node/libloopscope_node.so
//
// Writes docs/node-attach.svg and docs/rust-demo.svg. Only folders are replaced, so that none of this machine is shown, and lines
// beyond what fits. A terminal has a background of its own: legible on light pages and dark ones.

import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const COLUMNS = 72;
const CHARACTER = { width: 8.43, height: 19, size: 14 };
const MARGIN = 16;
const ATTEMPTS = 30;
// The frame that is to blame.
const GUILTY = /^ *> /m;
const COLOURS = { back: '#0d1117', edge: '#30363d', text: '#c9d1d9', command: '#ffffff', place: '#ffa657', word: '#ff7b72' };
// What the eye is to find: a place in the program, and how bad it is.
const PLACE = /[\w./-]+\.(?:js|rs):\d+(?::\d+)?/;
const WORD = /\b(?:WARN(?:ING)?|CRITICAL|ERROR|STALLED|Running now)\b/;
const TOKENS = new RegExp(`${PLACE.source}|${WORD.source}`, 'g');

// A service that looks for a free table, and never ends where none is.
const BOOKING = `\
const http = require('node:http');
const taken = [true, true, true, true];
function nextFree(table) {
  while (taken[table]) table = (table + 1) % taken.length;
  return table;
}
http.createServer((request, response) => response.end(String(nextFree(0)))).listen(0, '127.0.0.1', function () {
  console.log(this.address().port);
});
`;

const [command, addon] = process.argv.slice(2).map((file) => path.resolve(file));
if (!addon) throw new Error('node docs/pictures.mjs LOOPSCOPE ADDON');
const docs = path.dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
const escape = (text) => text.replace(/[&<>]/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[character]);

// Cuts a line where a terminal would, at a space where there is one. What follows stands below the text, and not below its margin.
function wrapped(line) {
  const indent = ' '.repeat(/^ */.exec(line)[0].length + 2);
  const rows = [];
  let rest = line.trimEnd();
  while (rest.length > COLUMNS) {
    const at = rest.lastIndexOf(' ', COLUMNS);
    const end = at > COLUMNS / 2 ? at : COLUMNS;
    rows.push(rest.slice(0, end));
    rest = indent + rest.slice(end).trimStart();
  }
  return [...rows, rest];
}

function coloured(row) {
  let text = '';
  let at = 0;
  for (const { 0: token, index } of row.matchAll(TOKENS)) {
    const colour = PLACE.test(token) ? COLOURS.place : COLOURS.word;
    text += `${escape(row.slice(at, index))}<tspan fill="${colour}">${escape(token)}</tspan>`;
    at = index + token.length;
  }
  return text + escape(row.slice(at));
}

// Draws what was typed and printed: { typed } and { printed }, in their order.
function terminal(title, parts) {
  const rows = parts.flatMap(({ typed, printed }) => (typed !== undefined
    ? wrapped(`$ ${typed}`).map((row) => `<tspan fill="${COLOURS.command}" font-weight="bold">${escape(row)}</tspan>`)
    : printed.trimEnd().split('\n').flatMap(wrapped).map(coloured)));
  const width = Math.ceil(COLUMNS * CHARACTER.width) + 2 * MARGIN;
  const height = rows.length * CHARACTER.height + 2 * MARGIN;
  // Columns must stay aligned: without the attribute, what draws pictures outside of browsers makes one space of many.
  const line = (row, at) => `<text xml:space="preserve" x="${MARGIN}" y="${(MARGIN + (at + 0.8) * CHARACTER.height).toFixed(1)}">${row}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escape(title)}</title>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="${COLOURS.back}" stroke="${COLOURS.edge}"/>
<g style="white-space: pre" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${CHARACTER.size}" fill="${COLOURS.text}">
${rows.map(line).join('\n')}
</g>
</svg>
`;
}

// Starts a program; `line(text)` waits for a line of its output that has this text.
function started(program, options, env) {
  const child = spawn(program, options, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let said = '';
  const waiting = new Set();
  const take = (part) => {
    said += part;
    waiting.forEach((look) => look());
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const line = (text) => new Promise((resolve) => {
    const look = () => {
      const found = said.split('\n').slice(0, -1).find((one) => one.includes(text));
      if (found === undefined) return;
      waiting.delete(look);
      resolve(found);
    };
    waiting.add(look);
    look();
  });
  return { child, line };
}

const running = new Set();
// Pages are in memory only.
const folder = mkdtempSync('/dev/shm/loopscope-pictures-');
const env = { ...process.env, LOOPSCOPE_RUNTIME_DIR: path.join(folder, 'run'), LOOPSCOPE_NODE_ADDON: addon };
// In a terminal as wide as the picture, so that lines break where the command breaks them.
const printed = async (...options) => {
  const line = `stty cols ${COLUMNS} rows 24 && exec "$LOOPSCOPE" ${options.join(' ')}`;
  const { stdout } = await run('script', ['-qec', line, '/dev/null'], { env: { ...env, LOOPSCOPE: command, NO_COLOR: '1' } });
  return { printed: stdout.replaceAll('\r', '').replaceAll(folder, '/srv/shop') };
};
const first = ({ printed: text }, lines) => ({ printed: text.split('\n').slice(0, lines).join('\n') });

async function stuckNode() {
  writeFileSync(path.join(folder, 'booking.js'), BOOKING);
  const service = started(process.execPath, ['--inspect-port=0', path.join(folder, 'booking.js')], env);
  const port = await service.line('');
  // Never answered.
  fetch(`http://127.0.0.1:${port}/`).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 500));
  const pid = String(service.child.pid);
  const attached = await printed('attach', pid);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const incident = await printed('incidents', 'last');
  return [{ typed: `loopscope attach ${pid}` }, attached, { typed: 'loopscope incidents last' }, first(incident, 14)];
}

// What is known of a stall whose thread had a processor: the line that computes is in the log and in the incident. Where the machine
// has no processor to give, that is another story than this picture's.
async function blockedRust() {
  const typed = 'loopscope demo --trouble block';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const demo = started(command, ['demo', '--trouble', 'block', '--listen', '127.0.0.1:0', '--metrics-listen', '127.0.0.1:0'], env);
    const warned = await demo.line('WARN');
    const incident = await printed('incidents', 'last');
    demo.child.kill('SIGKILL');
    const id = /\[(\d+-\d+)\]$/.exec(warned)?.[1];
    const isTold = warned.includes('computing in') && incident.printed.includes(`${id}: `) && GUILTY.test(incident.printed);
    if (!isTold) continue;
    // Without the time of day in front.
    const parts = [{ printed: warned.replace(/^.*?WARN/, 'WARN') }, untilGuilty(incident)];
    const [log, told] = parts.map(({ printed: text }) => ({ printed: withoutFolders(text) }));
    return [{ typed }, log, { typed: 'loopscope incidents last' }, told];
  }
  throw new Error(`in ${ATTEMPTS} attempts, the thread of the demo was never seen computing: is the machine busy?`);
}

// Cuts what follows the frame that called the guilty one; each frame has two lines.
function untilGuilty({ printed: text }) {
  const lines = text.split('\n');
  const guilty = lines.findIndex((line) => GUILTY.test(line));
  const more = lines.slice(guilty + 4).find((line) => line.trim().startsWith('... '));
  return { printed: [...lines.slice(0, guilty + 4), ...(more ? [more] : [])].join('\n') };
}

// Paths that are too long for the terminal have lost their beginning.
function withoutFolders(text) {
  return text
    .replaceAll(`${path.dirname(docs)}/`, '')
    .replaceAll(/…\S*?\/(?=agent\/cli\/src\/)/g, '')
    .replaceAll(/[/…]\S*?\/(?=(?:core|alloc|std)\/src\/)/g, '/rustc/library/');
}

try {
  writeFileSync(path.join(docs, 'node-attach.svg'), terminal('loopscope attach: a Node.js process that hangs tells its line', await stuckNode()));
  writeFileSync(path.join(docs, 'rust-demo.svg'), terminal('loopscope demo: a loop in Rust that is blocked tells its line', await blockedRust()));
} finally {
  running.forEach((child) => child.kill('SIGKILL'));
  rmSync(folder, { recursive: true });
}
