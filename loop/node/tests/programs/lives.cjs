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
} else if (how === 'slow-start') {
  // A second of work, and then a loop that goes on.
  for (const end = Date.now() + 1000; Date.now() < end;);
  setTimeout(() => console.log('slow'), 300);
} else if (how === 'terminated-idle' || how === 'terminated-gracefully') {
  if (how === 'terminated-gracefully') process.on('SIGTERM', () => process.exit());
  require('child_process').spawn('sh', ['-c', `sleep 0.3; kill -TERM ${process.pid}`], { stdio: 'ignore' });
  setTimeout(() => console.log('too late'), 60000);
} else if (how === 'exit-in-listener') {
  require(process.env.LOOPSCOPE_INDEX).onStall(() => { console.log('stalled'); process.exit(6); });
  require('./watched.cjs')(() => { for (const end = Date.now() + 300; Date.now() < end;); });
  setTimeout(() => console.log('too late'), 60000);
} else if (how === 'exit-in-before-exit') {
  process.on('beforeExit', () => process.exit(4));
} else if (how === 'listens-after-stop') {
  // A worker listens though nothing of it is watched any more, and ends; then there are stalls to tell.
  const source = `const loopscope = require(process.env.LOOPSCOPE_INDEX);
    const { addon } = process[Symbol.for('loopscope')];
    loopscope.stop();
    addon.listen(() => {});`;
  const block = () => { for (const end = Date.now() + 250; Date.now() < end;); };
  new Worker(source, { eval: true }).on('exit', () => {
    setTimeout(block, 20);
    setTimeout(block, 400);
    setTimeout(() => console.log('told'), 900);
  });
} else if (how === 'another-copy') {
  // The same addon from another file, after the first one has ended: as an update that is loaded into a running process.
  const fs = require('fs');
  const copy = `${process.env.LOOPSCOPE_RUNTIME_DIR}/copy.node`;
  fs.copyFileSync(process.env.LOOPSCOPE_NODE_ADDON, copy);
  const loopscope = require(process.env.LOOPSCOPE_INDEX);
  loopscope.stop();
  loopscope.start({ addon: copy });
  fs.unlinkSync(copy);
  setTimeout(() => fs.stat('/', () => setTimeout(() => console.log(loopscope.counts().unnamed), 20)), 20);
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
} else if (how === 'same-turn') {
  // Workers that stop and start without a turn of their loops between, in all orders, and end in the same turn or later.
  const source = `const loopscope = require(process.env.LOOPSCOPE_INDEX);
    const { how, when } = require('worker_threads').workerData;
    const change = () => { for (const step of how) loopscope[step](); };
    const expected = how[how.length - 1] === 'stop';
    const say = () => { if ((loopscope.counts() === null) !== expected) throw new Error(how + ' ' + when); };
    if (when === 'main') change();
    if (when === 'exit') process.on('exit', change);
    if (when === 'ended') setTimeout(() => { change(); process.exit(); }, 10);
    if (when === 'timer') setTimeout(() => { change(); setTimeout(say, 10); }, 10);`;
  const orders = [['stop'], ['stop', 'start'], ['stop', 'start', 'stop'], ['stop', 'start', 'stop', 'start']];
  const all = orders.flatMap((how) => ['main', 'exit', 'ended', 'timer'].map((when) => ({ how, when })));
  const next = (at) => {
    if (at === all.length) return console.log('same turn');
    new Worker(source, { eval: true, workerData: all[at] }).on('exit', (code) => { if (code === 0) next(at + 1); });
  };
  next(0);
} else if (how === 'older-addon') {
  // One that was preloaded from an earlier version of the package, which had no names from a context.
  const loopscope = require(process.env.LOOPSCOPE_INDEX);
  const { addon } = process[Symbol.for('loopscope')];
  delete addon.named;
  loopscope.nameBy(new (require('async_hooks').AsyncLocalStorage)());
  loopscope.stop();
  loopscope.start();
  loopscope.nameBy();
  setTimeout(() => console.log(addon.named, loopscope.counts().unnamed), 20);
} else if (how === 'trace') {
  const tracing = require('trace_events').createTracing({ categories: ['node.async_hooks', 'v8'] });
  tracing.enable();
  setTimeout(() => {
    tracing.disable();
    require('./watched.cjs')(() => {
      const http = require('http');
      const server = http.createServer((request, response) => { const end = Date.now() + 250; while (Date.now() < end); response.end(); });
      server.listen(0, '127.0.0.1', () => http.get({ port: server.address().port, agent: false }, (response) => {
        response.resume();
        response.on('end', () => server.close());
      }));
    });
  }, 20);
}
