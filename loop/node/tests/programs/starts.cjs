// Blocks after it has read files, which is no start of a module: node starts.cjs files
'use strict';
const fs = require('fs');

const [how] = process.argv.slice(2);

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
}
