// Answers requests of HTTP, one after the other, and prints how many figures are read in libuv's and Node's memory then.
'use strict';
const http = require('http');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

let left = 60;
const server = http.createServer((request, response) => response.end('hello'));
function ask() {
  http.get({ port: server.address().port, agent: false }, (response) => {
    response.resume();
    response.on('end', () => {
      left -= 1;
      // A poll that waits.
      if (left > 0) return setTimeout(ask, 1);
      console.log(loopscope.counts().read_in_place);
      server.close();
    });
  });
}
server.listen(0, '127.0.0.1', ask);
