// A small HTTP server with one planted fault: a shop whose search slows down everybody. No package, no build.
//
//   # the command and the addon: docs/node.md, "Install"
//   LOOPSCOPE_INDEX=$PWD/loop/node/npm/index.cjs loopscope run -- node examples/node/http/server.cjs
//
// README.md beside it tells how the fault is found.
'use strict';
const http = require('http');
const { randomUUID } = require('crypto');

const PORT = Number(process.env.PORT || 3000);
const products = Array.from({ length: 20000 }, (_, id) => ({ id, name: `product ${id}`, text: randomUUID().repeat(20) }));

// The fault: a copy of the whole catalogue for each search, made in the one thread that serves everybody.
function copyOf(catalogue) {
  return JSON.parse(JSON.stringify(catalogue));
}

function search(query) {
  const words = query.split(' ').filter(Boolean);
  const found = copyOf(products).filter(({ text }) => words.every((word) => text.includes(word)));
  return found.slice(0, 10);
}

const routes = {
  '/': () => ({ hello: 'try /search?q=00+11 or /product?id=7' }),
  '/product': (parameters) => products[Number(parameters.get('id'))] ?? { error: 'there is none' },
  '/search': (parameters) => search(parameters.get('q') ?? ''),
};

// Where the watcher is loaded, its label names what runs; without it nothing is missed.
let label = () => {};
try {
  ({ label } = require(process.env.LOOPSCOPE_INDEX || 'loopscope'));
} catch {
  // Not installed.
}

http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const route = routes[url.pathname];
  label(route ? url.pathname : 'not found');
  response.writeHead(route ? 200 : 404, { 'content-type': 'application/json' });
  response.end(JSON.stringify(route ? route(url.searchParams) : { error: 'no such page' }));
}).listen(PORT, '127.0.0.1', function () {
  console.log(`http://127.0.0.1:${this.address().port}`);
});
