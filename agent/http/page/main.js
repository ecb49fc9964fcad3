// The live page: takes views as they come, and shows them.

import { setToken } from "./request.js";
import * as capture from "./capture.js";
import { Detail } from "./detail.js";
import { byId, mark, say } from "./element.js";
import { follow } from "./feed.js";
import { History } from "./history.js";
import { Incidents } from "./incidents.js";
import { LoopList } from "./loops.js";
import * as statement from "./headline.js";
import * as theme from "./theme.js";

// Ages grow on the page for so long after a view; then it is too old to be told on.
const GROW_MS = 5000;

theme.start();
capture.start();
const past = new History();
const incidents = new Incidents();
const detail = new Detail();
const list = new LoopList(pick);

let view = null;
let came = 0;
let picked = null;
let isPicked = false;
let identity = "";
let isGrowing = false;

/** A person chose a loop. */
function pick(id) {
  picked = id;
  isPicked = true;
  if (view) show();
}

/** Chooses the loop that is in trouble, else the first, as long as no person has chosen. */
function choose() {
  const all = statement.entriesOf(view);
  const has = (id) => all.some(({ loop }) => loop.id === id);
  if (picked !== null && has(picked) && isPicked) return;
  isPicked = false;
  const { subject } = statement.state(view, 0, null);
  if (subject) picked = subject;
  else if (!has(picked)) picked = all[0]?.loop.id ?? null;
}

function seen(next) {
  const key = next.processes.length === 1 ? `${next.processes[0].pid}/${next.processes[0].pid_start}` : "host";
  if (identity !== "" && key !== identity) say(byId("announcer"), "Another process answers at this address");
  identity = key;
  view = next;
  came = performance.now();
  past.add(view);
  incidents.update(view);
  choose();
  show();
}

function show() {
  mark(document.body, "data-stale", false);
  byId("token").hidden = true;
  mark(byId("feed"), "data-state", "live");
  say(byId("feed"), "live");
  say(byId("process"), whose(view));
  const entry = statement.entriesOf(view).find(({ loop }) => loop.id === picked);
  list.update(view, past, picked);
  byId("detail").hidden = !entry;
  if (entry) {
    detail.update(view, entry, past);
    capture.update(entry.process, entry.loop);
  }
  const said = growTo(performance.now() - came);
  const isTrouble = said.mood !== "calm" && said.mood !== "uneasy";
  mark(byId("icon"), "href", isTrouble ? "page/icon-trouble.svg" : "page/icon.svg");
  document.title = `${isTrouble ? `${said.headline} · ` : ""}${whose(view)} · loopscope`;
  if (!isGrowing) requestAnimationFrame(grow);
}

function whose({ processes }) {
  if (processes.length === 1) return `${processes[0].name} · pid ${processes[0].pid}`;
  return processes.length === 0 ? "no process" : `${processes.length} processes`;
}

/** Shows all ages as of one moment, `elapsed` milliseconds after the view. */
function growTo(elapsed) {
  const said = statement.state(view, elapsed, incidents.newest, past);
  statement.show(said, incidents.newest, (incident) => incidents.open(incident));
  list.grow(elapsed);
  detail.grow(elapsed);
  return said;
}

/** Between two views, what is stalled or full grows with every frame; a page without trouble draws none. */
function grow() {
  const elapsed = performance.now() - came;
  const said = growTo(elapsed);
  isGrowing = said.mood === "trouble" && elapsed < GROW_MS && !document.body.hasAttribute("data-stale");
  if (isGrowing) requestAnimationFrame(grow);
}

function lost(reason, text) {
  mark(document.body, "data-stale", true);
  byId("token").hidden = reason !== "locked";
  mark(byId("feed"), "data-state", "gone");
  say(byId("feed"), reason === "refused" || reason === "locked" ? reason : "no answer");
  mark(byId("icon"), "href", "page/icon-trouble.svg");
  const said = statement.without(reason, text, view, view?.unix_ns);
  document.title = `${said.headline} · loopscope`;
  statement.show(said, incidents.newest, (incident) => incidents.open(incident));
}

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(event.target.elements.token.value);
});

follow(seen, lost);
