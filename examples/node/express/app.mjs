// A shop on Express with three planted faults; README.md tells how each is found.
import { pbkdf2Sync } from 'node:crypto';
import { lookup } from 'node:dns';
import express from 'express';

const app = express();

// Fault 1: a password is hashed on the loop's thread.
function hashPassword(password) {
  return pbkdf2Sync(password, 'salt', 400_000, 64, 'sha512').toString('hex');
}
app.get('/login', (request, response) => response.json({ token: hashPassword(String(request.query.password)) }));

// Fault 2: a report is read and written as one piece of JSON.
const report = JSON.stringify(Array.from({ length: 300_000 }, (_, id) => ({ id, name: `item ${id}`, price: id / 100 })));
function totalOf(text) {
  return JSON.parse(text).reduce((sum, item) => sum + item.price, 0);
}
app.get('/report', (request, response) => response.json({ total: totalOf(report) }));

// Fault 3: every request asks for names, which is work for the four threads of libuv's pool: they wait for each other.
function resolveAll(hosts) {
  return Promise.all(hosts.map((host) => new Promise((resolve) => lookup(host, () => resolve(host)))));
}
app.get('/partners', async (request, response) => {
  const hosts = Array.from({ length: 60 }, (_, number) => `partner-${number}-${Date.now()}.invalid`);
  response.json(await resolveAll(hosts));
});

app.get('/', (request, response) => response.send('fine\n'));
const server = app.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
