// Dark and light: as the system wants it, or as the person does. Colours for canvases are those of the style sheet.

import { byId, mark, say } from "./element.js";

const CHOICES = ["auto", "dark", "light"];
const KEY = "loopscope-theme";
const listeners = [];
let colours = new Map();

/** Starts the switch. */
export function start() {
  let choice = "auto";
  // Storage may be forbidden; then the choice lasts as long as the page.
  try {
    choice = localStorage.getItem(KEY) ?? "auto";
  } catch {}
  const apply = (next) => {
    choice = CHOICES.includes(next) ? next : "auto";
    mark(document.documentElement, "data-theme", choice === "auto" ? null : choice);
    say(byId("theme"), choice === "auto" ? "theme" : choice);
    mark(byId("theme"), "aria-label", `Theme: ${choice}`);
    colours = new Map();
    listeners.forEach((changed) => changed());
  };
  apply(choice);
  byId("theme").addEventListener("click", () => {
    apply(CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length]);
    try {
      localStorage.setItem(KEY, choice);
    } catch {}
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(choice));
}

/** Calls `changed` after every change. */
export function onChange(changed) {
  listeners.push(changed);
}

/** Returns a colour of the style sheet as `rgb(…)`: `colour("trouble")`. */
export function colour(name) {
  if (!colours.has(name)) {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    colours.set(name, getComputedStyle(probe).color);
    probe.remove();
  }
  return colours.get(name);
}

const PHASES = ["main", "timers", "pending", "idle", "prepare", "poll", "check", "close"];

/** Returns the name of a phase's colour: its own, or of a runtime's own phases the one of its place among `phases`. */
export function phaseColour(phase, phases) {
  const own = PHASES.includes(phase) ? phase : PHASES[Math.max(phases.indexOf(phase), 0) % PHASES.length];
  return `phase-${own}`;
}

/** Returns it with an opacity: 0 to 1. */
export function translucent(name, alpha) {
  return colour(name).replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
}
