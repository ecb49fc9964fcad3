// Blocks after it has read files, which is no start of a module: node starts.cjs files | worker | evaluated-worker | module-worker HOW
'use strict';
const fs = require('fs');
const path = require('path');
const { Worker } = require('worker_threads');

const [how, argument] = process.argv.slice(2);

function blockAfterFiles(left) {
  if (left === 0) return console.log('blocked');
  fs.readFile('/dev/null', () => {
    for (const end = Date.now() + 350; Date.now() < end;);
    blockAfterFiles(left - 1);
  });
}

if (how === 'files') {
  // More than once, where the agent took so long to start.
  blockAfterFiles(4);
} else if (how === 'worker') {
  new Worker(__filename, { argv: ['files'] });
} else if (how === 'evaluated-worker') {
  new Worker(fs.readFileSync(__filename, 'utf8'), { eval: true, argv: ['files'] });
} else {
  new Worker(path.join(__dirname, 'module.mjs'), { argv: [argument] });
}
