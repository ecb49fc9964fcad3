// A server of a framework under load of its own process: node frameworks.cjs express|fastify SECONDS [STALL-EVERY-MS [PAUSE-MS]]
// Prints what it answered: for each route the distinct answers, and that none failed. Each of its clients makes a pause between two
// requests, by default none: a run of some minutes beside others.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { createRequire } = require('module');
const { AsyncLocalStorage } = require('async_hooks');
const load = createRequire(path.join(__dirname, '../frameworks/package.json'));
const loopscope = require(process.env.LOOPSCOPE_INDEX);

const [, , framework, seconds, stallEveryMs, pauseMs] = process.argv;
const storage = new AsyncLocalStorage();
const items = Array.from({ length: 200 }, (_, id) => ({ id, name: `item ${id}`, tags: ['a', 'b'] }));
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
loopscope.nameBy(storage);

async function fromFile() {
  await wait(2);
  const text = await fs.promises.readFile(__filename, 'utf8');
  return { bytes: text.length, label: storage.getStore() };
}
function blockFor(ms) { const end = Date.now() + ms; while (Date.now() < end); return { blocked: ms }; }
function digest(text) {
  return new Promise((resolve, reject) => crypto.pbkdf2(text, 'salt', 200, 32, 'sha256', (error, key) => (error ? reject(error) : resolve({ key: key.toString('hex') }))));
}

function express() {
  const app = load('express')();
  app.disable('x-powered-by');
  app.use(load('express').json());
  app.use((request, response, next) => storage.run(request.path, next));
  app.get('/items', (request, response) => response.json(items));
  app.get('/file', (request, response, next) => fromFile().then((told) => response.json(told), next));
  app.get('/digest/:text', (request, response, next) => digest(request.params.text).then((told) => response.json(told), next));
  app.post('/echo', (request, response) => { loopscope.label('echo'); response.json(request.body); });
  app.get('/stall', (request, response) => response.json(blockFor(150)));
  app.get('/fails', () => { throw new Error('on purpose'); });
  app.use((error, request, response, next) => response.status(500).json({ error: error.message }));
  return new Promise((resolve) => { const server = app.listen(0, '127.0.0.1', () => resolve(server)); });
}

async function fastify() {
  const app = load('fastify')();
  app.addHook('onRequest', (request, reply, done) => storage.run(request.url, done));
  app.get('/items', async () => items);
  app.get('/file', fromFile);
  app.get('/digest/:text', (request) => digest(request.params.text));
  app.post('/echo', async (request) => { loopscope.label('echo'); return request.body; });
  app.get('/stall', async () => blockFor(150));
  app.get('/fails', async () => { throw new Error('on purpose'); });
  app.setErrorHandler((error, request, reply) => reply.status(500).send({ error: error.message }));
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app.server;
}

const routes = [['GET', '/items'], ['GET', '/file'], ['GET', '/digest/x'], ['POST', '/echo'], ['GET', '/fails'], ['GET', '/nothing']];
const answers = {};
let failed = 0;
let count = 0;

function ask(port, agent, [method, url]) {
  return new Promise((resolve) => {
    const body = method === 'POST' ? JSON.stringify({ order: [1, 2, 3] }) : undefined;
    const headers = body ? { 'content-type': 'application/json', 'content-length': body.length } : {};
    const request = http.request({ port, agent, method, path: url, headers }, (response) => {
      const hash = crypto.createHash('sha256');
      hash.update(`${response.statusCode} ${response.headers['content-type']} ${response.headers['content-length']} `);
      response.on('data', (part) => hash.update(part));
      response.on('end', () => {
        count++;
        (answers[`${method} ${url}`] ||= {})[hash.digest('hex').slice(0, 16)] = response.statusCode;
        resolve();
      });
    });
    request.on('error', () => { failed++; resolve(); });
    request.end(body);
  });
}

(async () => {
  const server = await (framework === 'express' ? express() : fastify());
  const { port } = server.address();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  const until = Date.now() + seconds * 1000;
  const memory = seconds > 30 && setInterval(() => {
    const { rss, heapUsed } = process.memoryUsage();
    console.error(`${Math.round((until - Date.now()) / 1000)} s left, ${count} answers, ${failed} failed, RSS ${(rss / 1e6).toFixed(1)} MB, heap ${(heapUsed / 1e6).toFixed(1)} MB, ${fs.readdirSync('/proc/self/fd').length} files open, ${JSON.stringify(loopscope.counts())?.slice(0, 80)}`);
  }, 15000);
  const stalls = stallEveryMs && setInterval(() => ask(port, agent, ['GET', '/stall']), Number(stallEveryMs));
  const client = async (first) => {
    for (let i = first; Date.now() < until; i++) {
      await ask(port, agent, routes[i % routes.length]);
      if (pauseMs) await wait(Number(pauseMs));
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, first) => client(first)));
  clearInterval(memory);
  clearInterval(stalls);
  agent.destroy();
  server.close();
  console.log(JSON.stringify({ answers: Object.fromEntries(Object.entries(answers).sort()), failed }));
  const { unnamed, kinds } = loopscope.counts() ?? { unnamed: 0, kinds: {} };
  const entries = Object.values(kinds).reduce((sum, { count }) => sum + count, 0);
  console.error(`${count} answers, ${unnamed} of ${entries} entries unnamed`);
})();
