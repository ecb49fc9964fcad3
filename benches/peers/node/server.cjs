// Node as a TCP server: echo, or one fixed answer to each HTTP request. Prints its port.
'use strict';
const fs = require('node:fs');
const net = require('node:net');
const http = require('node:http');

const echo = () => net.createServer({ noDelay: true }, (socket) => {
  socket.on('data', (bytes) => socket.write(bytes));
  socket.on('error', () => socket.destroy());
});

const hello = () => {
  const server = http.createServer((request, response) => response.end('hello\n'));
  server.keepAliveTimeout = 0;
  return server;
};

const server = process.argv[2] === 'http' ? hello() : echo();
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => fs.writeSync(1, `${server.address().port}\n`));
