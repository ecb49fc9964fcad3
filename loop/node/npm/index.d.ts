/** Begins to watch the loop of this thread; the agent comes with the main thread's. Says on standard error why where it cannot. */
export function start(): void;
/** Ends the watching; the program goes on. */
export function stop(): void;
/** Where the agent answers: '' until it does, some 20 ms after the start. */
export function url(): string;
/** Names what runs, from now to the end of this callback: in metrics, flamegraphs and incidents. */
export function label(name: string): void;
/** How much had no name; null where nothing is watched. */
export function counts(): { unnamed: number; resources: number; resources_left_out: number } | null;
/** Takes everything off this loop's thread, or puts it back: to measure what it costs in one process. */
export function pause(isPaused: boolean): void;
