// Waits for events that do not come, until a signal ends it: node idle.cjs main | timer
'use strict';
const fs = require('fs');
const net = require('net');
const { execFileSync } = require('child_process');

const servers = (count) => { for (let at = 0; at < count; at += 1) net.createServer().listen(0, '127.0.0.1'); };

// No child of this loop, which would wake it.
execFileSync('sh', ['-c', `(sleep 0.6; kill -TERM ${process.pid}) > /dev/null 2>&1 &`]);
if (process.argv[2] === 'main') {
  servers(2);
} else {
  execFileSync('mkfifo', ['nobody-writes']);
  // What is begun after a poll, before the next one.
  setTimeout(() => {
    servers(5);
    fs.open('nobody-writes', () => {});
  }, 100);
}
