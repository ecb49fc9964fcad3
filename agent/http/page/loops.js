// The list of loops: sortable, filterable, one row each; a stalled loop is on top whatever the order.

import { byId, make, mark, say } from "./element.js";
import { count, duration, known, short } from "./format.js";
import { colour, translucent } from "./theme.js";
import { entriesOf, lanes, loopsOf, ofWorker } from "./headline.js";

// Rows do not jump about more often than this, and never under the pointer.
const REORDER_MS = 2000;
const SPARK_SAMPLES = 30;
const FILTER_FROM = 9;

const ORDERS = {
  name: (a, b) => a.process.pid - b.process.pid || a.loop.name.localeCompare(b.loop.name, "en", { numeric: true }),
  now: (a, b) => b.loop.state.busy_ns - a.loop.state.busy_ns,
  // What is not known comes last.
  lag: (a, b) => (b.loop.lag?.p99_ns ?? -1) - (a.loop.lag?.p99_ns ?? -1),
  busy: (a, b) => (b.loop.utilization_ratio ?? -1) - (a.loop.utilization_ratio ?? -1),
  stalls: (a, b) => b.loop.stalls.warning_count - a.loop.stalls.warning_count,
  trouble: (a, b) => b.blocked - a.blocked || b.process.is_alive - a.process.is_alive || ORDERS.busy(a, b),
};

export class LoopList {
  /** `pick(id)` is called when a person chooses a loop. */
  constructor(pick) {
    this.pick = pick;
    this.rows = new Map();
    this.unfolded = new Set();
    this.order = "name";
    this.isReversed = false;
    this.isOrderChosen = false;
    this.showsEnded = false;
    this.ordered = 0;
    this.body = byId("loop-rows");
    this.filter = byId("filter");
    this.filter.addEventListener("input", () => this.#reorder(true));
    this.ended = byId("ended");
    this.ended.addEventListener("click", () => {
      this.showsEnded = !this.showsEnded;
      mark(this.ended, "aria-pressed", String(this.showsEnded));
      this.#reorder(true);
    });
    this.body.addEventListener("keydown", (event) => this.#key(event));
    for (const button of document.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => this.#sortBy(button));
    }
  }

  /** Shows the loops of a view. */
  update(view, history, picked) {
    const all = loopsOf(view);
    this.filter.hidden = all.length < FILTER_FROM;
    const isHost = view.processes.length > 1;
    mark(this.body, "data-host", isHost);
    // Of a host, what is wrong is wanted first; of one process, a loop is where it was.
    if (!this.isOrderChosen) this.order = isHost ? "trouble" : "name";
    const ended = all.filter(({ process }) => !process.is_alive).length;
    this.hidesEnded = ended > 0 && ended < all.length;
    const counted = all.filter(({ process }) => !this.hidesEnded || process.is_alive);
    const number = counted.reduce((sum, { loop }) => sum + (loop.workers.length || 1), 0);
    say(byId("loops-title"), number === 1 ? `1 ${counted[0].loop.words.lane}` : `${number} ${lanes(view)}`);
    if (isHost && !this.isOrderChosen) document.querySelectorAll("#loops th").forEach((th) => mark(th, "aria-sort", null));
    this.ended.hidden = !this.hidesEnded;
    say(this.ended, `${count(ended, "loop")} ended`);
    const there = new Set();
    let hasChanged = false;
    const isShown = ({ runtime, loop }) => !runtime || this.unfolded.has(runtime.id) || loop.id === picked;
    for (const entry of entriesOf(view).filter(isShown)) {
      there.add(entry.loop.id);
      let row = this.rows.get(entry.loop.id);
      if (!row) {
        this.rows.set(entry.loop.id, (row = this.#row(entry.loop.id)));
        hasChanged = true;
      }
      const isStalled = entry.loop.state.kind === "stalled";
      hasChanged ||= isStalled !== row.isStalled;
      row.isStalled = isStalled;
      row.entry = { ...entry, blocked: Math.round(history.blockedRatio(entry.loop.id) * 50) };
      this.#show(row, view, history, picked);
    }
    for (const [id, row] of this.rows) {
      if (there.has(id)) continue;
      row.tr.remove();
      this.rows.delete(id);
    }
    this.#reorder(hasChanged);
  }

  /** Shows how the ages of stalled loops grow, `elapsed` milliseconds after the view. */
  grow(elapsed) {
    for (const { isStalled, entry, now } of this.rows.values()) {
      if (isStalled) say(now, `${lead(entry.loop)}STALLED ${duration(entry.loop.state.busy_ns + elapsed * 1e6)}`);
    }
  }

  #row(id) {
    const button = make("button", { type: "button", class: "name" });
    const fold = make("button", { type: "button", class: "fold" });
    fold.addEventListener("click", (event) => {
      event.stopPropagation();
      this.#fold(id);
    });
    const pid = make("span", { class: "pid" });
    const spark = make("canvas", { class: "spark", "aria-hidden": "true" });
    const [now, lag, busy, stalls] = ["now", "number", "number", "number"].map((name) => make("td", { class: name }));
    const lagText = make("span");
    lag.append(spark, lagText);
    const tr = make("tr", {}, make("td", {}, button, pid, fold), now, lag, busy, stalls);
    tr.addEventListener("click", () => this.pick(id));
    return { id, tr, button, fold, pid, now, spark, lagText, busy, stalls, isStalled: false };
  }

  #show(row, view, history, picked) {
    const { process, loop } = row.entry;
    const { state } = loop;
    mark(row.tr, "data-kind", process.is_alive ? state.kind : "ended");
    mark(row.tr, "data-picked", loop.id === picked);
    mark(row.button, "aria-pressed", String(loop.id === picked));
    mark(row.tr, "data-worker", Boolean(row.entry.runtime));
    say(row.button, row.entry.runtime ? `worker ${loop.worker}` : loop.name);
    // A name alone may not say what the row is of.
    mark(row.button, "title", loop.words.about || null);
    row.fold.hidden = loop.workers.length === 0;
    const isOpen = this.unfolded.has(loop.id);
    say(row.fold, row.fold.hidden ? "" : `${isOpen ? "▾" : "▸"} ${loop.workers.length}`);
    mark(row.fold, "aria-label", count(loop.workers.length, "worker"));
    mark(row.fold, "title", count(loop.workers.length, "worker"));
    mark(row.fold, "aria-expanded", String(isOpen));
    say(row.pid, view.processes.length > 1 ? `${process.name} ${process.pid}` : "");
    mark(row.pid, "title", view.processes.length > 1 ? `${process.name} ${process.pid}` : null);
    say(row.now, words(loop));
    mark(row.now, "title", state.running?.words);
    say(row.lagText, known(loop.lag, ({ p99_ns }) => duration(p99_ns)));
    say(row.busy, known(loop.utilization_ratio, (ratio) => `${(ratio * 100).toFixed(0)} %`));
    say(row.stalls, loop.stalls.warning_count.toLocaleString("en"));
    drawSpark(row.spark, history.of(loop.id), loop.stalls.warning_ns);
  }

  /** Shows the workers of a runtime, or no more. They come with the next view. */
  #fold(id) {
    if (!this.unfolded.delete(id)) this.unfolded.add(id);
    for (const row of this.rows.values()) {
      if (row.entry.runtime?.id === id && !this.unfolded.has(id)) row.tr.hidden = true;
    }
  }

  #sortBy(button) {
    const order = button.dataset.sort;
    this.isReversed = this.order === order && !this.isReversed;
    this.order = order;
    this.isOrderChosen = true;
    for (const th of document.querySelectorAll("#loops th")) {
      const isOwn = th.contains(button);
      const rises = (order === "name") !== this.isReversed;
      mark(th, "aria-sort", isOwn ? (rises ? "ascending" : "descending") : null);
    }
    this.#reorder(true);
  }

  #reorder(isWanted) {
    const isHeld = this.body.matches(":hover, :focus-within");
    if (!isWanted && (isHeld || performance.now() - this.ordered < REORDER_MS)) return;
    this.ordered = performance.now();
    const text = this.filter.hidden ? "" : this.filter.value.trim().toLowerCase();
    const sign = this.isReversed ? -1 : 1;
    const byOrder = (a, b) =>
      b.isStalled - a.isStalled || sign * ORDERS[this.order](a.entry, b.entry) || ORDERS.name(a.entry, b.entry);
    // Workers stand below their runtime, by number.
    const top = (row) => this.rows.get(row.entry.runtime?.id) ?? row;
    const compare = (a, b) => {
      if (top(a) !== top(b)) return byOrder(top(a), top(b));
      return (a === top(a) ? -1 : a.entry.loop.worker) - (b === top(b) ? -1 : b.entry.loop.worker);
    };
    const sorted = [...this.rows.values()].sort(compare);
    sorted.forEach((row, index) => {
      const { process, loop } = row.entry;
      const isLeftOut = this.hidesEnded && !this.showsEnded && !process.is_alive;
      row.tr.hidden = isLeftOut || (text !== "" && !`${loop.name} ${process.name} ${process.pid}`.toLowerCase().includes(text));
      // Moving a row takes the focus from it, so only those move that must.
      if (this.body.children[index] !== row.tr) this.body.insertBefore(row.tr, this.body.children[index] ?? null);
    });
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...this.body.querySelectorAll("tr:not([hidden]) button.name")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    next?.focus();
    next?.closest("tr").click();
  }
}

/** `worker 3: ` where a runtime tells the state of that one. */
const lead = (loop) => (ofWorker(loop) ? `${ofWorker(loop).trim()} ` : "");

/** What a loop does, in a few words. */
function words(loop) {
  const { state } = loop;
  switch (state.kind) {
    case "idle":
      return "idle";
    case "stalled":
      return `${lead(loop)}STALLED ${duration(state.busy_ns)}`;
    case "expected_block":
      return `announced ${duration(state.expected_ns)}`;
    case "stopped":
      return `${lead(loop)}stopped`;
    case "ended":
      return state.busy_ns > 0 ? `ended in ${short(state.running?.words ?? "?")}` : "ended";
    default:
      return state.running?.kind ? short(state.running.words) : "running";
  }
}

/** The longest lag of each of the last samples, on a logarithmic scale from 0.2 ms to 8 s. */
function drawSpark(canvas, samples, warningNs) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [30 * ratio, 14 * ratio];
  if (canvas.width !== width) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const step = width / SPARK_SAMPLES;
  samples.slice(-SPARK_SAMPLES).forEach((sample, index, shown) => {
    const level = Math.min(Math.max(Math.log2(sample.max / 2e5) / 15.3, 0), 1);
    const tall = Math.max(level * height, ratio);
    context.fillStyle = sample.max > warningNs ? colour("trouble") : translucent("dim", 0.55);
    const x = width - (shown.length - index) * step;
    context.fillRect(x, height - tall, Math.max(step - 0.3 * ratio, 1), tall);
  });
}
