// What happened: the list of incidents, and one of them in full, with its stack, its flamegraph and its timeline.

import { ask, guardLink, readJson, showPicture } from "./request.js";
import { byId, fill, make, mark, say, showSite } from "./element.js";
import { clock, count, duration, known, percent, poolWords, rate, short } from "./format.js";
import { blame, called } from "./headline.js";
import { stack } from "./stack.js";
import { drawTimeline } from "./timeline.js";

// Asked for as soon as a stall shows, and otherwise now and then.
const SOON_MS = 700;
const OPEN_MS = 2000;
const LATER_MS = 15_000;
const AT_ONCE = 4;
const SHOWN_MAX = 100;

export class Incidents {
  constructor() {
    this.all = [];
    this.lists = new Map();
    this.isAsking = false;
    this.isTold = false;
    this.dialog = byId("incident");
    this.dialog.addEventListener("close", () => {
      if (location.hash.startsWith("#incident=")) history.replaceState(null, "", "#");
    });
    addEventListener("hashchange", () => this.#followHash());
  }

  /** The newest one; `undefined` where there is none. */
  get newest() {
    return this.all[0];
  }

  /** Looks whether a view gives reason to ask for lists. */
  update(view) {
    this.isHost = view.processes.length > 1;
    const isNews = ({ is_alive, loops }) =>
      is_alive && loops.some(({ stalls, state, pool }) => stalls.warning_count_new > 0 || state.kind === "stalled" || pool?.saturated_ns > 0);
    view.processes.filter(({ base }) => base !== null).forEach((process) => {
      const known = this.lists.get(process.base) ?? { asked: -Infinity, incidents: [], hasNews: false };
      known.hasNews ||= isNews(process);
      known.isThere = true;
      this.lists.set(process.base, known);
    });
    for (const [base, known] of this.lists) {
      if (!known.isThere) this.lists.delete(base);
      known.isThere = false;
    }
    if (!this.isAsking) this.#ask();
  }

  /** Asks those that are due, some at a time: of hundreds of processes, most have no news. */
  async #ask() {
    const now = performance.now();
    const wait = ({ hasNews, incidents }) => (hasNews ? SOON_MS : incidents.some(({ is_over }) => !is_over) ? OPEN_MS : LATER_MS);
    const isDue = ([, known]) => now - known.asked >= wait(known);
    const due = [...this.lists].filter(isDue).sort(([, a], [, b]) => b.hasNews - a.hasNews || a.asked - b.asked).slice(0, AT_ONCE);
    if (due.length === 0) return;
    this.isAsking = true;
    await Promise.all(due.map(async ([base, known]) => {
      [known.hasNews, known.asked] = [false, now];
      const told = await list(base);
      known.incidents = told ?? known.incidents;
      this.isTold ||= told !== null;
    }));
    this.isAsking = false;
    const all = [...this.lists.values()].flatMap(({ incidents }) => incidents);
    // Processes of one host may share a list.
    this.all = [...new Map(all.map((incident) => [incident.id, incident])).values()].sort((a, b) => b.begin_unix_ns - a.begin_unix_ns);
    this.#show();
    this.#followHash();
  }

  #show() {
    const shown = this.all.slice(0, SHOWN_MAX);
    byId("incidents-none").hidden = shown.length > 0 || !this.isTold;
    say(byId("incidents-count"), this.all.length > SHOWN_MAX ? `newest ${SHOWN_MAX} of ${this.all.length}` : "");
    const build = () => {
      const cells = ["dim", "long"].map((name) => make("span", { class: name }));
      cells.push(make("span", { class: "what" }, make("span"), make("span", { class: "place" })));
      const button = make("button", { type: "button" }, ...cells);
      const item = make("li", {}, button);
      button.addEventListener("click", () => this.open(item.incident));
      return item;
    };
    fill(byId("incident-rows"), shown, build, (item, incident) => {
      item.incident = incident;
      const [when, long, what] = item.firstElementChild.children;
      say(when, clock(incident.begin_unix_ns));
      say(long, `${duration(incident.duration_ns)}${incident.is_over ? "" : " …"}`);
      // That a stall is a block is not worth the room of a line number.
      const words = `${called(incident)}${this.isHost ? ` ${incident.pid}` : ""} ${short(blame(incident)).replace(/^blocked by /, "")}`;
      // Where there is no room for all of it, the place stays whole.
      const [, head, place] = words.match(/^(.*?)( \([^()]*\))?$/s);
      say(what.firstElementChild, head);
      say(what.lastElementChild, place ?? "");
      mark(what, "title", `${called(incident)} ${blame(incident)}: ${incident.summary}`);
      mark(item, "data-open", !incident.is_over);
    });
  }

  #followHash() {
    const id = location.hash.match(/^#incident=([\w@-]+)$/)?.[1];
    const incident = id && this.all.find((known) => known.id === id);
    if (incident && !this.dialog.open) this.open(incident);
  }

  /** Opens one. */
  async open(incident) {
    history.replaceState(null, "", `#incident=${incident.id}`);
    const url = `${incident.base}/incidents/${encodeURIComponent(incident.id)}`;
    say(byId("incident-title"), headline(incident));
    const body = byId("incident-body");
    body.replaceChildren(...facts(incident), links(url));
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const response = await ask(url);
      if (!response.ok) throw new Error((await response.text()).trim());
      const full = await readJson(response);
      body.replaceChildren(...facts(full), links(url), ...stack(full), ...timeline(full), picture(url), ...groups(full), ...notes(full));
      const list = body.querySelector("ol.stack");
      const guilty = list?.querySelector("[data-guilty]");
      if (guilty) list.scrollTop = guilty.offsetTop - list.offsetTop - list.clientHeight / 3;
      body.querySelectorAll("canvas.timeline").forEach((canvas) => drawTimeline(canvas, full));
    } catch (error) {
      body.append(make("p", { class: "dim" }, `The rest cannot be loaded: ${error.message}`));
    }
  }
}

/** Returns a process's incidents; `null` where it does not answer: the page says that elsewhere. */
async function list(base) {
  try {
    const response = await ask(`${base}/incidents`, { signal: AbortSignal.timeout(5000) });
    return response.ok ? (await readJson(response)).map((incident) => ({ ...incident, base })) : null;
  } catch {
    return null;
  }
}

function headline(incident) {
  return `${called(incident)}: ${blame(incident)}, for ${duration(incident.duration_ns)}${incident.is_over ? "" : " and counting"}`;
}

const CLASSES = {
  computing: "computing: on CPU",
  waiting: "waiting: asleep in the kernel",
  starved_of_cpu: "starved of CPU: runnable, but not scheduled",
  stopped: "stopped: the process was frozen",
  suspended: "suspended: the machine was asleep",
  debugger: "stopped by a debugger",
  unknown: "unknown",
};

function facts(incident) {
  const { before, pool } = incident;
  const cpu = incident.watched_ns > 0 ? `${duration(incident.cpu_ns)} of ${duration(incident.watched_ns)} watched` : "unknown";
  const rows = [
    ["began", `${clock(incident.begin_unix_ns)}, ${incident.severity}`],
    ["class", (CLASSES[incident.class] ?? incident.class) + unaccounted(incident)],
    ["consists of", incident.summary],
    ["phase", incident.phase],
    ["CPU time", cpu],
    ["asleep in", incident.waiting_in],
    ["inside", incident.spans.map((span) => [span.name, span.fields].filter(Boolean).join(" ")).join(" › ")],
    ["10 s before", before.period_ns > 0 ? figures(before, incident.words) : ""],
    ["pool", pool ? poolWords(pool.threads, pool.running, pool.queued) : ""],
    ["id", `${incident.id} · ${incident.process}`],
  ];
  const told = rows.filter(([, text]) => text);
  return [make("dl", { class: "facts" }, ...told.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))))];
}

/** Says how much of an incident that nobody understood the kernel booked nowhere. */
function unaccounted({ class: name, watched_ns, cpu_ns, runqueue_ns }) {
  const open = watched_ns - cpu_ns - runqueue_ns;
  return name === "unknown" && open > 0 ? `: ${duration(open)} of ${duration(watched_ns)} not accounted for` : "";
}

/** What is known of a loop over a period. */
function figures({ utilization, lag_ns_p99, callbacks_per_second }, words) {
  const parts = [
    utilization === null ? "" : `${percent(utilization)} busy`,
    lag_ns_p99 === null ? "" : `lag p99 ${duration(lag_ns_p99)}`,
    callbacks_per_second === null ? "" : `${rate(callbacks_per_second)} ${words.callbacks}/s`,
  ];
  return parts.filter(Boolean).join(", ");
}

function links(url) {
  const said = make("span", { class: "dim" });
  const link = (format, text) => {
    const made = make("a", { href: `${url}?format=${format}`, target: "_blank", rel: "noopener" }, text);
    return guardLink(made, (error) => say(said, error.message));
  };
  return make("p", { class: "links" }, 
    link("svg", "flamegraph"), link("trace", "timeline (Perfetto)"), link("speedscope", "speedscope"), link("folded", "folded stacks"), link("json", "JSON"), said);
}

function timeline(incident) {
  if (incident.records.length === 0 && incident.iterations.length === 0) return [];
  const { words, records, iterations } = incident;
  const told = [ofWords(records.length, words.callback, words.callbacks), ofWords(iterations.length, words.iteration, words.iterations)];
  const label = `Timeline from one second before the start to the end: ${told.join(" in ")}`;
  const readout = make("span", { class: "dim" });
  return [make("h3", {}, "Timeline ", readout), make("canvas", { class: "timeline", role: "img", "aria-label": label })];
}

/** `1 callback`, `12 callbacks`, in the words of a runtime. */
function ofWords(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function picture(url) {
  const image = make("img", { alt: "Flamegraph of the incident" });
  const link = guardLink(make("a", { class: "picture", href: `${url}?format=svg`, target: "_blank", rel: "noopener" }, image), () => {});
  const box = make("div", {}, make("h3", {}, "Flamegraph; opens with search and zoom"), link);
  image.addEventListener("error", () => box.replaceChildren(make("p", { class: "dim" }, "No flamegraph.")));
  showPicture(image, `${url}?format=svg`);
  return box;
}

function groups(incident) {
  if (incident.groups.length === 0) return [];
  const number = (text) => make("td", { class: "number" }, text);
  const site = (group) => {
    const cell = make("td", { class: "site" });
    showSite(cell, group.kind, group.label);
    return cell;
  };
  const row = (group) =>
    make("tr", {}, site(group), number(known(group.count, (runs) => count(runs, "run"))), number(duration(group.total_ns)), number(known(group.longest_ns, duration)));
  const head = make("tr", {}, ...["site", "runs", "in all", "longest"].map((text, index) => make("th", { scope: "col", class: index ? "number" : null }, text)));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...incident.groups.map(row)));
  return [make("h3", {}, "What the busy period consisted of"), table, ...unobserved(incident)];
}

/** Says how many of what ran nobody saw: the figures of the table have a guess of them. */
function unobserved({ unobserved: number, kind, words }) {
  if (!number) return [];
  const noun = kind === "pool" ? [words.job, words.jobs] : [words.callback, words.callbacks];
  return [make("p", { class: "dim" }, `${ofWords(number, ...noun)} not observed: runs and times are estimates from the others.`)];
}

function notes(incident) {
  return incident.notes.map((text) => make("p", { class: "dim" }, text));
}
