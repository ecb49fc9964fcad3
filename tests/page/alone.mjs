// One process with one loop: the page loads, shows a block as it grows, and opens its incident.

import { assert, equal, headline, shot, test } from "./fixture.mjs";

const SIZE_MAX = 300_000;
const FOUND_MS_MAX = 2000;

test("it loads, small, from one place, and without a word in the console", async (stage) => {
  const watched = await stage.watch(1);
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  const [faults, hosts, bodies] = [[], new Set(), []];
  page.on("console", (message) => faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.stack));
  page.on("response", (response) => {
    hosts.add(new URL(response.url()).host);
    if (!response.url().includes("/debug/")) bodies.push(response.body());
  });
  const response = await page.goto(watched.url);
  assert(response.headers()["content-security-policy"].startsWith("default-src 'none'; script-src 'self'"), "its policy");
  await headline(page, /^web answers$/);
  await page.waitForFunction(() => document.querySelectorAll("#site-rows tr").length > 0);
  const bytes = (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, 0);
  assert(bytes > 50_000 && bytes < SIZE_MAX, `${bytes} bytes`);
  equal([...hosts].join(), new URL(watched.url).host, "everything comes from the agent");
  const rows = await page.textContent("#site-rows");
  assert(rows.includes("tend") && rows.includes("tests/src/bin/watched.rs"), rows);
  assert((await page.textContent("#pool")).includes("of 4 threads busy"), "the pool is told");
  assert((await page.textContent("#drain-rows")).includes("microtask"), "drains are told");
  equal(faults.join("\n"), "", "the console");
  await context.close();
  return `${Math.round(bytes / 1000)} KB`;
});

test("it shows a block within 2 s, and how it grows", async (stage) => {
  const page = await stage.view(stage.watched[0]);
  await headline(page, /^web answers$/);
  const begin = performance.now();
  await stage.watched[0].tell("block web 6000");
  await headline(page, /^web is STALLED for /);
  const took = performance.now() - begin;
  const found = await page.evaluate(async () => {
    const text = (id) => document.getElementById(id).textContent;
    const icon = document.getElementById("icon").getAttribute("href");
    const found = { where: text("explanation"), title: document.title, spoken: text("announcer"), icon };
    // The ages that some frames show: it grows on the page, and not only with each view.
    const ages = new Set();
    for (let frame = 0; frame < 20; frame++) {
      await new Promise(requestAnimationFrame);
      ages.add(text("headline"));
    }
    return { ...found, ages: ages.size };
  });
  assert(took < FOUND_MS_MAX, `found after ${took} ms`);
  assert(/^in timer parse_invoices \(tests\/src\/bin\/watched\.rs:\d+\) › sum_amounts$/.test(found.where), found.where);
  assert(found.title.startsWith("web is STALLED for "), found.title);
  assert(found.ages >= 5, `${found.ages} ages in 20 frames`);
  equal(found.icon, "page/icon-trouble.svg", "the icon");
  equal(found.spoken, "web is stalled", "what is spoken");
  await page.waitForFunction(() => /STALLED for [2345]\.\d s/.test(document.getElementById("headline").textContent));
  equal(await page.getAttribute("#feed", "data-state"), "live", "while the loop is blocked");
  await shot(page, "blocked-dark");
  await headline(page, /^web was stalled for 6\.\d s$/);
  // It answers, and is not well: a tenth of the minute was lost.
  await headline(page, /^web answers now; it was blocked for \d+(\.\d)? % of the last minute$/);
  equal(await page.getAttribute("#statement", "data-mood"), "uneasy", "the mood");
  await shot(page, "uneasy-dark");
  // Who opens the page now sees what came before.
  const late = await stage.view(stage.watched[0]);
  const past = await late.evaluate(async () => {
    const response = await fetch("debug/loopscope/live", { headers: { "X-Loopscope": "1" } });
    const view = await response.json();
    const blocks = view.past.filter(({ loops }) => loops.some(({ lag }) => lag.max_ns > 1e9)).length;
    return { blocks, lacking_ns: view.unix_ns - view.interval_ns - view.past.at(-1).unix_ns };
  });
  assert(past.blocks > 0, "the block is among the samples of before");
  assert(past.lacking_ns <= 0, `${past.lacking_ns} ns between them and the view`);
  await headline(late, /^web (answers now; it was blocked|was stalled) for/);
  await shot(late, "opened-late-dark");
  await late.context().close();
  equal(page.faults.join("\n"), "", "the console");
  await page.context().close();
  return `found after ${Math.round(took)} ms`;
});

test("an incident opens with its stack, its flamegraph and its timeline", async (stage) => {
  const page = await stage.view(stage.watched[0]);
  await page.waitForSelector("#incident-rows li");
  // On a busy machine another callback may have stalled since.
  const button = page.locator("#incident-rows button", { hasText: "web timer parse_invoices (watched.rs:" }).first();
  await button.click();
  await page.waitForSelector("dialog[open] ol.stack [data-guilty]");
  const guilty = await page.textContent("dialog [data-guilty]");
  assert(/compute|parse_invoices/.test(guilty), guilty);
  assert((await page.textContent("#incident-title")).startsWith("web: blocked by timer parse_invoices ("), "its title");
  await page.locator("dialog .picture img").scrollIntoViewIfNeeded();
  await page.waitForFunction(() => document.querySelector("dialog .picture img").naturalWidth > 0);
  const drawn = await page.evaluate(() => {
    const canvas = document.querySelector("dialog canvas.timeline");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value > 0);
  });
  assert(drawn, "the timeline is empty");
  await shot(page, "incident-dark");
  for (const [name, type] of [["flamegraph", "image/svg+xml"], ["timeline (Perfetto)", "application/json"], ["JSON", "application/json"]]) {
    const link = await page.locator("dialog a", { hasText: name }).first().getAttribute("href");
    const answer = await page.request.get(`${stage.watched[0].url}/${link}`);
    assert(answer.ok() && answer.headers()["content-type"] === type, `${name}: ${answer.status()}`);
  }
  const id = new URL(page.url()).hash;
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "hidden" });
  await page.context().close();
  // Its address leads back to it.
  const again = await stage.view(stage.watched[0], { path: `/live${id}` });
  await again.waitForSelector("dialog[open]");
  equal(again.faults.join("\n"), "", "the console");
  await again.context().close();
});

test("an incident fits a narrow screen, and its picture has the colours of the theme", async (stage) => {
  for (const theme of ["dark", "light"]) {
    const page = await stage.view(stage.watched[0], { width: 500, height: 900, theme });
    await page.waitForSelector("#incident-rows li");
    await page.locator("#incident-rows button", { hasText: "web timer parse_invoices (watched.rs:" }).first().click();
    await page.waitForSelector("dialog[open] .picture img");
    await page.locator("dialog .picture img").scrollIntoViewIfNeeded();
    await page.waitForFunction(() => document.querySelector("dialog .picture img").naturalWidth > 0);
    const found = await page.evaluate(() => {
      const image = document.querySelector("dialog .picture img");
      const dialog = image.closest("dialog");
      const isWide = dialog.scrollWidth > dialog.clientWidth || document.scrollingElement.scrollWidth > innerWidth;
      // The picture keeps the width at which its text can be read, and is moved inside of its frame.
      const frame = image.closest(".picture");
      const { overflowX } = getComputedStyle(frame);
      return { isWide, right: frame.getBoundingClientRect().right, overflowX, filter: getComputedStyle(image).filter };
    });
    assert(!found.isWide && found.right <= 500 && found.overflowX === "auto", `${theme}: ${JSON.stringify(found)}`);
    assert(found.filter.includes("invert") === (theme === "dark"), `${theme}: ${found.filter}`);
    await shot(page, `incident-narrow-${theme}`);
    equal(page.faults.join("\n"), "", "the console");
    await page.context().close();
  }
});

test("a capture opens in a tab of its own", async (stage) => {
  const page = await stage.view(stage.watched[0]);
  await page.selectOption("[name=seconds]", "2");
  const click = () => {
    document.querySelector("#capture button").click();
    return document.getElementById("capture-said").textContent;
  };
  const [tab, said] = await Promise.all([page.context().waitForEvent("page"), page.evaluate(click)]);
  equal(said, "recording, 2 s left; opened in the other tab", "the page counts");
  await tab.waitForSelector("svg");
  const { searchParams, pathname } = new URL(tab.url());
  equal(`${pathname} ${searchParams}`, "/debug/loopscope/flamegraph of=callbacks&seconds=2&format=svg", "what it asks for");
  assert((await tab.content()).includes("tend"), "what ran is drawn");
  await useDrawing(tab);
  equal(page.faults.join("\n"), "", "the console");
  await page.context().close();
});

/** Zooms and searches: a drawing can do both by itself, though it is kept from everything of the agent's. */
async function useDrawing(tab) {
  const faults = [];
  tab.on("console", (message) => faults.push(message.text()));
  tab.on("pageerror", (error) => faults.push(error.stack));
  equal(await tab.evaluate(() => self.origin), "null", "its origin");
  const frame = tab.locator("#frames > g", { hasText: "tend" }).first();
  const leftOut = () => tab.locator("#frames > g.hide").count();
  await frame.click();
  await tab.waitForSelector("#unzoom:not(.hide)");
  await tab.locator("#unzoom").click();
  equal(await leftOut(), 0, "frames left out after the zoom");
  tab.once("dialog", (dialog) => dialog.accept("tend"));
  await tab.keyboard.press("Control+f");
  await tab.waitForFunction(() => document.getElementById("matched").textContent.startsWith("Matched: "));
  await tab.locator("#search").click();
  await tab.waitForSelector("#search:not(.show)");
  equal(faults.join("\n"), "", "the drawing's console");
}

test("both themes can be read, by the system's wish and by the switch", async (stage) => {
  const grounds = [];
  for (const theme of ["dark", "light"]) {
    const page = await stage.view(stage.watched[0], { theme });
    const found = await page.evaluate(contrasts);
    for (const [pair, ratio] of found.pairs) assert(ratio >= 4.5, `${theme}: ${pair} has a contrast of ${ratio.toFixed(1)}`);
    grounds.push(found.ground);
    await shot(page, `healthy-${theme}`);
    await page.click("#theme");
    equal(await page.getAttribute("html", "data-theme"), "dark", "the switch");
    await page.click("#theme");
    grounds.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    await page.reload();
    await page.waitForSelector('html[data-theme="light"]');
    equal(page.faults.join("\n"), "", "the console");
    await page.context().close();
  }
  const [dark, switched, light, same] = grounds;
  assert(dark !== light && switched === light && same === light, grounds.join(" "));
});

/** Runs in the page: contrasts of text on its ground, as WCAG 2 computes them. */
function contrasts() {
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  };
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\d.]+/g).map((part) => {
      const value = part / 255;
      return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [low, high] = [luminance(colour(one)), luminance(colour(other))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const pairs = [["text", "ground"], ["text", "panel"], ["text", "picked"], ["text", "trouble-ground"], ["dim", "ground"], ["dim", "panel"], ["dim", "picked"], ["dim", "trouble-ground"], ["trouble", "ground"], ["trouble", "panel"], ["trouble", "trouble-ground"], ["trouble", "picked"]];
  return { ground: colour("ground"), pairs: pairs.map(([one, other]) => [`${one} on ${other}`, ratio(one, other)]) };
}
