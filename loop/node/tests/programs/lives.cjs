// Ends in one way or another: node lives.cjs HOW
'use strict';
const { Worker, isMainThread } = require('worker_threads');
const how = process.argv[2];

if (!isMainThread) {
  if (process.env.HANG) for (;;);
  setInterval(() => {}, 5);
} else if (how === 'workers') {
  const start = (env) => new Worker(__filename, { env: { ...process.env, ...env } });
  const all = [start({}), start({}), start({ HANG: '1' })];
  const coming = (left) => {
    if (left === 0) return setTimeout(() => Promise.all(all.map((worker) => worker.terminate())).then(() => console.log('gone')), 300);
    new Worker('setTimeout(() => {}, 5)', { eval: true }).on('exit', () => coming(left - 1));
  };
  coming(10);
} else if (how === 'exit') {
  process.on('exit', () => console.log('exit hook'));
  setTimeout(() => process.exit(7), 20);
} else if (how === 'exit-in-hook') {
  process.on('exit', () => { console.log('hook'); process.exit(5); });
  setTimeout(() => process.exit(7), 20);
} else if (how === 'caught') {
  process.on('uncaughtException', (error) => console.log(error.message));
  setTimeout(() => { throw new Error('on purpose'); }, 20);
  setTimeout(() => console.log('goes on'), 60);
} else if (how === 'rejected') {
  process.on('unhandledRejection', (error) => { console.log(error.message); process.exit(3); });
  setTimeout(() => Promise.reject(new Error('nobody cares')), 20);
} else if (how === 'terminated') {
  // Each is ended at another moment of its stall, some while they are captured.
  const end = (worker, ms) => new Promise((resolve) => { worker.on('exit', resolve); worker.on('online', () => setTimeout(() => worker.terminate(), ms)); });
  const all = Array.from({ length: 8 }, (_, at) => end(new Worker(__filename, { env: { ...process.env, HANG: '1' } }), 100 + 15 * at));
  Promise.all(all).then(() => console.log('terminated'));
} else if (how === 'profiled') {
  const until = Date.now() + 300;
  setTimeout(() => { while (Date.now() < until); console.log('profiled'); }, 20);
} else if (how === 'signals') {
  // Nothing but signals ends its waits; what sends them ends, and that is one, too.
  process.on('SIGUSR2', () => {});
  const sends = `sleep 0.3; kill -USR2 ${process.pid}; sleep 0.3; kill -WINCH ${process.pid}; sleep 0.3`;
  require('child_process').spawn('sh', ['-c', sends]).on('exit', () => console.log('signals'));
} else if (how === 'short') {
  console.log('short');
} else if (how === 'frozen-process') {
  Object.freeze(process);
  setTimeout(() => console.log('frozen'), 20);
} else if (how === 'throw') {
  setTimeout(() => { throw new Error('on purpose'); }, 20);
} else if (how === 'twice') {
  delete require.cache[process.env.LOOPSCOPE_INDEX];
  require(process.env.LOOPSCOPE_INDEX).start();
  setTimeout(() => console.log('twice'), 20);
} else if (how === 'stop') {
  const loopscope = require(process.env.LOOPSCOPE_INDEX);
  setTimeout(() => { loopscope.stop(); setTimeout(() => { loopscope.start(); setTimeout(() => console.log('stopped and started'), 20); }, 20); }, 20);
} else if (how === 'trace') {
  const tracing = require('trace_events').createTracing({ categories: ['node.async_hooks', 'v8'] });
  tracing.enable();
  setTimeout(() => {
    tracing.disable();
    setTimeout(() => {
      const http = require('http');
      const server = http.createServer((request, response) => { const end = Date.now() + 250; while (Date.now() < end); response.end(); });
      server.listen(0, '127.0.0.1', () => http.get({ port: server.address().port, agent: false }, (response) => {
        response.resume();
        response.on('end', () => server.close());
      }));
    }, 20);
  }, 20);
}
