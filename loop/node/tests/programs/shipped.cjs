'use strict';
// What an addon has to do on each platform: the page is there while the program runs, and a stall is named by its line. Which is
// said on standard output; the exit code is the program's own.

const fs = require('fs');
const { onStall, snapshot } = require(process.env.LOOPSCOPE_INDEX);

const LATE_MS = 60_000;

function planted() {
  const end = Date.now() + 600;
  while (Date.now() < end); // Line 12.
}

const isOwnPage = (name) => name.startsWith(`${process.pid}-`) && name.endsWith('.page');
const pages = fs.readdirSync(process.env.LOOPSCOPE_RUNTIME_DIR).filter(isOwnPage);
console.log(`watched ${snapshot() !== null}, pages ${pages.length}`);

const late = setTimeout(() => {
  clearInterval(again);
  console.log('no stall');
}, snapshot() ? LATE_MS : 1);
const end = onStall(({ function: name, place }) => {
  // On a busy machine anything may be a stall, and what runs be known too late: in an emulator V8's answer may come after the
  // function was found on the native stack, where it has the line at which it begins.
  const line = /:(\d+):\d+$/.exec(place)?.[1];
  if (name !== 'planted' || line === '10') return;
  end();
  clearInterval(again);
  console.log(`blocked in ${name} at line ${line}`);
  clearTimeout(late);
});
const again = setInterval(planted, 900);
process.exitCode = 7;
