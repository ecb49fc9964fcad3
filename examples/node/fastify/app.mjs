// A mail queue on Fastify with two planted faults; README.md tells how each is found.
import fastify from 'fastify';

const app = fastify();

// Fault 1: a queue is emptied by ticks, each of which queues the next: nothing else runs until it is empty.
function sendNext(queue, done) {
  if (queue.length === 0) return done();
  queue.pop();
  for (const end = performance.now() + 0.02; performance.now() < end;);
  process.nextTick(sendNext, queue, done);
}
app.get('/flush', () => new Promise((resolve) => {
  const queue = Array.from({ length: 20_000 }, (_, number) => number);
  sendNext(queue, () => resolve({ sent: 20_000 }));
}));

// Fault 2: every request leaves a timer behind, which looks through all sessions: the loop has more to do with each.
const sessions = new Map();
function expireSessions() {
  for (const [id, session] of sessions) if (session.at < Date.now() - 3_600_000) sessions.delete(id);
}
app.get('/visit', async () => {
  sessions.set(sessions.size, { at: Date.now() });
  setInterval(expireSessions, 20);
  return { sessions: sessions.size };
});

app.get('/', async () => ({ fine: true }));
console.log(await app.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1' }));
