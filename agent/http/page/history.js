// What the charts show: the last two minutes of every loop.

const SPAN_MS = 120_000;
/** What "of late" is, for how long a loop was blocked, and how much of it must be known. */
const BLOCKED_MS = 60_000;
const BLOCKED_KNOWN_MS = 5000;
/** How long single sites and queues are told. */
const DETAIL_MS = 60_000;
// Some more than two a second for two minutes.
const SAMPLES_MAX = 300;

export class History {
  constructor() {
    this.loops = new Map();
  }

  /** Takes the samples of a view, and forgets loops that are not in it. The first view of a server has what came before. */
  add(view) {
    const at = view.unix_ns / 1e6;
    for (const past of view.past ?? []) this.#remember(past, at - view.interval_ns / 1e6);
    const there = new Set();
    for (const process of view.processes) {
      for (const loop of process.loops.flatMap((loop) => [loop, ...loop.workers])) {
        there.add(loop.id);
        // A first sample is of the loop's whole life, and no moment of it.
        const isMoment = loop.interval_ns > 0 && loop.interval_ns < 3e9;
        if (isMoment) this.#push(loop, at);
      }
    }
    for (const id of this.loops.keys()) if (!there.has(id)) this.loops.delete(id);
  }

  /** Returns a loop's samples, oldest first. */
  of(id) {
    return this.loops.get(id) ?? [];
  }

  /** Sums up the sites of the last `span` milliseconds, heaviest first. */
  sitesOf(id, span) {
    const samples = this.of(id);
    const newest = samples.at(-1)?.at ?? 0;
    const from = newest - span;
    const total = samples.reduce((sum, sample) => sum + (sample.at > from && !sample.isCoarse ? sample.at - sample.since : 0), 0) || 1;
    const sites = new Map();
    for (const sample of samples) {
      const weight = sample.at > from ? (sample.at - sample.since) / total : 0;
      for (const site of sample.sites) {
        const key = `${site.kind} ${site.label}`;
        const sum = sites.get(key) ?? { ...site, share_ratio: 0, calls_per_second: 0, longest_ns: 0 };
        sum.share_ratio += site.share_ratio * weight;
        sum.calls_per_second += site.calls_per_second * weight;
        sum.longest_ns = Math.max(sum.longest_ns, site.longest_ns);
        sum.is_running = sample.at === newest && site.is_running;
        sites.set(key, sum);
      }
    }
    const heavier = (a, b) => b.share_ratio - a.share_ratio || b.longest_ns - a.longest_ns || (a.label < b.label ? -1 : 1);
    return [...sites.values()].sort(heavier);
  }

  /** Sums up the drains of the last `span` milliseconds, by queue. */
  drainsOf(id, span) {
    const samples = this.of(id);
    const from = (samples.at(-1)?.at ?? 0) - span;
    const recent = samples.filter((sample) => sample.at > from && !sample.isCoarse);
    const total = recent.reduce((sum, sample) => sum + sample.at - sample.since, 0) || 1;
    const queues = new Map();
    for (const sample of recent) {
      const weight = (sample.at - sample.since) / total;
      for (const drain of sample.drains) {
        // What the runtime cannot know stays unknown.
        const add = (sum, value) => (value === null ? null : (sum ?? 0) + value * weight);
        const sum = queues.get(drain.queue) ?? { queue: drain.queue, drains: 0, jobs: 0, p99: 0, depth: 0 };
        sum.drains = add(sum.drains, drain.drains_per_second);
        sum.jobs = add(sum.jobs, drain.jobs_per_second);
        sum.p99 = drain.p99_ns === null ? null : Math.max(sum.p99, drain.p99_ns);
        sum.depth = drain.depth_max;
        queues.set(drain.queue, sum);
      }
    }
    return [...queues.values()];
  }

  /** Returns what part of the last minute, or of as much of it as is known, a loop was blocked; 0 where nothing is known. */
  blockedRatio(id) {
    const samples = this.of(id);
    const newest = samples.at(-1);
    const first = samples.find((sample) => sample.at >= (newest?.at ?? 0) - BLOCKED_MS);
    const length = newest && first ? newest.at - first.at : 0;
    return length > BLOCKED_KNOWN_MS ? Math.min((newest.blocked - first.blocked) / 1e6 / length, 1) : 0;
  }

  /** Takes a sample of before the first view, which begins at `end`, where nothing better is there. The last sample is until
      now: what it shares with the view is the view's. */
  #remember(past, end) {
    const at = Math.min(past.unix_ns / 1e6, end);
    const shared_ns = past.unix_ns - at * 1e6;
    for (const one of past.loops) {
      const loop = { ...one, interval_ns: one.interval_ns - shared_ns };
      if (loop.interval_ns <= 0) continue;
      const first = this.of(loop.id)[0];
      if (first && !first.isCoarse) continue;
      const isNewer = (sample) => sample.at >= at;
      if (!this.of(loop.id).some(isNewer)) this.#push({ ...loop, sites: [], drains: [], stalls: loop, isCoarse: true }, at);
    }
  }

  #push(loop, at) {
    let samples = this.loops.get(loop.id);
    if (!samples) this.loops.set(loop.id, (samples = []));
    samples.push({
      at,
      since: at - loop.interval_ns / 1e6,
      row: loop.lag?.row ?? [],
      p50: loop.lag?.p50_ns ?? null,
      p99: loop.lag?.p99_ns ?? null,
      max: loop.lag?.max_ns ?? null,
      blocked: loop.stalls.blocked_ns,
      isCoarse: loop.isCoarse ?? false,
      sites: loop.sites,
      drains: loop.drains,
      phases: Object.fromEntries(loop.phases.map((phase) => [phase.phase, phase.share_ratio])),
    });
    const old = samples.findLast((sample) => sample.at < at - DETAIL_MS);
    if (old) old.sites = old.drains = [];
    while (samples.length > SAMPLES_MAX || samples[0].at < at - SPAN_MS - 2000) samples.shift();
  }
}

export { SPAN_MS };
