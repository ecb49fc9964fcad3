// 200 workers, some of which block at the same time, each in a function of its own: node many-workers.cjs
'use strict';
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const COUNT = 200;
const ROUNDS = 3;

if (!isMainThread) {
  const blocks = {
    guiltyOne() { const end = Date.now() + 400; while (Date.now() < end); },
    guiltyTwo() { const end = Date.now() + 400; while (Date.now() < end); },
    guiltyThree() { const end = Date.now() + 400; while (Date.now() < end); },
  };
  parentPort.on('message', (which) => { if (which) blocks[which](); parentPort.postMessage(workerData); });
} else {
  const once = (worker, event) => new Promise((resolve) => worker.once(event, resolve));
  (async () => {
    const all = [];
    // Begun in portions, as pools of workers are.
    for (let at = 0; at < COUNT; at += 20) {
      const some = Array.from({ length: 20 }, (_, i) => new Worker(__filename, { workerData: at + i, name: `w${at + i}` }));
      await Promise.all(some.map((worker) => { worker.postMessage(''); return once(worker, 'message'); }));
      all.push(...some);
    }
    for (let round = 0; round < ROUNDS; round++) {
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
