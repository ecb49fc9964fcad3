// Node's timers: start and fire, start and cancel, refresh, re-arm.
'use strict';
const driver = require('./driver.cjs');

function startAndFire(durationMs) {
  driver.rounds((count, done) => {
    let left = count;
    const fire = () => { if (--left === 0) done(); };
    for (let at = 0; at < count; at++) setTimeout(fire, durationMs());
  });
}

// Beside many that are pending, always the oldest of a thousand is stopped and a new one started.
function startAndCancel(durationMs) {
  const nothing = () => {};
  for (let at = 0; at < 100000; at++) setTimeout(nothing, durationMs());
  const ring = Array.from({ length: 1024 }, () => setTimeout(nothing, durationMs()));
  driver.rounds((count, done) => {
    for (let at = 0; at < count; at++) {
      clearTimeout(ring[at % 1024]);
      ring[at % 1024] = setTimeout(nothing, durationMs());
    }
    done();
  });
}

function refresh() {
  const timers = Array.from({ length: 10000 }, () => setTimeout(() => {}, 60000));
  driver.rounds((count, done) => {
    for (let at = 0; at < count; at++) timers[at % 10000].refresh();
    done();
  });
}

function rearm() {
  let left = 0;
  let finished = () => {};
  const fire = () => { if (--left === 0) finished(); };
  for (let at = 0; at < 100000; at++) setInterval(fire, driver.periodMs());
  driver.rounds((count, done) => {
    left = count;
    finished = done;
  });
}

function hold() {
  driver.rounds((count, done) => {
    for (let at = 0; at < count; at++) setTimeout(() => {}, driver.farMs());
    done();
  });
}

const rows = {
  'timers-random': () => startAndFire(driver.randomMs),
  'timers-few': () => startAndFire(driver.fewMs),
  'cancel-random': () => startAndCancel(driver.farMs),
  'cancel-few': () => startAndCancel(driver.someFewFarMs),
  refresh,
  rearm,
  'timer-memory': hold,
};
rows[process.argv[2]]();
