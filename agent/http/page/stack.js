// The stack of an incident: the program's own frames, and runs of others as one line that names their packages and opens.
// By the rule of `loopscope incidents`: what the program called stays, and the innermost function. Unlike there, frames outside
// the callback are shown, too.

import { make } from "./element.js";
import { count, duration } from "./format.js";

// Fewer say more by their names.
const RUN_MIN = 2;
const PACKAGES_MAX = 6;
const STANDARD = ["std", "core", "alloc"];

/** Returns what shows the first stack of an incident, or says why there is none. */
export function stack(incident) {
  const [first] = incident.stacks;
  if (!first) {
    const failed = incident.captures_failed.map((text) => `No stack: ${text}`);
    const last = incident.stacks_in ? [`Stacks of the same culprit are in incident ${incident.pid}-${incident.stacks_in}.`] : [];
    return [...failed, ...last].map((text) => make("p", { class: "dim" }, text));
  }
  const item = (frame) => make("li", { "data-guilty": frame === first.frames[first.guilty] }, frame.function, make("span", { class: "dim" }, place(frame)));
  const line = (run) => {
    if (run.length === 1) return item(run[0]);
    const words = `${run.length} frames${ofPackages(run)}`;
    return make("li", {}, make("details", {}, make("summary", { class: "dim" }, words), make("ol", {}, ...run.map(item))));
  };
  const times = first.ages_ns.map((ns) => duration(ns)).join(", ");
  return [
    make("h3", {}, `Stack, innermost first; found ${count(first.count, "time")}, after ${times}${first.note ? `; ${first.note}` : ""}`),
    make("ol", { class: "stack", tabindex: "0" }, ...runs(first.frames, first.guilty).map(line)),
  ];
}

function place(frame) {
  const begins = frame.is_function_start ? "begins at " : "";
  if (frame.file) return `  ${begins}${[frame.file, frame.line ?? "?", ...(frame.column ? [frame.column] : [])].join(":")}`;
  return frame.module ? `  ${frame.module}` : "";
}

/** Splits frames into runs: those of one frame are shown as they are, longer ones are folded. */
export function runs(frames, guilty) {
  // Frames of the program have no owner.
  const isOwn = (frame, index) => !frame.owner || index === guilty;
  const firstOwn = frames.findIndex(isOwn);
  const isKept = (frame, index) => firstOwn < 0 || isOwn(frame, index) || index === 0 || index === firstOwn - 1;
  const split = [];
  let run = [];
  const end = () => {
    split.push(...(run.length < RUN_MIN ? run.map((frame) => [frame]) : [run]));
    run = [];
  };
  frames.forEach((frame, index) => {
    if (!isKept(frame, index)) return run.push(frame);
    end();
    split.push([frame]);
  });
  end();
  return split;
}

function ofPackages(run) {
  const named = new Map(run.map(packageOf).filter(Boolean).map((name) => [name.replaceAll("_", "-"), name]));
  // The language's own functions stand between all others.
  const others = [...named.values()].filter((name) => !STANDARD.includes(name));
  const names = others.length > 0 ? others : [...named.values()];
  if (names.length === 0) return "";
  return ` of ${names.slice(0, PACKAGES_MAX).join(", ")}${names.length > PACKAGES_MAX ? " and others" : ""}`;
}

/** Returns the package that a function is of, as far as its file or its path tells. */
export function packageOf({ file, function: name, module, runtime }) {
  const inFolder = file?.match(/^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1] ?? file?.match(/^(?:.*\/)?([^/]+?)-\d+\.\d+\.[^/]*\//)?.[1];
  return inFolder ?? (runtime ? null : crateOf(name)) ?? runtime ?? module ?? null;
}

/** Returns the crate that a path begins with: of `<T as Trait>::f` that of the type, or of the trait where the type is of none. */
function crateOf(name) {
  const outermost = (path) => path.replace(/^[&*([<]*(?:mut |const |dyn )*/, "").match(/^(\w+)::/)?.[1];
  const [type, trait] = splitImplementation(name);
  if (trait === undefined) return outermost(name);
  const own = outermost(type);
  return own && !STANDARD.includes(own) ? own : (outermost(trait) ?? own);
}

/** Splits `<T as Trait>::f` at the ` as ` that is not inside of angle brackets. */
function splitImplementation(name) {
  let depth = 0;
  for (let at = 1; name.startsWith("<") && depth >= 0 && at < name.length; at++) {
    if (name[at] === "<") depth += 1;
    // The arrow of a function's type is no bracket.
    if (name[at] === ">" && name[at - 1] !== "-") depth -= 1;
    if (depth === 0 && name.startsWith(" as ", at)) return [name.slice(1, at), name.slice(at + 4)];
  }
  return [name];
}
