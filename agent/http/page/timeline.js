// An incident's timeline: busy periods, callbacks by phase, and the pool's jobs, from a second before it to its end.

import { duration, known } from "./format.js";
import { colour, phaseColour, translucent } from "./theme.js";

const LANE = 22;
const LEFT = 64;

const waited = ({ wait_ns }) => (wait_ns === null ? "" : `, after waiting ${duration(wait_ns)}`);

/** Draws it, and tells in the heading what is under the pointer. */
export function drawTimeline(canvas, incident) {
  const { words } = incident;
  const workers = [...new Set(incident.jobs.map((job) => job.worker))].sort((a, b) => a - b).slice(0, 8);
  const height = LANE * (2 + workers.length) + 24;
  canvas.style.height = `${height}px`;
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const phases = [...new Set(incident.records.map(({ phase }) => phase))];
  const starts = [...incident.records, ...incident.iterations, ...incident.jobs].map((item) => item.start_ns);
  // A reduction and not a spread: an incident may have thousands of records.
  const first = Math.max(starts.reduce((low, ns) => Math.min(low, ns), 0), -1e9);
  const last = Math.max(incident.duration_ns, 1);
  const x = (ns) => LEFT + ((ns - first) / (last - first)) * (width - LEFT - 8);
  const boxes = [];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const block = (lane, start, length, fill, text) => {
    const [left, right] = [Math.max(x(start), LEFT), x(start + length)];
    if (right < LEFT) return;
    const box = { left, top: lane * LANE + 3, width: Math.max(right - left, 1), height: LANE - 5, text };
    context.fillStyle = fill;
    context.fillRect(box.left, box.top, box.width, box.height);
    boxes.push(box);
  };
  context.fillStyle = translucent("trouble", 0.12);
  context.fillRect(x(0), 0, x(last) - x(0), height - 20);
  for (const { start_ns, busy_ns, number } of incident.iterations) {
    block(0, start_ns, busy_ns, translucent("dim", 0.6), `${words.iteration} ${number}: busy for ${duration(busy_ns)}`);
  }
  for (const record of incident.records) {
    const times = record.is_many ? `${known(record.many, (number) => number.toLocaleString("en"))} x ` : "";
    const text = `${times}${record.kind} ${record.site}: ${duration(record.run_ns)}${waited(record)}`;
    block(1, record.start_ns, record.run_ns, colour(phaseColour(record.phase, phases)), text);
  }
  for (const job of incident.jobs) {
    const lane = workers.indexOf(job.worker);
    if (lane >= 0) block(2 + lane, job.start_ns, job.run_ns, colour("cool"), `${words.job} ${job.kind} ${job.site}: ${duration(job.run_ns)}${waited(job)}${job.is_running ? ", and still running" : ""}`);
  }
  context.fillStyle = colour("dim");
  context.font = "11px system-ui";
  ["busy", words.callbacks, ...workers.map((worker) => `thread ${worker}`)].forEach((name, lane) => context.fillText(name, 6, lane * LANE + 15));
  const moments = [first, 0, last / 2, last];
  moments.forEach((ns, index) => {
    const text = ns === 0 ? "begin" : `${ns > 0 ? "+" : "−"}${duration(Math.abs(ns))}`;
    const at = x(ns) - (index === moments.length - 1 ? context.measureText(text).width : 0);
    // The one in the middle needs as much room as three.
    const fits = index === 0 ? x(0) - x(first) > 70 : index !== 2 || x(last) - x(0) > 190;
    if (fits) context.fillText(text, at, height - 7);
  });
  const readout = canvas.previousElementSibling?.querySelector("span");
  canvas.addEventListener("pointermove", (event) => {
    const inside = (box) => event.offsetX >= box.left - 1 && event.offsetX <= box.left + box.width + 1 && event.offsetY >= box.top && event.offsetY <= box.top + box.height;
    // Of several, the one drawn last lies on top.
    if (readout) readout.textContent = boxes.findLast(inside)?.text ?? "";
  });
}
