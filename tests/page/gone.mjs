// A process that is stopped, goes on, and is killed: the page says so, each time.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, equal, headline, shot, test } from "./fixture.mjs";

test("a process that is stopped is silent, and its page comes back with it", async (stage) => {
  const [, watched] = stage.watched;
  const page = await stage.view(watched);
  await headline(page, /answer/);
  watched.signal("SIGSTOP");
  try {
    await headline(page, /^watched \(pid \d+\) does not respond$/);
    equal(await page.getAttribute("#feed", "data-state"), "gone", "the feed");
  } finally {
    watched.signal("SIGCONT");
  }
  await page.waitForSelector('#feed[data-state="live"]');
  await headline(page, /answer/);
  await page.context().close();
});

test("the page says when the process is gone", async (stage) => {
  const [watched] = stage.watched;
  const page = await stage.view(watched);
  await headline(page, /^web answers( now; .*)?$/);
  const begin = performance.now();
  await watched.kill();
  const said = await headline(page, /^watched \(pid \d+\) is gone$/);
  const took = performance.now() - begin;
  assert(took < 3000, `told after ${took} ms`);
  const what = await page.textContent("#explanation");
  assert(/^last answer .*\d; connection refused/.test(what) && what.includes(`loopscope incidents ${watched.pid}`), what);
  equal(await page.textContent("#announcer"), "The process is gone", "what is spoken");
  assert((await page.title()).startsWith(said), await page.title());
  assert((await page.locator("#loop-rows tr").count()) === 1, "what was known stays");
  await shot(page, "gone-dark");
  // A refused connection is a word in the browser's console that no page can keep out of it.
  const faults = page.faults.filter((fault) => !/ERR_(CONNECTION|EMPTY|SOCKET_NOT_CONNECTED)/.test(fault));
  equal(faults.join("\n"), "", "the console");
  await page.context().close();
  return `told after ${Math.round(took)} ms`;
});

test("where the agent has a token, the page asks for it", async (stage) => {
  const folder = mkdtempSync(join(tmpdir(), "loopscope-page-"));
  const file = join(folder, "token");
  writeFileSync(file, "sixteen-letters-and-some\n", { mode: 0o600 });
  const watched = await stage.watch(1, file);
  const context = await stage.browser.newContext({ acceptDownloads: true });
  const page = await context.newPage();
  await page.goto(watched.url);
  await headline(page, /^Token required$/);
  const unknown = async (line) => equal(await page.isVisible(line), false, `${line} before anything is known`);
  await Promise.all(["#incidents-none", "#sites-none"].map(unknown));
  const enter = async (token) => {
    await page.fill("[name=token]", token);
    await page.click("#token button");
  };
  await enter("something-else-of-length");
  await page.waitForFunction(() => document.getElementById("explanation").textContent.startsWith("invalid credentials"));
  await enter("sixteen-letters-and-some");
  await headline(page, /^web answers( now; .*)?$/);
  equal(await page.isVisible("#token"), false, "the form, when it is done");
  await watched.tell("block web 400");
  await page.click("#incident-rows button");
  await page.waitForFunction(() => document.querySelector("dialog .picture img")?.naturalWidth > 0);
  await page.keyboard.press("Escape");
  await page.selectOption("[name=seconds]", "2");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#capture button")]);
  assert(download.suggestedFilename().endsWith(".svg"), download.suggestedFilename());
  await page.reload();
  await headline(page, /web/);
  rmSync(folder, { recursive: true });
  await context.close();
});

test("a refusal is told in the words of the agent", async (stage) => {
  const watched = await stage.watch(1);
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  await page.route("**/debug/loopscope/live*", (route) => route.fulfill({ status: 403, body: "this is answered on loopback only\n" }));
  await page.goto(watched.url);
  await headline(page, /^Access denied$/);
  equal(await page.textContent("#explanation"), "this is answered on loopback only", "the agent's own words");
  await context.close();
});

test("processes of a host are told apart, and what an ended one did last", async (stage) => {
  const watched = stage.watched.at(-1);
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.stack));
  await page.route("**/debug/loopscope/live*", async (route) => {
    const response = await route.fetch();
    const view = await response.json();
    // What a view of a host has besides: a process of another name that was killed in the middle of something.
    const ended = structuredClone(view.processes[0]);
    Object.assign(ended, { pid: 4194301, name: "importer-of-invoices", is_alive: false, agent: null, base: null });
    for (const loop of ended.loops) {
      const running = { phase: "timers", kind: "timer", site: null, running_ns: 2e9, words: "timer flush (src/x.rs:40)" };
      Object.assign(loop, { id: `${loop.id}-ended`, interval_ns: 0, sites: [], phases: [] });
      Object.assign(loop.state, { kind: "ended", busy_ns: 2e9, running, spans: [], drain: null });
      Object.assign(loop.pool, { busy: 4, queued: 20, oldest_wait_ns: 2e9, saturated_ns: 2e9 });
    }
    view.processes.push(ended);
    await route.fulfill({ response, json: view });
  });
  await page.goto(watched.url);
  await headline(page, /^web \(watched \d+\) answers( now; .*)?$/);
  equal(await page.textContent("#process"), "2 processes", "whose page it is");
  equal(await page.textContent("#explanation"), "1 process ended", "what else there is to say");
  const row = page.locator("#loop-rows tr[data-kind=ended]");
  equal(await row.isVisible(), false, "what has ended is left out");
  equal(await page.textContent("#ended"), "1 loop ended", "and counted");
  await page.click("#ended");
  const cutOff = await page.$$eval("#loop-rows .pid", (pids) => pids.filter((pid) => pid.scrollWidth > pid.clientWidth).length);
  equal(cutOff, 0, "pids that are cut off");
  assert((await row.textContent()).includes("importer-of-invoices 4194301"), await row.textContent());
  await row.click();
  equal(await page.textContent("#now"), "ended while running timer flush (src/x.rs:40), busy for at least 2.0 s", "what it did last");
  equal(await page.isVisible("#capture"), false, "a capture of the dead");
  equal(faults.join("\n"), "", "the console");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await context.close();
});

test("between two views, what the headline counts and what its detail counts are of one moment", async (stage) => {
  const watched = stage.watched.at(-1);
  for (const trouble of ["stalled", "full"]) {
    const context = await stage.browser.newContext();
    const page = await context.newPage();
    let views = 0;
    await page.route("**/debug/loopscope/live*", async (route) => {
      // One view, and no other one for as long as this looks.
      if (views++ > 0) return;
      const response = await route.fetch();
      const view = await response.json();
      const [loop] = view.processes[0].loops;
      if (trouble === "stalled") Object.assign(loop.state, { kind: "stalled", busy_ns: 2e8 });
      if (trouble === "stalled") loop.stalls.blocked_ns = 2e8;
      if (trouble === "full") Object.assign(loop.pool, { busy: 4, queued: 20, oldest_wait_ns: 3e8, saturated_ns: 2e8 });
      await route.fulfill({ response, json: view });
    });
    await page.goto(watched.url);
    await headline(page, trouble === "stalled" ? /STALLED for/ : /FULL for/);
    const frames = await page.evaluate(async () => {
      const text = (id) => document.getElementById(id).textContent;
      const age = (from) => from.match(/(?:STALLED|STALLED for|FULL for|saturated for|stalled, all) ?(\d[\d.]* m?s)/)?.[1] ?? null;
      const frames = [];
      for (let frame = 0; frame < 20; frame++) {
        await new Promise(requestAnimationFrame);
        // Once all of the frame is drawn.
        await new Promise((resolve) => setTimeout(resolve));
        frames.push(["headline", "now", "loop-rows", "figures", "pool"].map((id) => age(text(id))));
      }
      return frames;
    });
    const shown = frames.map((ages) => ages.filter((one) => one !== null));
    const isOne = shown.every((ages) => ages.length >= (trouble === "stalled" ? 4 : 2) && new Set(ages).size === 1);
    assert(isOne, `${trouble}: ${JSON.stringify(frames)}`);
    assert(new Set(shown.map(([age]) => age)).size >= 5, `${trouble}: it grows: ${JSON.stringify(frames)}`);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await context.close();
  }
});
