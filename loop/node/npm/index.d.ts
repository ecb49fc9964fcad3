/** Begins to watch the loop of this thread; the agent comes with the main thread's. Says on standard error why where it cannot. */
export function start(): void;
/** Ends the watching; the program goes on. */
export function stop(): void;
/** Where the agent answers: '' until it does, some 20 ms after the start. */
export function url(): string;
/**
 * Names the callback or drain that runs: in metrics, flamegraphs and incidents. Of timers or immediates that are run together, it
 * names the one that calls it.
 */
export function label(name: string): void;
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
