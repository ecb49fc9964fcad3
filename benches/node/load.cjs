// Load on an HTTP server that says hello, for the benchmarks in this folder.
'use strict';

const REQUEST = 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n';

// Keeps all connections busy for so long; returns the number of answers.
function load(sockets, ms) {
  return new Promise((done) => {
    const end = performance.now() + ms;
    let answers = 0;
    let open = sockets.length;
    for (const socket of sockets) {
      const onData = () => {
        answers += 1;
        if (performance.now() < end) return socket.write(REQUEST);
        socket.off('data', onData);
        open -= 1;
        if (open === 0) done(answers);
      };
      socket.on('data', onData);
      socket.write(REQUEST);
    }
  });
}

module.exports = { REQUEST, load };
