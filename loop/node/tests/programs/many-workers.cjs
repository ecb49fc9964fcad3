// 200 workers, some of which block, each in a function of its own: node many-workers.cjs [together]
// One after the other; or nine at the same time, until the agent has named all of them, each of which calls another function then.
'use strict';
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const COUNT = 200;
const ROUNDS = 3;
// Only to fail.
const DEADLINE_MS = 40000;
const TOGETHER = Array.from({ length: 9 }, (_, number) => [`guilty${number}`, 22 * number + 5]);

if (!isMainThread) {
  const blocks = {
    guiltyOne() { const end = Date.now() + 400; while (Date.now() < end); },
    guiltyTwo() { const end = Date.now() + 400; while (Date.now() < end); },
    guiltyThree() { const end = Date.now() + 400; while (Date.now() < end); },
  };
  // Until all nine are named: the main thread says so, also when it gives up.
  const { areNamed } = workerData;
  function guilty0() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty1() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty2() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty3() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty4() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty5() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty6() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty7() { while (Atomics.load(areNamed, 0) === 0); }
  function guilty8() { while (Atomics.load(areNamed, 0) === 0); }
  function innocent() { let sum = 0; for (let at = 0; at < 1e6; at++) sum += at % 7; return sum; }
  const together = { guilty0, guilty1, guilty2, guilty3, guilty4, guilty5, guilty6, guilty7, guilty8 };
  parentPort.on('message', function onMessage(which) {
    if (which in together) {
      together[which]();
      innocent();
    } else if (which) blocks[which]();
    parentPort.postMessage('done');
  });
} else {
  const http = require('http');
  const loopscope = require(process.env.LOOPSCOPE_INDEX);
  const areNamed = new Int32Array(new SharedArrayBuffer(4));
  const ask = (path) => new Promise((resolve, reject) => {
    http.get(`${loopscope.url()}/debug/loopscope/incidents${path}`, (response) => {
      let text = '';
      response.on('data', (part) => { text += part; }).on('end', () => resolve(JSON.parse(text)));
    }).on('error', reject);
  });
  // Waits until each of the nine functions is guilty of an incident.
  const named = async () => {
    const names = new Set();
    for (const until = Date.now() + DEADLINE_MS; names.size < TOGETHER.length && Date.now() < until;) {
      await new Promise((done) => { setTimeout(done, 200); });
      for (const { id } of await ask('')) {
        for (const { frames, guilty } of (await ask(`/${id}`)).stacks) {
          const name = frames[guilty ?? -1]?.function;
          if (TOGETHER.some(([which]) => which === name)) names.add(name);
        }
      }
    }
  };
  const once = (worker, event) => new Promise((resolve) => worker.once(event, resolve));
  (async () => {
    const all = [];
    // Begun in portions, as pools of workers are.
    for (let at = 0; at < COUNT; at += 20) {
      const some = Array.from({ length: 20 }, (_, i) => new Worker(__filename, { workerData: { areNamed }, name: `w${at + i}` }));
      await Promise.all(some.map((worker) => { worker.postMessage(''); return once(worker, 'message'); }));
      all.push(...some);
    }
    if (process.argv[2] === 'together') {
      const chosen = TOGETHER.map(([which, at]) => { all[at].postMessage(which); return once(all[at], 'message'); });
      await named();
      Atomics.store(areNamed, 0, 1);
      await Promise.all(chosen);
    } else for (let round = 0; round < ROUNDS; round++) {
      const chosen = [['guiltyOne', all[round * 7]], ['guiltyTwo', all[100 + round]], ['guiltyThree', all[199 - round]]];
      for (const [which, worker] of chosen) {
        worker.postMessage(which);
        await once(worker, 'message');
      }
    }
    await Promise.all(all.map((worker) => worker.terminate()));
    console.log('ended');
  })();
}
