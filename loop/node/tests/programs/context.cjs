// Blocks in the context of one request and then of another, each after an await: the loop's entry has no name of its own there.
'use strict';
const { AsyncLocalStorage } = require('async_hooks');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const storage = new AsyncLocalStorage();
loopscope.nameBy(storage, 'route');
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function handle() {
  await wait(20);
  const end = Date.now() + 400;
  while (Date.now() < end);
}

(async () => {
  await storage.run({ route: 'checkout' }, handle);
  await wait(300);
  await storage.run({ route: 'search' }, handle);
  await wait(300);
})();
