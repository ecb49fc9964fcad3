// Blocks where the program has put its own code in place of what loopscope could call while it is asked what runs: it runs none of it.
'use strict';
const { AsyncLocalStorage } = require('async_hooks');
const Module = require('module');
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const ran = [];
let isBlocked = false;
const note = (what) => { if (isBlocked) ran.push(what); };
const patch = (object, name) => {
  const own = object[name];
  object[name] = function (...rest) { note(name); return Reflect.apply(own, this, rest); };
};
const block = (ms) => { isBlocked = true; for (const end = Date.now() + ms; Date.now() < end;); isBlocked = false; };

const storage = new AsyncLocalStorage();
loopscope.nameBy(storage, 'route');
patch(AsyncLocalStorage.prototype, 'getStore');
patch(Map.prototype, 'get');
patch(Module, '_load');
Object.defineProperty(Map, Symbol.hasInstance, { value: () => note('hasInstance') });
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const stores = [
  { get route() { note('getter'); return 'wrong'; } },
  new Proxy({ route: 'wrong' }, {
    get: () => { note('get trap'); return 'wrong'; },
    getPrototypeOf: () => { note('getPrototypeOf trap'); return null; },
    getOwnPropertyDescriptor: () => { note('descriptor trap'); return undefined; },
  }),
  Object.create({ get route() { note('inherited getter'); return 'wrong'; } }),
];

function flood(end, done) {
  if (Date.now() < end) return process.nextTick(flood, end, done);
  isBlocked = false;
  return done();
}

(async () => {
  for (const store of stores) {
    await wait(20);
    // In a callback of a timer, and in a drain after it.
    await new Promise((resolve) => storage.run(store, () => setTimeout(() => { block(300); resolve(); }, 10)));
    await wait(300);
    await storage.run(store, async () => { await wait(10); block(300); });
    await wait(300);
  }
  await new Promise((resolve) => { setTimeout(() => { isBlocked = true; flood(Date.now() + 400, resolve); }, 10); });
  await wait(300);
  loopscope.nameBy(null);
  console.log(JSON.stringify(ran));
})();
