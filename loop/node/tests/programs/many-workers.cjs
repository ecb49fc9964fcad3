// 200 workers, some of which block, each in a function of its own: node many-workers.cjs [together]
// One after the other; or nine at the same time, for 3 s and longer where others
// have the processors, each of which calls another function then.
'use strict';
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const COUNT = 200;
const ROUNDS = 3;
const TOGETHER = Array.from({ length: 9 }, (_, number) => [`guilty${number}`, 22 * number + 5]);

if (!isMainThread) {
  const blocks = {
    guiltyOne() { const end = Date.now() + 400; while (Date.now() < end); },
    guiltyTwo() { const end = Date.now() + 400; while (Date.now() < end); },
    guiltyThree() { const end = Date.now() + 400; while (Date.now() < end); },
  };
  function guilty0() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty1() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty2() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty3() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty4() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty5() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty6() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty7() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function guilty8() { for (let n = 0, end = Date.now() + 3000; Date.now() < end || n < 1e6; n++); }
  function innocent() { let sum = 0; for (let at = 0; at < 1e6; at++) sum += at % 7; return sum; }
  const together = { guilty0, guilty1, guilty2, guilty3, guilty4, guilty5, guilty6, guilty7, guilty8 };
  parentPort.on('message', (which) => {
    if (which in together) {
      together[which]();
      innocent();
    } else if (which) blocks[which]();
    parentPort.postMessage(workerData);
  });
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
    if (process.argv[2] === 'together') {
      const chosen = TOGETHER.map(([which, at]) => { all[at].postMessage(which); return once(all[at], 'message'); });
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
