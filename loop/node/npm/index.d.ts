import type { AsyncLocalStorage } from 'node:async_hooks';

/** Options of `start`. Environment variables (docs/settings.md) override them. */
export interface Options {
  /** Name of the loop. Default: the main script's file name. */
  name?: string;
  /** Address the agent listens on: `127.0.0.1:9464`, `unix:/path` or `off`. Default: the first free port from 9464. */
  listen?: string;
  /** Stall threshold in milliseconds, at least 2; a critical stall is ten times as long. Default: 100. `LOOPSCOPE_THRESHOLDS` overrides both. */
  warningMs?: number;
  /** Directory to also write incidents to. */
  incidentsDir?: string;
}

/** Starts watching the loop of this thread; on the main thread, also starts the agent. Prints the reason to stderr if it cannot. */
export function start(options?: Options): void;
/** Stops watching; the program continues. */
export function stop(): void;
/** URL of the agent: '' until it listens, about 20 ms after the start, and if nothing is watched. */
export function url(): string;
/** Names the running callback or drain in metrics, flamegraphs and incidents. In a batch of timers or immediates, it names the one that calls it.
 */
export function label(name: string): void;
/** Calls `work` and returns its result; its time does not count as a stall. */
export function expectBlock<T>(reason: string, work: () => T): T;

/** A stall that has ended. */
export interface Stall {
  /** Incident id, for `loopscope incidents ID`. */
  id: string;
  /** Name of the stalled loop. */
  loop: string;
  kind: string;
  severity: string;
  cause: string;
  phase: string;
  /** The callback or queue that blocked the loop. */
  culprit: string;
  durationMs: number;
  /** Start time, milliseconds since 1970. */
  beganAt: number;
  /** The program's innermost function on the captured stack; null if no stack was captured. */
  function: string | null;
  /** Its source location: `/srv/app.js:61:9`. */
  place: string | null;
  /** Whether `place` is where the function begins, because the line that ran is not known. */
  isFunctionStart: boolean;
  summary: string;
}
/** Calls `listener` after each stall of any loop of this process. Returns a function that unsubscribes. */
export function onStall(listener: (stall: Stall) => void): () => void;

/** Durations since the start; null where nothing was counted. Within 9 % of the truth, and no lag above the longest iteration. */
export interface Durations {
  count: number;
  p50Ms: number | null;
  p99Ms: number | null;
  maxMs: number | null;
}
/** Statistics of a loop since its start. */
export interface Snapshot {
  loop: string;
  iterations: number;
  activeMs: number;
  idleMs: number;
  /** Share of time the loop was active: 0 to 1. */
  utilization: number;
  lag: Durations;
  iteration: Durations;
  stalls: { warning: number; critical: number; thresholdMs: number };
  /** Time since the loop last polled. */
  busyMs: number;
  /** Handles and requests that keep the loop alive. */
  handles: number;
  requests: number;
}
/** Statistics of this thread's loop since its start; null if it is not watched. */
export function snapshot(): Snapshot | null;

/**
 * Names what blocks the loop by the program's AsyncLocalStorage: its store is the name, or has it under `key` (default: 'label'), as an entry of a Map or as its own property that is no getter. The store is read only while the loop is blocked. Call it without arguments to turn this off.
 */
export function nameBy(storage?: AsyncLocalStorage<unknown>, key?: string): void;
/** A count, and the total time in nanoseconds. */
export interface Counted {
  count: number;
  ns: number;
}
/** Counts so far, without the running callback; null if nothing is watched. Times are in nanoseconds. */
export function counts(): {
  unnamed: number;
  resources: number;
  resources_left_out: number;
  /** Of the time and the events of polls, and the id of what runs, those that are read in memory and not asked for by a call. */
  read_in_place: number;
  iterations: number;
  active_ns: number;
  idle_ns: number;
  poll_events: number;
  kinds: Record<string, Counted>;
  /** Uncaught exceptions, by kind of entry. */
  errors: Record<string, number>;
  phases: Record<string, Counted>;
  drains: Record<'nexttick' | 'microtask', Counted & { jobs: number }>;
} | null;
/**
 * Removes all hooks from this loop's thread, or restores them: to measure the overhead in one process. Parts that are named in `leftOut` are not restored: what is counted is wrong then.
 */
export function pause(
  isPaused: boolean,
  leftOut?: ('handles' | 'entries' | 'checkpoints' | 'gc' | 'drains' | 'names' | 'turns' | 'telling')[],
): void;
