// Fifty loops: all of them listed, each to be chosen, by keys too, and the browser keeps its pace.

import { assert, equal, headline, shot, test } from "./fixture.mjs";

const LOOPS = 50;

test("fifty loops are listed, sorted, filtered, and chosen by keys", async (stage) => {
  const watched = await stage.watch(LOOPS);
  const page = await stage.view(watched);
  await headline(page, /^All 50 loops answer( now; .*)?$/);
  equal(await page.locator("#loop-rows tr").count(), LOOPS, "rows");
  const names = () => page.locator("#loop-rows tr:not([hidden]) button.name").allTextContents();
  equal((await names()).slice(0, 3).join(), "loop-2,loop-3,loop-4", "by name, numbers as numbers");
  await page.click("[data-sort=busy]");
  equal(await page.getAttribute("th:has([data-sort=busy])", "aria-sort"), "descending", "what is read out");
  const shares = (await page.locator("#loop-rows td:nth-child(4)").allTextContents()).map(parseFloat);
  // The figures go on while the rows stay where they were sorted, and these loops do next to nothing.
  const sum = (some) => some.reduce((all, one) => all + one, 0);
  assert(sum(shares.slice(0, 10)) > sum(shares.slice(-10)), shares.join());
  await page.click("[data-sort=name]");
  await page.fill("#filter", "loop-2");
  equal((await names()).join(), "loop-2,loop-20,loop-21,loop-22,loop-23,loop-24,loop-25,loop-26,loop-27,loop-28,loop-29", "filtered");
  await page.focus("#loop-rows tr:not([hidden]) button");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  equal(await page.textContent("#loop-rows [aria-pressed=true]"), "loop-21", "chosen");
  equal(await page.textContent("#detail-title"), "loop-21", "shown");
  assert(await page.evaluate(() => document.activeElement.getAttribute("aria-pressed") === "true"), "the focus goes along");
  await page.fill("#filter", "");
  await shot(page, "fifty-dark");
  equal(page.faults.join("\n"), "", "the console");
  await page.context().close();
});

test("a stalled loop of fifty is on top and named", async (stage) => {
  const [, watched] = stage.watched;
  const page = await stage.view(watched);
  await headline(page, /^All 50 loops answer( now; .*)?$/);
  await watched.tell("block loop-37 2500");
  await watched.tell("flood loop-9 2500");
  await headline(page, /^2 of 50 loops are STALLED for /);
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#loop-rows tr")].slice(0, 2);
    return rows.every((row) => row.dataset.kind === "stalled" && row.textContent.includes("STALLED"));
  });
  await shot(page, "fifty-blocked-dark");
  await headline(page, /^All 50 loops answer( now; .*)?$/);
  await page.waitForFunction(() => document.getElementById("incident-rows").textContent.includes("loop-9 starved by microtask"));
  // Which line it was is what one looks for: a name may be cut off, its place is not.
  await page.setViewportSize({ width: 1024, height: 900 });
  const cut = await page.evaluate(() => [...document.querySelectorAll("#incident-rows .what")].filter((row) => {
    const walker = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (walker.nextNode()) range.selectNodeContents(walker.currentNode);
    return /\)$/.test(row.textContent) && range.getBoundingClientRect().right > row.getBoundingClientRect().right + 1;
  }).map((row) => row.textContent));
  equal(cut.join("\n"), "", "rows without their place");
  await page.setViewportSize({ width: 1280, height: 900 });
  equal(page.faults.join("\n"), "", "the console");
  await page.context().close();
});

test("sixty frames a second with fifty loops, and a small part of a processor", async (stage) => {
  const [, watched] = stage.watched;
  const page = await stage.view(watched);
  await page.waitForFunction(() => document.querySelectorAll("#site-rows tr").length > 0);
  const session = await page.context().newCDPSession(page);
  // Processor time and not wall time: others may run on the machine.
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const spent = async () => (await session.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value;
  const [before, agentBefore, begin] = [await spent(), watched.agentMs(), performance.now()];
  const gaps = await page.evaluate(async () => {
    const gaps = [];
    let last = await new Promise(requestAnimationFrame);
    for (let frame = 0; frame < 300; frame++) {
      const now = await new Promise(requestAnimationFrame);
      gaps.push(now - last);
      last = now;
    }
    return gaps.sort((a, b) => a - b);
  });
  const took = performance.now() - begin;
  const [page_, agent] = [((await spent()) - before) / (took / 1e3), (watched.agentMs() - agentBefore) / took];
  const [median, p95] = [gaps[150], gaps[285]];
  const said = `frame median ${median.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms; the page uses ${(page_ * 100).toFixed(1)} %, the agent ${(agent * 100).toFixed(1)} % of a processor`;
  assert(median < 17.5, said);
  assert(page_ < 0.5, said);
  // A build without optimization costs some times as much as the 2 % of a released one.
  assert(agent < 0.1, said);
  await page.context().close();
  return said;
});

test("nothing is announced while all is well", async (stage) => {
  const page = await stage.view(stage.watched[1]);
  await headline(page, /^All 50 loops answer( now; .*)?$/);
  // On a machine with much to do, a loop may be stalled in earnest: only a time without trouble is to be silent.
  let heard = null;
  while (!heard?.isCalm) heard = await page.evaluate(listen);
  equal(heard.announcements, 0, "announcements");
  const unnamed = await page.evaluate(() => {
    const isUnnamed = (control) => !(control.getAttribute("aria-label") || control.textContent.trim() || control.labels?.length);
    return [...document.querySelectorAll("button, input, select, a")].filter(isUnnamed).map((control) => control.outerHTML);
  });
  equal(unnamed.join(), "", "controls without a name");
  for (const landmark of ["header", "main", "h1", "h2", "section[aria-labelledby]", "[role=status]"]) {
    assert((await page.locator(landmark).count()) > 0, landmark);
  }
  await page.context().close();
});

/** Runs in the page: how much is announced within some views, and whether all was well meanwhile. */
async function listen() {
  const stalls = () => [...document.querySelectorAll("#loop-rows td:last-child")].reduce((sum, cell) => sum + Number(cell.textContent), 0);
  const isCalm = () => ["calm", "uneasy"].includes(document.getElementById("statement").dataset.mood);
  let wasCalm = isCalm();
  // A view that is late on a busy machine is trouble, too, and told of.
  const moods = new MutationObserver(() => (wasCalm &&= isCalm()));
  moods.observe(document.getElementById("statement"), { attributes: true, attributeFilter: ["data-mood"] });
  let announcements = 0;
  const observer = new MutationObserver((all) => (announcements += all.length));
  for (const live of document.querySelectorAll("[aria-live], [role=status], [role=alert]")) {
    observer.observe(live, { childList: true, characterData: true, subtree: true });
  }
  const before = stalls();
  // The figures change with every view, or it would not be known that they came.
  for (let views = 0; views < 6; views++) {
    await new Promise((resolve) => {
      const figures = new MutationObserver(() => (figures.disconnect(), resolve()));
      figures.observe(document.getElementById("figures"), { childList: true, characterData: true, subtree: true });
    });
  }
  moods.disconnect();
  return { announcements, isCalm: wasCalm && isCalm() && stalls() === before };
}

test("on a small screen nothing is cut off", async (stage) => {
  for (const theme of ["dark", "light"]) {
    const page = await stage.view(stage.watched[1], { width: 390, height: 844, theme });
    await page.waitForFunction(() => document.querySelectorAll("#site-rows tr").length > 0);
    const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert(wide <= shown, `${wide} px of page in ${shown} px`);
    // Also of a loop that is never idle, and of one that has waited for long.
    const cutOff = await page.evaluate(() => {
      const [, , , busy, stalls] = document.querySelector("#loop-rows tr").children;
      busy.textContent = "100 %";
      stalls.textContent = "9,999";
      return [busy, stalls].filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent);
    });
    equal(cutOff.join(), "", "figures that are cut off");
    await shot(page, `small-${theme}`);
    await page.context().close();
  }
});
