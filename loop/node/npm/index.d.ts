/** What `start` takes. The environment (docs/settings.md) wins over it. */
export interface Options {
  /** What the loop is called; the main script's file name otherwise. */
  name?: string;
  /** Where the agent answers: `127.0.0.1:9464`, `unix:/path`, `off`. The first free port from 9464 on otherwise. */
  listen?: string;
  /** From when on a loop that does not poll is a stall, in milliseconds: 100 otherwise, from 2 on. */
  warningMs?: number;
  /** Where incidents are written, too. */
  incidentsDir?: string;
}

/** Begins to watch the loop of this thread; the agent comes with the main thread's. Says on standard error why where it cannot. */
export function start(options?: Options): void;
/** Ends the watching; the program goes on. */
export function stop(): void;
/** Where the agent answers: '' until it does, some 20 ms after the start, and where nothing is watched. */
export function url(): string;
/**
 * Names the callback or drain that runs: in metrics, flamegraphs and incidents. Of timers or immediates that are run together, it
 * names the one that calls it.
 */
export function label(name: string): void;
/** Calls `work`, which may block the loop for this reason: its time is no stall. Returns what it returns. */
export function expectBlock<T>(reason: string, work: () => T): T;

/** A stall that is over. */
export interface Stall {
  /** As `loopscope incidents ID` takes it. */
  id: string;
  /** The loop that stood still. */
  loop: string;
  kind: string;
  severity: string;
  cause: string;
  phase: string;
  /** What ran. */
  culprit: string;
  durationMs: number;
  /** Milliseconds since 1970. */
  beganAt: number;
  /** The program's innermost function on the captured stack; null where none was captured. */
  function: string | null;
  /** Where that is: `/srv/app.js:61:9`. */
  place: string | null;
  summary: string;
}
/** Calls `listener` after each stall of any loop of this process. Returns a function that ends that. */
export function onStall(listener: (stall: Stall) => void): () => void;

/** Durations since the start; null where nothing was counted. Within 9 % of the truth, and no lag above the longest iteration. */
export interface Durations {
  count: number;
  p50Ms: number | null;
  p99Ms: number | null;
  maxMs: number | null;
}
/** What a loop did since its start. */
export interface Snapshot {
  loop: string;
  iterations: number;
  activeMs: number;
  idleMs: number;
  /** Of the time, how much the loop was not waiting: 0 to 1. */
  utilization: number;
  lag: Durations;
  iteration: Durations;
  stalls: { warning: number; critical: number; thresholdMs: number };
  /** For how long the loop has not polled, now. */
  busyMs: number;
  /** Handles and requests that keep the loop alive. */
  handles: number;
  requests: number;
}
/** What this thread's loop did since its start; null where nothing is watched. */
export function snapshot(): Snapshot | null;

/**
 * Has what blocks the loop named by the program's own AsyncLocalStorage: the store is the name, or has it under `key` ('label'
 * otherwise). It is looked at while the loop is blocked, and at no other time. Without an argument nothing is named so any more.
 */
export function nameBy(storage?: { getStore(): unknown }, key?: string): void;
/** A number of something, and their time in nanoseconds. */
export interface Counted {
  count: number;
  ns: number;
}
/** What was counted so far, without what runs now; null where nothing is watched. Times are in nanoseconds. */
export function counts(): {
  unnamed: number;
  resources: number;
  resources_left_out: number;
  iterations: number;
  active_ns: number;
  idle_ns: number;
  poll_events: number;
  kinds: Record<string, Counted>;
  phases: Record<string, Counted>;
  drains: Record<'nexttick' | 'microtask', Counted & { jobs: number }>;
} | null;
/** Takes everything off this loop's thread, or puts it back: to measure what it costs in one process. */
export function pause(isPaused: boolean): void;
