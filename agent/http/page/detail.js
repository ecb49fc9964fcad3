// One loop in full: what it does, its figures, its charts, its worst sites, its queues and pool.

import { byId, fill, make, mark, say, showSite } from "./element.js";
import { Charts } from "./charts.js";
import { bytes, count, duration, known, percent, poolWords, rate } from "./format.js";
import { inside, ofWorker, title } from "./headline.js";

// Sites and queues are told over this time: of half a second, nobody could read them.
const RECENT_MS = 10_000;
const SITES_MAX = 10;
const LONG_JOB_NS = 1e8;

export class Detail {
  constructor() {
    this.charts = new Charts();
  }

  /** Shows a loop of a view. */
  update(view, entry, history) {
    this.entry = entry;
    const { loop } = entry;
    say(byId("detail-title"), title(view, entry));
    const workers = loop.workers.length > 0 ? count(loop.workers.length, "worker") : null;
    const thread = workers ?? (loop.words.about || `thread ${loop.thread || loop.tid}`);
    say(byId("detail-facts"), `${loop.runtime} · ${loop.backend} · ${thread} · stalls beyond ${duration(loop.stalls.warning_ns)}`);
    const samples = history.of(loop.id);
    this.samples = samples;
    this.grow(0);
    this.charts.show(samples, loop, view);
    mark(byId("lag-plot"), "aria-label", `Lag of the last two minutes: ${summary(samples)}`);
    this.#sites(history.sitesOf(loop.id, RECENT_MS), loop);
    this.#queues(history.drainsOf(loop.id, RECENT_MS), loop);
  }

  /** Shows what there is, with ages as of `elapsed` milliseconds after the view: those that the headline shows, too. */
  grow(elapsed) {
    if (!this.entry) return;
    this.#now(elapsed);
    this.#figures(this.entry.loop, this.samples, elapsed);
    showPool(this.entry, elapsed);
  }

  #now(elapsed) {
    const { state } = this.entry.loop;
    const worker = ofWorker(this.entry.loop);
    const more = elapsed * 1e6;
    const what = state.running ? `${state.running.words}${inside(state)}` : "";
    const parts = {
      idle: ["", "idle: waiting for events"],
      running: ["", `runs${worker} ${what}`],
      expected_block: ["", `in an announced block, ${state.expected}, for ${duration(state.expected_ns)}: ${what}`],
      stalled: [
        `STALLED for ${duration(state.busy_ns + more)}`,
        `${worker}${state.running?.phase ? ` in phase ${state.running.phase}` : ""}: ${state.verdict?.words ?? what}${inside(state)}`,
      ],
      stopped: ["", `stopped by a signal or debugger ${state.busy_ns > 0 ? `in ${what}, busy for ${duration(state.busy_ns)}` : "while it waits for events"}`],
      ended: ["", state.busy_ns > 0 ? `ended while running ${what}, busy for at least ${duration(state.busy_ns)}` : "ended; it was idle"],
    }[state.kind];
    fill(byId("now"), parts, () => make("span"), (span, text) => say(span, text));
    mark(byId("now").firstElementChild, "class", state.kind === "stalled" ? "stalled" : null);
  }

  #figures(loop, samples, elapsed) {
    const { lag, stalls, words } = loop;
    const worst = lag && samples.reduce((longest, sample) => Math.max(longest, sample.max), lag.max_ns);
    const limit = stalls.warning_ns;
    const figures = [
      ["lag p50", lag?.p50_ns, duration, lag?.p50_ns > limit],
      ["lag p90", lag?.p90_ns, duration, lag?.p90_ns > limit],
      ["lag p99", lag?.p99_ns, duration, lag?.p99_ns > limit],
      ["max, 2 min", worst, duration, worst > limit],
      ["busy", loop.utilization_ratio, percent, false],
      [`${words.iterations}/s`, loop.iterations_per_second, rate, false],
      [`${words.callbacks}/s`, loop.callbacks_per_second, rate, false],
      ["stalls, all", stalls.warning_count, (number) => number.toLocaleString("en"), false],
      ["stalled, all", stalls.blocked_ns + stalledLanes(loop) * elapsed * 1e6, duration, false],
      ...loop.numbers.flatMap(numberFigures),
    ];
    // What the runtime cannot know is not there.
    const told = figures.filter(([, value]) => value !== null && value !== undefined).map(([name, value, write, isOver]) => [name, write(value), isOver]);
    fill(byId("figures"), told, () => make("div", {}, make("dt"), make("dd")), (box, [name, value, isOver]) => {
      say(box.children[0], name);
      say(box.children[1], value);
      mark(box, "class", isOver ? "over" : null);
    });
  }

  #sites(sites, loop) {
    byId("sites").hidden = loop.callbacks_per_second === null;
    byId("sites-none").hidden = sites.length > 0;
    const cells = () => ["site", "number share", "number", "number longest"].map((name) => make("td", { class: name }));
    const build = () => make("tr", {}, ...cells());
    fill(byId("site-rows"), sites.slice(0, SITES_MAX), build, (row, site) => {
      const [name, share, runs, longest] = row.children;
      showSite(name, site.kind, site.label);
      say(share, percent(site.share_ratio));
      share.style.setProperty("--share", site.share_ratio.toFixed(3));
      say(runs, `${rate(site.calls_per_second)}/s`);
      say(longest, duration(site.longest_ns));
      mark(row, "data-running", site.is_running);
      mark(row, "data-trouble", site.longest_ns > loop.stalls.warning_ns);
    });
  }

  #queues(drains, loop) {
    const build = () => make("tr", {}, make("td"), ...[1, 2, 3, 4].map(() => make("td", { class: "number" })));
    fill(byId("drain-rows"), drains, build, (row, drain) => {
      const perSecond = (value) => known(value, (number) => `${rate(number)}/s`);
      const depth = known(drain.depth, (number) => number.toLocaleString("en"));
      const texts = [drain.queue, perSecond(drain.drains), perSecond(drain.jobs), known(drain.p99, duration), depth];
      texts.forEach((text, index) => say(row.children[index], text));
    });
    mark(byId("drain-rows").parentElement, "hidden", drains.length === 0 ? "" : null);
  }
}

/** Figures of a number that only the loop's runtime has. */
function numberFigures({ name, kind, unit, value, is_rate, p99_ns }) {
  const text = [name.replaceAll("_", " "), kind].filter(Boolean).join(" ");
  const write = { bytes, nanoseconds: duration }[unit] ?? rate;
  const own = [is_rate ? `${text}/s` : text, value, write, false];
  return p99_ns === null ? [own] : [own, [`${text} p99`, p99_ns, duration, false]];
}

/** How many of a loop's lanes are stalled: each of them adds to the time that they were stalled in all. */
function stalledLanes(loop) {
  const lanes = loop.workers.length > 0 ? loop.workers : [loop];
  return lanes.filter(({ state }) => state.kind === "stalled").length;
}

/** A loop's pool. What it waits for grows as long as its process lives. */
function showPool({ process, loop: { pool, pool_jobs: jobs, words } }, elapsed) {
  const more = process.is_alive ? elapsed * 1e6 : 0;
  const box = byId("pool");
  if (!pool) {
    fill(box, [0], () => make("span", { class: "dim" }), (span) => say(span, `This ${words.lane} has no thread pool.`));
    return;
  }
  mark(box, "data-saturated", pool.saturated_ns > 0);
  if (box.children.length !== 3) {
    const line = () => make("span");
    box.replaceChildren(make("span", {}, make("span"), make("span", { class: "threads", "aria-hidden": "true" }), make("span")), line(), line());
  }
  const [threads, wait, saturated] = box.children;
  say(threads.children[0], "pool");
  // More than some dozens are no picture any more.
  const shown = Array.from({ length: Math.min(pool.threads ?? 0, 32) }, (_, index) => index < (pool.busy ?? 0));
  fill(threads.children[1], shown, () => make("i"), (thread, isBusy) => mark(thread, "data-busy", isBusy));
  say(threads.children[2], poolWords(pool.threads, pool.busy, pool.queued));
  const parts = [
    pool.wait_p95_ns === null ? "" : `wait p95 ${duration(pool.wait_p95_ns)}`,
    pool.oldest_wait_ns === null ? "" : `oldest job ${duration(grown(pool.oldest_wait_ns, more))}`,
    pool.jobs_per_second === null ? "" : `${rate(pool.jobs_per_second)} ${words.jobs}/s`,
  ];
  say(wait, parts.filter(Boolean).join(" · "));
  mark(saturated, "class", "saturated");
  const full = pool.saturated_ns > 0 ? `saturated for ${duration(pool.saturated_ns + more)}` : "";
  // Who has held a thread for long is worth a name.
  const [oldest] = jobs.filter(({ running_ns }) => running_ns > LONG_JOB_NS);
  const held = oldest ? `${words.job} ${oldest.kind} ${oldest.label} running for ${duration(oldest.running_ns + more)}` : "";
  say(saturated, [full, held].filter(Boolean).join(" · "));
}

/** An age, `more` nanoseconds later; what does not wait gets no older. */
const grown = (ns, more) => (ns > 0 ? ns + more : ns);

/** A chart in a sentence, for those who cannot see it. */
function summary(samples) {
  if (samples.length === 0) return "nothing yet";
  const worst = samples.reduce((longest, sample) => (sample.max > longest.max ? sample : longest));
  const ago = Math.round((samples.at(-1).at - worst.at) / 10_000) * 10;
  return `longest wait ${duration(worst.max)}${ago > 0 ? `, about ${ago} seconds ago` : ""}`;
}
