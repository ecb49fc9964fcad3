// What every test of the live page stands on: a watched process, a browser, and a list of tests that run in turn.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

/** A failed wait is a failure of the page, or of a machine far too slow to tell. */
export const DEADLINE_MS = 60_000;

const tests = [];

/** Notes a test; it runs when its turn comes. */
export function test(name, run) {
  tests.push([name, run]);
}

/** Runs all of them, and ends the program with what came of it. */
export async function runAll(stage) {
  let failed = 0;
  for (const [name, run] of tests) {
    const begin = performance.now();
    try {
      const said = await run(stage);
      console.log(`test ${name} ... ok (${Math.round(performance.now() - begin)} ms${said ? `; ${said}` : ""})`);
    } catch (error) {
      failed += 1;
      console.log(`test ${name} ... FAILED\n${error.stack}`);
    }
  }
  await stage.close();
  console.log(`${tests.length - failed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}

/** A process with loops, which gets into trouble when told. */
export class Watched {
  static async start(program, loops, ...more) {
    const watched = new Watched();
    watched.child = spawn(program, [String(loops), ...more], { stdio: ["pipe", "pipe", "inherit"] });
    watched.lines = createInterface({ input: watched.child.stdout })[Symbol.asyncIterator]();
    watched.url = (await watched.lines.next()).value;
    return watched;
  }

  get pid() {
    return this.child.pid;
  }

  /** Tells it a command, and waits until it was understood. */
  async tell(command) {
    this.child.stdin.write(`${command}\n`);
    const { value } = await this.lines.next();
    if (value !== "ok") throw new Error(`${command}: ${value}`);
  }

  /** Returns the processor time of the agent's own thread so far, in milliseconds. */
  agentMs() {
    const tasks = `/proc/${this.pid}/task`;
    const isAgent = (tid) => readFileSync(`${tasks}/${tid}/comm`, "utf8").startsWith("loopscope-agent".slice(0, 15));
    const tid = readdirSync(tasks).find(isAgent);
    return Number(readFileSync(`${tasks}/${tid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  }

  signal(name) {
    process.kill(this.pid, name);
  }

  /** Kills it, as the machine would. */
  async kill() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await exit;
  }
}

/** The browser and the program. */
export class Stage {
  constructor(program) {
    this.program = program;
    this.watched = [];
  }

  async open() {
    const executablePath = execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
    // The sandbox wants rights that a container or root may not have; the only page shown is our own.
    this.browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    return this;
  }

  async watch(loops, ...more) {
    const watched = await Watched.start(this.program, loops, ...more);
    this.watched.push(watched);
    return watched;
  }

  /** Opens the live page of a process. `page.faults` gathers what a console would show as an error. */
  async view(watched, { width = 1280, height = 800, theme = "dark", path = "/" } = {}) {
    const context = await this.browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: "reduce" });
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.faults = [];
    page.bytes = 0;
    page.hosts = new Set();
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.faults.push(message.text()));
    page.on("pageerror", (error) => page.faults.push(error.stack));
    page.on("request", (request) => page.hosts.add(new URL(request.url()).host));
    await page.goto(watched.url + path);
    await page.waitForSelector('#feed[data-state="live"]');
    return page;
  }

  async close() {
    await this.browser.close();
    for (const watched of this.watched) await watched.kill();
  }
}

/** Waits until the headline matches; returns it. */
export async function headline(page, pattern) {
  const isSo = ([source]) => new RegExp(source).test(document.getElementById("headline").textContent);
  await page.waitForFunction(isSo, [pattern.source]);
  return page.textContent("#headline");
}

export function assert(isSo, message) {
  if (!isSo) throw new Error(message);
}

export function equal(found, wanted, what) {
  assert(found === wanted, `${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
}

/** Keeps a picture where somebody wants to look: in the folder that SHOTS names. */
export async function shot(page, name) {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${name}.png` });
}
