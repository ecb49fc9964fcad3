// Numbers for people: three digits, and the unit that fits.

const digits = (value) => (value < 9.95 ? value.toFixed(1) : value.toFixed(0));

/** `0`, `240 µs`, `1.4 ms`, `412 ms`, `1.2 s`, `2 m 05 s`. */
export function duration(ns) {
  if (ns <= 0) return "0";
  if (ns < 999_500) return ns < 1_000 ? `${ns} ns` : `${digits(ns / 1e3)} µs`;
  if (ns < 999_500_000) return `${digits(ns / 1e6)} ms`;
  if (ns < 99_500_000_000) return `${digits(ns / 1e9)} s`;
  const seconds = Math.round(ns / 1e9);
  if (seconds < 7200) return `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
  const minutes = Math.round(ns / 60e9);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} m`;
}

/** `0 %`, `0.4 %`, `62 %`. */
export function percent(ratio) {
  const value = ratio * 100;
  if (value > 0 && value < 0.05) return "<0.1 %";
  return value > 0 && value < 9.95 ? `${value.toFixed(1)} %` : `${value.toFixed(0)} %`;
}

/** `0`, `2.5`, `340`, `12.3 k`. */
export function rate(value) {
  if (value === 0) return "0";
  if (value < 9.95) return value.toFixed(1);
  if (value < 9_950) return value.toFixed(0);
  return value < 995_000 ? `${digits(value / 1e3)} k` : `${digits(value / 1e6)} M`;
}

/** `0 B`, `4.1 KiB`, `312 MiB`. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(Math.floor(Math.log2(Math.max(value, 1)) / 10), units.length - 1);
  const scaled = value / 1024 ** step;
  return `${step === 0 ? scaled.toFixed(0) : digits(scaled)} ${units[step]}`;
}

/** `03:12:07`, as the clock on the wall shows it here. */
export function clock(unixNs) {
  return new Date(unixNs / 1e6).toLocaleTimeString([], { hour12: false });
}

/** What is known, as `write` writes it; what nobody knows is `–`. */
export function known(value, write) {
  return value === null || value === undefined ? "–" : write(value);
}

/** A pool in words, as much of it as is known: `4 of 4 threads busy, 12 waiting`. */
export function poolWords(threads, busy, queued) {
  const [hasThreads, hasBusy] = [threads, busy].map((number) => number !== null && number !== undefined);
  const parts = [];
  if (hasThreads && hasBusy) parts.push(`${busy} of ${count(threads, "thread")} busy`);
  else if (hasBusy) parts.push(`${busy.toLocaleString("en")} running`);
  else if (hasThreads) parts.push(count(threads, "thread"));
  if (queued !== null && queued !== undefined) parts.push(`${queued.toLocaleString("en")} waiting`);
  return parts.join(", ");
}

/** Leaves the folders away: `flush (src/app/x.rs:40)` is `flush (x.rs:40)`. For rows, where the end would be cut off. */
export function short(words) {
  return words.replace(/[^\s(]*\//g, "");
}

/** `1 loop`, `5 loops`. */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
