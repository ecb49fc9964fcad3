// The large sentence on top: is anything wrong now, and where. What is announced to screen readers is less: that a
// stall began, that all is well again, that the process is gone.

import { byId, fill, make, mark, say } from "./element.js";
import { clock, count, duration, percent, short } from "./format.js";

// So long after it ended, a stall is what the page is about; a short one would be gone before it was read.
const FRESH_MS = 6000;

// A loop that was blocked for less of the last minute is well.
const LATE_RATIO = 0.02;

let announced = "";

/** All loops of a view, each with its process. */
export function loopsOf(view) {
  return view.processes.flatMap((process) => process.loops.map((loop) => ({ process, loop })));
}

/** Those, and behind each runtime its workers, each with its process and its runtime. */
export function entriesOf(view) {
  return loopsOf(view).flatMap((entry) => {
    const { process, loop } = entry;
    return [entry, ...loop.workers.map((worker) => ({ process, loop: worker, runtime: loop }))];
  });
}

/** The worker that a runtime's state is of: ` worker 3:`; empty for any other loop. */
export function ofWorker(loop) {
  return loop.workers.length > 0 && loop.worker !== null ? ` worker ${loop.worker}:` : "";
}

/** What an incident's loop is called: `web/3` for worker 3 of runtime `web`. */
export function called(incident) {
  return incident.group && incident.worker !== null ? `${incident.group}/${incident.worker}` : incident.loop;
}

/** What runtimes call their loops, where all of a view call them so. */
export function lanes(view) {
  const words = new Set(loopsOf(view).map(({ loop }) => loop.words.lanes));
  return words.size === 1 ? [...words][0] : "loops";
}

/** What a loop is called among all that the page shows. */
export function title(view, { process, loop }) {
  return view.processes.length > 1 ? `${loop.name} (${process.name} ${process.pid})` : loop.name;
}

/** Says what is so; `elapsed` milliseconds after the view came. `incident` is the newest there is, `past` what came before. */
export function state(view, elapsed, incident, past) {
  const all = loopsOf(view);
  const longest = (a, b) => b.loop.state.busy_ns - a.loop.state.busy_ns;
  const stalled = all.filter(({ loop }) => loop.state.kind === "stalled").sort(longest);
  // What was full when its process ended is full no more.
  const full = all.filter(({ process, loop }) => process.is_alive && loop.pool && loop.pool.saturated_ns > loop.stalls.warning_ns);
  const now = view.unix_ns / 1e6 + elapsed;
  if (stalled.length > 0) return ofStalls(view, stalled, elapsed);
  if (all.length > 0 && all.every(({ process }) => !process.is_alive)) return ofTheDead(view, all);
  if (full.length > 0) return ofFullPool(view, full, elapsed);
  const end = incident ? (incident.begin_unix_ns + incident.duration_ns) / 1e6 : 0;
  if (incident?.is_over && now - end < FRESH_MS) return ofFresh(view, incident, now - end);
  return ofLate(view, all, past) ?? ofCalm(view, all);
}

/** A loop answers now, and was blocked for much of the last minute: that is not well. */
function ofLate(view, all, past) {
  const alive = all.filter(({ process }) => process.is_alive);
  const worst = alive
    .map((entry) => ({ entry, ratio: past?.blockedRatio(entry.loop.id) ?? 0 }))
    .sort((a, b) => b.ratio - a.ratio)[0];
  if (!worst || worst.ratio < LATE_RATIO) return null;
  const { headline, explanation, spoken } = ofCalm(view, all);
  const who = alive.length === 1 ? "it" : title(view, worst.entry);
  return {
    mood: "uneasy",
    headline: `${headline} now; ${who} was blocked for ${percent(worst.ratio)} of the last minute`,
    explanation,
    spoken,
  };
}

function ofStalls(view, stalled, elapsed) {
  const [worst] = stalled;
  const { loop } = worst;
  const busy = loop.state.busy_ns + elapsed * 1e6;
  const name = title(view, worst);
  const who = stalled.length === 1 ? `${name} is` : `${stalled.length} of ${loopsOf(view).length} ${lanes(view)} are`;
  const where = `in${ofWorker(loop)} ${loop.state.verdict?.words ?? loop.state.running?.words ?? "?"}${inside(loop.state)}`;
  return {
    mood: "trouble",
    headline: `${who} STALLED for ${duration(busy)}`,
    explanation: stalled.length === 1 ? where : `longest: ${name} ${where}`,
    spoken: `${who} stalled`,
    subject: loop.id,
  };
}

/** The spans open inside, and the drain: ` › query id=7 › …`. */
export function inside(state) {
  const spans = state.spans.map((span) => ` › ${span.name}${span.fields ? ` ${span.fields}` : ""}`);
  const jobs = state.drain?.jobs ?? null;
  const drain = state.drain ? ` (draining${jobs === null ? "" : `, ${count(jobs, "job")} so far`})` : "";
  return drain + spans.join("");
}

function ofTheDead(view, all) {
  const busy = all.filter(({ loop }) => loop.state.busy_ns > 0);
  const [last] = busy;
  const was = last
    ? `${last.loop.name} was running ${last.loop.state.running?.words ?? "?"}, busy for at least ${duration(last.loop.state.busy_ns)}`
    : `all its ${lanes(view)} were idle`;
  const names = view.processes.map((process) => `${process.name} (pid ${process.pid})`).join(", ");
  const plural = view.processes.length === 1 ? "has" : "have";
  return { mood: "gone", headline: `${names} ${plural} ended`, explanation: was, spoken: "The process has exited" };
}

function ofFullPool(view, full, elapsed) {
  const [worst] = full.sort((a, b) => b.loop.pool.saturated_ns - a.loop.pool.saturated_ns);
  const { pool } = worst.loop;
  const grown = pool.oldest_wait_ns === null ? null : pool.oldest_wait_ns + elapsed * 1e6;
  const parts = [
    pool.threads === null ? "all its threads are busy" : `all ${count(pool.threads, "thread")} are busy`,
    pool.queued === null ? "jobs wait" : `${count(pool.queued, "job")} wait`,
  ];
  return {
    mood: "trouble",
    headline: `the pool of ${title(view, worst)} has been FULL for ${duration(pool.saturated_ns + elapsed * 1e6)}`,
    explanation: `${parts.join(" and ")}${grown === null ? "" : `; the oldest has waited ${duration(grown)}`}`,
    spoken: `the pool of ${worst.loop.name} is full`,
    subject: worst.loop.id,
  };
}

function ofFresh(view, incident, ago) {
  const name = view.processes.length > 1 ? `${called(incident)} (${incident.process} ${incident.pid})` : called(incident);
  const what = incident.kind === "pool" ? `the pool of ${name} was full` : `${name} was stalled`;
  return {
    mood: "trouble",
    headline: `${what} for ${duration(incident.duration_ns)}`,
    explanation: `${blame(incident)}, ${duration(Math.max(ago, 0) * 1e6)} ago; it has recovered`,
    spoken: `${what} for ${duration(incident.duration_ns)} and has recovered`,
    isOfLast: true,
  };
}

/** `by timer flush (src/x.rs:40)`. */
export function blame(incident) {
  const { kind, label } = incident.culprit;
  if (incident.kind === "pool") return `pool filled by ${label && label !== "?" ? label : "its jobs"}`;
  if (kind === "main" || kind === "") return `by ${incident.words.between}`;
  const place = label && label !== "?" ? label : "at an unknown place";
  return `${incident.kind === "starvation" ? "starved" : "blocked"} by ${kind} ${place}`;
}

function ofCalm(view, all) {
  const alive = all.filter(({ process }) => process.is_alive);
  const announcedBlock = alive.find(({ loop }) => loop.state.kind === "expected_block");
  const stopped = alive.find(({ loop }) => loop.state.kind === "stopped");
  if (stopped) {
    return {
      mood: "waiting",
      headline: `${title(view, stopped)} is stopped`,
      explanation: "by a signal (SIGSTOP) or a debugger; its code is not the cause, and its events wait",
      spoken: `${stopped.loop.name} is stopped`,
      subject: stopped.loop.id,
    };
  }
  const dead = view.processes.filter((process) => !process.is_alive);
  const parts = [];
  if (announcedBlock) {
    const { state } = announcedBlock.loop;
    parts.push(`${title(view, announcedBlock)} is in an announced block: ${state.expected} for ${duration(state.expected_ns)}`);
  }
  if (dead.length > 0) parts.push(`${count(dead.length, "process").replace("processs", "processes")} ended`);
  if (parts.length === 0 && alive.length > 0) {
    const most = (value) => alive.filter(({ loop }) => value(loop) !== null).sort((a, b) => value(b.loop) - value(a.loop))[0];
    const worst = most((loop) => loop.lag?.p99_ns ?? null);
    const busiest = most((loop) => loop.utilization_ratio);
    const where = (entry) => (alive.length > 1 ? ` in ${title(view, entry)}` : "");
    if (worst) parts.push(`highest lag p99 ${duration(worst.loop.lag.p99_ns)}${where(worst)}`);
    if (busiest) parts.push(`busiest ${(busiest.loop.utilization_ratio * 100).toFixed(0)} %${where(busiest)}`);
  }
  const who = alive.length === 1 ? `${title(view, alive[0])} answers` : `all ${alive.length} ${lanes(view)} answer`;
  return {
    mood: "calm",
    headline: alive.length === 0 ? "no loops" : who,
    explanation: parts.join(" · "),
    spoken: `All ${lanes(view)} answer`,
  };
}

/** What is so when no view can be had. */
export function without(reason, text, view, lastUnixNs) {
  if (reason === "locked") {
    return { mood: "waiting", headline: "Token required", explanation: text, spoken: "Token required" };
  }
  if (reason === "refused") return { mood: "gone", headline: "Access denied", explanation: text, spoken: "Access denied" };
  const process = view?.processes.length === 1 ? view.processes[0] : null;
  const who = process ? `${process.name} (pid ${process.pid})` : view ? "the server" : "the agent";
  const seen = lastUnixNs ? `last answer ${clock(lastUnixNs)}; ` : "";
  if (reason === "silent") {
    return {
      mood: "gone",
      headline: `${who} does not respond`,
      explanation: `${seen}it accepts connections but does not answer: it may be stopped, or the machine overloaded; retrying`,
      spoken: "The process does not respond",
    };
  }
  return {
    mood: "gone",
    headline: `${who} is gone`,
    explanation: process
      ? `${seen}connection refused; \`loopscope incidents ${process.pid}\` shows what it was doing; retrying`
      : `${seen}connection refused; retrying`,
    spoken: "The process is gone",
  };
}

/** Shows a state; `last` is the newest incident, `open` what opens it. */
export function show({ mood, headline, explanation, spoken, isOfLast }, last, open) {
  mark(byId("statement"), "data-mood", mood);
  const capital = headline.charAt(0).toUpperCase() + headline.slice(1);
  // A loop's name stays as it is written; only sentences of ours begin with a capital.
  say(byId("headline"), /^(all|the|no) /.test(headline) ? capital : headline);
  say(byId("explanation"), explanation);
  fill(byId("last"), last ? [last] : [], () => make("span"), (span, incident) => {
    // How long one has lasted that is not over, the headline counts.
    const lasted = incident.is_over ? ` ${duration(incident.duration_ns)}` : "";
    const began = `${incident.is_over ? "last incident: " : "incident since "}${clock(incident.begin_unix_ns)}`;
    const text = isOfLast ? "" : `${began}, ${called(incident)}${lasted} ${short(blame(incident))}`;
    const key = `${incident.id} ${text}`;
    if (span.dataset.key === key) return;
    span.dataset.key = key;
    const button = make("button", { type: "button", class: "quiet" }, isOfLast ? "open the incident" : "open");
    button.addEventListener("click", () => open(incident));
    span.replaceChildren(text, " ", button);
  });
  if (announced !== spoken && !(announced === "" && mood === "calm")) say(byId("announcer"), spoken);
  announced = spoken;
}
