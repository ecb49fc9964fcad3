/* global uPlot */
// Two charts of the chosen loop, on one time axis: lag as a heatmap with its percentiles, and time by phase.

import { byId, fill, make, say } from "./element.js";
import { duration, percent } from "./format.js";
import { SPAN_MS } from "./history.js";
import { colour, onChange, phaseColour, translucent } from "./theme.js";

// As many as a runtime can have.
const PHASES_MAX = 16;
// Seconds. Shorter waits than the lower end count as none.
const LAG_LOW = 2 ** -13;
const LAG_HIGH = 2 ** 4;

// A sample that began so long after the one before it is no neighbour of it.
const PAUSE_MS = 1000;

/** Draws each value as a line over the time that its sample tells of, and nothing between two values. */
function dashes(plot, series, from, to) {
  const stroke = new Path2D();
  const [times, values] = [plot.data[0], plot.data[series]];
  for (let at = Math.max(from, 1); at <= to; at++) {
    if (values[at] === null) continue;
    const y = plot.valToPos(values[at], "y", true);
    stroke.moveTo(plot.valToPos(times[at - 1], "x", true), y);
    stroke.lineTo(plot.valToPos(times[at], "x", true), y);
  }
  return { stroke, fill: null };
}

// A sample tells of the time before it.
const STEPS = uPlot.paths.stepped({ align: -1 });

const sync = { key: "time" };

/** The charts; `show` draws a loop's samples. */
export class Charts {
  constructor() {
    this.samples = [];
    this.points = [];
    this.names = [];
    this.bounds = [];
    this.warningNs = Infinity;
    this.now = Date.now();
    this.lag = new uPlot(this.#lagOptions(), [[], [], []], byId("lag-plot"));
    this.phases = new uPlot(this.#phaseOptions(), [[], ...Array.from({ length: PHASES_MAX }, () => [])], byId("phases-plot"));
    const observer = new ResizeObserver(() => this.#fit());
    [this.lag, this.phases].forEach((plot) => observer.observe(plot.root.parentElement));
    onChange(() => [this.lag, this.phases].forEach((plot) => plot.redraw(false, true)));
  }

  show(samples, loop, view) {
    this.samples = samples;
    this.names = loop.phase_names;
    byId("lag").hidden = loop.lag === null;
    byId("phases").hidden = this.names.length === 0;
    this.bounds = view.lag_bounds_ns;
    this.warningNs = loop.stalls.warning_ns;
    this.now = view.unix_ns / 1e6;
    this.points = withPauses(samples);
    const times = this.points.map((point) => point.at / 1e3);
    const line = (field) => this.points.map((point) => (point.row && point[field] !== null ? Math.max(point[field] / 1e9, LAG_LOW) : null));
    this.lag.setData([times, line("p50"), line("p99")]);
    // Stacked: the sum of all is drawn first, and each part of it over that.
    const levels = Array.from({ length: PHASES_MAX }, () => new Array(times.length).fill(null));
    this.points.forEach((point, at) => {
      let sum = 0;
      if (point.row) this.names.forEach((phase, index) => (levels[index][at] = Math.min((sum += point.phases[phase] ?? 0), 1)));
    });
    this.phases.setData([times, ...levels.reverse()]);
    this.#readLag();
    this.#readPhases();
  }

  #fit() {
    for (const plot of [this.lag, this.phases]) {
      const { clientWidth: width, clientHeight: height } = plot.root.parentElement;
      if (width > 0 && (plot.width !== width || plot.height !== height)) plot.setSize({ width, height });
    }
  }

  #lagOptions() {
    const line = (label, stroke, width) => ({ label, stroke, width, paths: dashes, points: { show: false } });
    return {
      ...this.#common(),
      scales: {
        x: { range: () => this.#window() },
        y: { distr: 3, log: 10, range: () => [LAG_LOW, LAG_HIGH] },
      },
      series: [
        {},
        line("p50", () => translucent("text", 0.6), 1),
        line("p99", () => colour("text"), 1.6),
      ],
      axes: [
        this.#timeAxis(),
        {
          ...this.#axis(),
          size: 56,
          splits: () => [0.001, 0.01, 0.1, 1, 10],
          values: (_, splits) => splits.map((value) => duration(value * 1e9).replace(/\.0+ /, " ")),
          filter: (_, splits) => splits,
        },
      ],
      hooks: {
        drawAxes: [(plot) => this.#drawHeat(plot)],
        draw: [(plot) => this.#drawThreshold(plot)],
        setCursor: [() => this.#readLag()],
      },
    };
  }

  #phaseOptions() {
    return {
      ...this.#common(),
      scales: { x: { range: () => this.#window() }, y: { range: () => [0, 1] } },
      series: [
        {},
        ...Array.from({ length: PHASES_MAX }, (_, place) => PHASES_MAX - 1 - place).map((index) => ({
          width: 0,
          fill: () => colour(phaseColour(this.names[index], this.names)),
          paths: STEPS,
          points: { show: false },
        })),
      ],
      axes: [
        this.#timeAxis(),
        { ...this.#axis(), size: 56, splits: () => [0, 0.5, 1], values: (_, splits) => splits.map((value) => `${value * 100} %`) },
      ],
      hooks: { setCursor: [() => this.#readPhases()] },
    };
  }

  #common() {
    return {
      width: 600,
      height: 100,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: { sync, y: false, points: { show: false }, drag: { x: false, y: false, setScale: false } },
    };
  }

  #axis() {
    const grid = { stroke: () => translucent("dim", 0.18), width: 1 };
    return { stroke: () => colour("dim"), font: "11px system-ui", grid, ticks: { show: false }, gap: 4 };
  }

  #timeAxis() {
    const ago = (seconds) => (seconds === 0 ? "now" : `−${seconds} s`);
    return {
      ...this.#axis(),
      // So far below that the lowest value of the other axis stays clear of it.
      size: 27,
      gap: 9,
      splits: () => [120, 90, 60, 30, 0].map((seconds) => this.now / 1e3 - seconds),
      values: () => [120, 90, 60, 30, 0].map(ago),
    };
  }

  #window() {
    return [(this.now - SPAN_MS) / 1e3, this.now / 1e3];
  }

  /** Draws each sample as a column: the darker, the more waited that long; those beyond the threshold in the accent. */
  #drawHeat(plot) {
    const { ctx: context, bbox } = plot;
    if (this.bounds.length === 0) return;
    const edges = [LAG_LOW, ...this.bounds.map((ns) => ns / 1e9), LAG_HIGH].map((value) => plot.valToPos(value, "y", true));
    // 16 shades of each colour.
    const shades = (name) => Array.from({ length: 16 }, (_, step) => translucent(name, 0.1 + (step / 15) * 0.85));
    const [cool, hot] = [shades("cool"), shades("trouble")];
    context.save();
    context.beginPath();
    context.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    context.clip();
    for (const sample of this.samples) {
      const x = Math.floor(plot.valToPos(sample.since / 1e3, "x", true));
      const width = Math.max(Math.ceil(plot.valToPos(sample.at / 1e3, "x", true)) - x, 1);
      if (x + width < bbox.left) continue;
      // A thousand arrive in a second; one of them is to be seen.
      const all = Math.log1p(Math.max(sample.at - sample.since, 1));
      sample.row.forEach((count, cell) => {
        if (count === 0) return;
        const shade = Math.min(Math.round((Math.log1p(count) / all) * 15), 15);
        const isLong = cell > 0 && (this.bounds[cell - 1] ?? Infinity) >= this.warningNs;
        context.fillStyle = (isLong ? hot : cool)[shade];
        const top = Math.round(edges[cell + 1]);
        context.fillRect(x, top, width, Math.max(Math.round(edges[cell]) - top, 1));
      });
    }
    context.restore();
  }

  #drawThreshold(plot) {
    const { ctx: context, bbox } = plot;
    const y = Math.round(plot.valToPos(this.warningNs / 1e9, "y", true)) + 0.5;
    if (!(y > bbox.top && y < bbox.top + bbox.height)) return;
    context.save();
    context.strokeStyle = translucent("trouble", 0.8);
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(bbox.left, y);
    context.lineTo(bbox.left + bbox.width, y);
    context.stroke();
    context.restore();
  }

  /** Returns the sample under the cursor, else the newest, and how long ago that was. */
  #sample(plot) {
    const point = plot.cursor.left >= 0 ? this.points[plot.cursor.idx] : undefined;
    const isUnder = point?.row !== undefined;
    const sample = isUnder ? point : this.samples.at(-1);
    return { sample, ago: sample && isUnder ? `${Math.round((this.now - sample.at) / 1e3)} s ago` : "now" };
  }

  #readLag() {
    if (!this.lag) return;
    const { sample, ago } = this.#sample(this.lag);
    const parts = sample && sample.p50 !== null ? [["", ago], ["p50", duration(sample.p50)], ["p99", duration(sample.p99)], ["longest", duration(sample.max)]] : [];
    read(byId("lag-readout"), parts);
  }

  #readPhases() {
    if (!this.phases) return;
    const { sample, ago } = this.#sample(this.phases);
    const used = sample ? this.names.filter((phase) => this.samples.some((other) => other.phases[phase] > 0)) : [];
    const parts = sample ? [["", ago], ...used.map((phase) => [phase, percent(sample.phases[phase] ?? 0), phaseColour(phase, this.names)])] : [];
    read(byId("phases-readout"), parts);
  }
}

/** Puts a point without values before the first sample, which is drawn from there on, and into each pause, so that no line is
    drawn across it. */
function withPauses(samples) {
  const points = [];
  for (const sample of samples) {
    const before = points.at(-1);
    if (!before) points.push({ at: sample.since });
    if (before && sample.since - before.at > PAUSE_MS) points.push({ at: before.at + 1 }, { at: sample.since });
    points.push(sample);
  }
  return points;
}

function read(element, parts) {
  const build = () => make("span", {}, make("i"), make("span"), " ", make("b"));
  fill(element, parts, build, (span, [name, value, swatch]) => {
    const [box, label, text] = span.children;
    box.hidden = !swatch;
    if (swatch) box.style.setProperty("--swatch", `var(--${swatch})`);
    say(label, name);
    say(text, value);
  });
}
