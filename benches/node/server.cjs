// An HTTP server that says hello, watched by one of the tools: node server.cjs TOOL. Prints its port; `/cpu` answers with the
// microseconds of CPU time that the process has used; `/pbkdf2`, `/json`, `/ticks` and `/pool` are faults.
'use strict';
const http = require('http');
const crypto = require('crypto');
const path = require('path');
const peers = process.env.PEERS || __dirname;
const peer = (name) => require(path.join(peers, 'node_modules', name));

const TOOLS = {
  'prom-client': () => {
    const client = peer('prom-client');
    client.collectDefaultMetrics();
    return () => client.register.metrics();
  },
  monitorEventLoopDelay: () => {
    const delay = require('perf_hooks').monitorEventLoopDelay({ resolution: 10 });
    delay.enable();
    return () => `max ${delay.max / 1e6} ms, p99 ${delay.percentile(99) / 1e6} ms, mean ${delay.mean / 1e6} ms`;
  },
  'blocked-at': () => {
    peer('blocked-at')((ms, stack) => process._rawDebug('blocked-at:', ms, stack), { threshold: 100 });
  },
  async_hooks: () => { require('async_hooks').createHook({ init() {} }).enable(); },
  'sentry block': () => sentry({ defaultIntegrations: false }),
  'sentry all': () => sentry({}),
};

// The integration of Sentry that watches the loop; events are printed in place of being sent.
function sentry(options) {
  const Sentry = peer('@sentry/node');
  const { eventLoopBlockIntegration } = peer('@sentry/node-native');
  Sentry.init({
    dsn: process.env.SENTRY_DSN || 'http://key@127.0.0.1:9/1',
    integrations: [eventLoopBlockIntegration({ threshold: 100, maxEventsPerHour: 100 })],
    ...options,
  });
}

function hash() { return crypto.pbkdf2Sync('p', 's', hash.rounds, 64, 'sha512'); }
function parseBig() { return JSON.parse(parseBig.text); }
function flood() { const end = Date.now() + 500; (function again() { if (Date.now() < end) process.nextTick(again); })(); }
function fillPool() { for (let at = 0; at < 24; at += 1) crypto.pbkdf2('p', 's', Math.ceil(hash.rounds / 2), 64, 'sha512', () => {}); }

// So many that each fault takes half a second.
function prepare() {
  const begun = performance.now();
  crypto.pbkdf2Sync('p', 's', 20000, 64, 'sha512');
  hash.rounds = Math.round((20000 * 500) / (performance.now() - begun));
  parseBig.text = `[${'{"a":[1,2,3,"xxxxxxxxxxxxxxxx"],"b":{"c":null}},'.repeat(300000)}1]`;
}

const faults = { '/pbkdf2': hash, '/json': parseBig, '/ticks': flood, '/pool': fillPool };
const show = (TOOLS[process.argv[2]] || (() => {}))();

const server = http.createServer(async (request, response) => {
  if (request.url === '/cpu') {
    const { user, system } = process.cpuUsage();
    return response.end(`cpu ${user + system}`);
  }
  if (request.url === '/show') return response.end(`${show ? await show() : ''}\n`);
  if (request.url === '/prepare') prepare();
  if (faults[request.url]) faults[request.url]();
  response.end('hello');
});
// Longer than others take their turns.
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', () => console.log('port', server.address().port));
process.on('SIGINT', () => process.exit());
