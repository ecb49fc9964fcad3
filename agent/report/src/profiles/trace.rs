//! A timeline as Chrome trace events: a track per loop, with iterations, phases, callbacks, drains and jobs nested, a
//! track per pool thread, and arrows from where a job was submitted, over its run, to its callback.
//!
//! # Source
//! "Trace Event Format", the document of the Chromium project. `B` and `E` begin and end slices, `M` are names, `s` `t`
//! `f` arrows; times are microseconds. Slices of one track must nest, which is made sure of here: a reader that finds two
//! that overlap drops one, or never ends one. `X`, a slice with its length, would be shorter, but readers add the two
//! numbers as floating point, and what touched overlaps then.

use crate::profiles::error::FlameError;
use crate::profiles::timeline::{PoolJob, Timeline, TimelineEntry, Track, Turn};
use loopscope_probe::raw::printable::printable_json;
use serde::Serialize;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;

/// Threads of a loop's pool have the numbers behind its own; no pool has as many.
const TRACKS_PER_LOOP: u32 = 2_000;

/// One event.
#[derive(Serialize)]
struct Event<'a> {
    ph: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'a str,
    ts: f64,
    #[serde(skip)]
    at_ns: u64,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    /// Arrows end at the slice that encloses their end, not at the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

impl Timeline {
    /// Writes the timeline as Chrome trace events, which Perfetto, speedscope and `chrome://tracing` open.
    ///
    /// # Errors
    /// [`FlameError::Empty`] where nothing is in it.
    pub fn trace(&self) -> Result<Vec<u8>, FlameError> {
        match self.is_empty() {
            true => Err(FlameError::Empty),
            false => Ok(write(self)),
        }
    }
}

/// Writes the whole file.
fn write(timeline: &Timeline) -> Vec<u8> {
    let mut events = Events { pid: timeline.pid.max(1), events: Vec::new(), slices: Vec::new(), arrows: 0 };
    let process = if timeline.process.is_empty() { "loops" } else { &timeline.process };
    events.name("process_name", 0, json!({ "name": process }));
    let lost = timeline.lost();
    if lost > 0 {
        let words = timeline.tracks.iter().find(|track| track.lost > 0).map(|track| &track.words);
        let noun = words.map_or("", |words| &words.callbacks);
        let labels = format!("{lost} {noun} are missing: they were overwritten before they could be read");
        events.name("process_labels", 0, json!({ "labels": labels }));
    }
    for (index, track) in timeline.tracks.iter().enumerate() {
        let tid = index as u32 * TRACKS_PER_LOOP + 1;
        events.track(track, tid);
    }
    events.nest();
    // Names first, then by time. At the same moment, what ends is before what begins, and arrows find their slice begun.
    events.events.sort_by_key(|event| {
        let rank = ["M", "E", "B"].iter().position(|ph| *ph == event.ph).unwrap_or(3);
        (event.ph != "M", event.at_ns, rank)
    });
    let other = json!({
        "producer": concat!("loopscope ", env!("CARGO_PKG_VERSION")), "begin_unix_ns": timeline.begin_unix_ns.to_string(),
        "callbacks_lost": lost,
    });
    let file = File { trace_events: &events.events, display_time_unit: "ns", other_data: other };
    printable_json(serde_json::to_vec(&file).expect("all keys are strings and no number is infinite"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    trace_events: &'a [Event<'a>],
    display_time_unit: &'static str,
    other_data: Value,
}

struct Events<'a> {
    pid: u32,
    events: Vec<Event<'a>>,
    /// Not among the events yet.
    slices: Vec<Slice<'a>>,
    arrows: usize,
}

struct Slice<'a> {
    tid: u32,
    start_ns: u64,
    end_ns: u64,
    cat: &'a str,
    name: &'a str,
    args: Value,
}

impl<'a> Events<'a> {
    fn name(&mut self, name: &'static str, tid: u32, args: Value) {
        self.push("M", tid, 0, ("", name), args);
    }

    fn push(&mut self, ph: &'static str, tid: u32, at_ns: u64, (cat, name): (&'a str, &'a str), args: Value) {
        let (ts, pid) = (us(at_ns), self.pid);
        self.events.push(Event { ph, name, cat, ts, at_ns, pid, tid, id: None, bp: None, args });
    }

    fn slice(&mut self, tid: u32, cat: &'a str, name: &'a str, (start_ns, end_ns): (u64, u64), args: Value) {
        // Nobody sees a slice without length, and readers that sort by time cannot tell its end from its begin.
        if start_ns < end_ns {
            self.slices.push(Slice { tid, start_ns, end_ns, cat, name, args });
        }
    }

    /// Makes begins and ends of the slices, in an order in which each ends before the one that encloses it.
    fn nest(&mut self) {
        let mut slices = std::mem::take(&mut self.slices);
        // Of equal ones, the first that was made encloses the others.
        slices.sort_by_key(|slice| (slice.tid, slice.start_ns, Reverse(slice.end_ns)));
        let mut open: Vec<(u32, u64, &str)> = Vec::new();
        for Slice { tid, start_ns, end_ns, cat, name, args } in slices {
            while let Some(&(open_tid, until_ns, open_name)) = open.last() {
                if open_tid == tid && until_ns > start_ns {
                    break;
                }
                self.push("E", open_tid, until_ns, ("", open_name), Value::Null);
                open.pop();
            }
            // Damaged pages only: a slice ends with the one that it is in.
            let within_ns = open.last().map_or(end_ns, |(_, until_ns, _)| end_ns.min(*until_ns));
            self.push("B", tid, start_ns, (cat, name), args);
            open.push((tid, within_ns, name));
        }
        for (tid, until_ns, name) in open.into_iter().rev() {
            self.push("E", tid, until_ns, ("", name), Value::Null);
        }
    }

    fn track(&mut self, track: &'a Track, tid: u32) {
        self.name("thread_name", tid, json!({ "name": format!("{} {}", track.words.lane, track.name) }));
        self.name("thread_sort_index", tid, json!({ "sort_index": tid }));
        let entries = without_overlaps(&track.entries);
        let turns = whole_turns(&track.turns, &entries);
        for turn in &turns {
            let mut args = turn.events.map_or(json!({}), |events| json!({ "events": events }));
            if turn.number != u64::MAX {
                args["number"] = json!(turn.number);
            }
            self.slice(tid, "iteration", &track.words.iteration, (turn.start_ns, turn.end_ns), args);
        }
        for phase in entries.chunk_by(|a, b| a.phase == b.phase && turn_of(&turns, a) == turn_of(&turns, b)) {
            if !phase[0].phase.is_empty() {
                self.slice(tid, "phase", &phase[0].phase, span(phase), Value::Null);
            }
            for drain in phase.chunk_by(|a, b| a.parent.is_some() && a.parent == b.parent && a.kind == b.kind)
            {
                self.drain_or_callback(tid, drain);
            }
        }
        self.pool(track, tid, &entries);
    }

    fn drain_or_callback(&mut self, tid: u32, entries: &[&'a TimelineEntry]) {
        if let Some(parent) = &entries[0].parent {
            let name = entries[0].drain.as_deref().unwrap_or("drain");
            let jobs = entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.many.unwrap_or(1)));
            let args = json!({ "after": &**parent, "jobs": jobs });
            self.slice(tid, "drain", name, span(entries), args);
        }
        for entry in entries {
            let cat = if entry.parent.is_some() { "job" } else { "callback" };
            let mut args = json!({ "kind": &*entry.kind });
            if let Some(wait_ns) = entry.wait_ns {
                args["wait_us"] = json!(us(wait_ns));
            }
            if let Some(number) = entry.many {
                args["runs"] = json!(number);
            }
            if entry.is_running {
                args["still running"] = json!(true);
            }
            self.slice(tid, cat, &entry.site, (entry.start_ns, entry.end_ns), args);
        }
    }

    /// Draws the pool's threads, and the arrows between them and the loop.
    fn pool(&mut self, track: &'a Track, tid: u32, entries: &[&'a TimelineEntry]) {
        let mut workers: HashMap<u32, u64> = HashMap::new();
        // A completion is ready at the moment at which its job ended; both are the same stamp.
        let done = entries.iter().filter(|entry| entry.is_pool_result);
        let completions: HashMap<u64, &TimelineEntry> =
            done.filter_map(|entry| Some((entry.ready_ns?, *entry))).collect();
        for job in &track.jobs {
            let worker_tid = tid + 1 + job.worker.min(TRACKS_PER_LOOP - 2);
            let worker_free_ns = match workers.entry(job.worker) {
                Vacant(place) => {
                    let name = format!("{} {} pool thread {}", track.words.lane, track.name, job.worker);
                    self.name("thread_name", worker_tid, json!({ "name": name }));
                    self.name("thread_sort_index", worker_tid, json!({ "sort_index": worker_tid }));
                    place.insert(0)
                }
                std::collections::hash_map::Entry::Occupied(place) => place.into_mut(),
            };
            let start_ns = job.start_ns.max(*worker_free_ns);
            *worker_free_ns = job.end_ns.max(start_ns);
            let mut args = json!({ "kind": &*job.kind, "ok": job.is_ok });
            if let Some(submitted_ns) = job.submitted_ns {
                args["wait_us"] = json!(us(job.start_ns.saturating_sub(submitted_ns)));
            }
            // The callback may have a name where the job's place has none.
            let completion = completions.get(&job.end_ns);
            let name = completion.map_or(&*job.site, |completion| &*completion.site);
            self.slice(worker_tid, "pool", name, (start_ns, *worker_free_ns), args);
            let begins =
                job.submitted_ns.filter(|at_ns| enclosing(entries, *at_ns)).map(|at_ns| (tid, at_ns));
            let ends = completion.map(|completion| (tid, completion.start_ns));
            self.arrow(begins, (worker_tid, start_ns), ends, job);
        }
    }

    /// Draws an arrow through the slices that are there; one point alone is none.
    fn arrow(
        &mut self,
        begin: Option<(u32, u64)>,
        run: (u32, u64),
        end: Option<(u32, u64)>,
        job: &'a PoolJob,
    ) {
        let points: Vec<(u32, u64)> = begin.into_iter().chain([run]).chain(end).collect();
        let last = points.len() - 1;
        if last == 0 {
            return;
        }
        self.arrows += 1;
        for (index, (tid, at_ns)) in points.into_iter().enumerate() {
            let ph = match index {
                0 => "s",
                index if index == last => "f",
                _ => "t",
            };
            self.push(ph, tid, at_ns, ("pool", &*job.kind), Value::Null);
            if let Some(event) = self.events.last_mut() {
                (event.id, event.bp) = (Some(self.arrows), Some("e"));
            }
        }
    }
}

/// Microseconds, with the nanoseconds behind the point.
fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn span(entries: &[&TimelineEntry]) -> (u64, u64) {
    (entries[0].start_ns, entries[entries.len() - 1].end_ns)
}

/// Returns the entries in the order of time, without those that begin before another has ended: they come from pages,
/// which may be damaged.
fn without_overlaps(entries: &[TimelineEntry]) -> Vec<&TimelineEntry> {
    let mut sorted: Vec<&TimelineEntry> =
        entries.iter().filter(|entry| entry.start_ns <= entry.end_ns).collect();
    sorted.sort_by_key(|entry| (entry.start_ns, entry.end_ns));
    let mut free_ns = 0;
    sorted.retain(|entry| {
        let is_free = entry.start_ns >= free_ns;
        if is_free {
            free_ns = entry.end_ns;
        }
        is_free
    });
    sorted
}

/// Returns the iterations in the order of time, none overlapping, each long enough for the callbacks that begin in it;
/// and one for the callbacks behind the last, whose iteration has not ended.
fn whole_turns(turns: &[Turn], entries: &[&TimelineEntry]) -> Vec<Turn> {
    let mut whole: Vec<Turn> = Vec::with_capacity(turns.len() + 1);
    let mut sorted: Vec<&Turn> = turns.iter().filter(|turn| turn.start_ns <= turn.end_ns).collect();
    sorted.sort_by_key(|turn| (turn.start_ns, turn.end_ns));
    for turn in sorted {
        let free_ns = whole.last().map_or(0, |turn| turn.end_ns);
        if turn.start_ns < free_ns {
            continue;
        }
        let until = entries.partition_point(|entry| entry.start_ns < turn.end_ns);
        let last = entries[..until].last().filter(|entry| entry.start_ns >= turn.start_ns);
        whole.push(Turn { end_ns: last.map_or(0, |entry| entry.end_ns).max(turn.end_ns), ..*turn });
    }
    let end_ns = whole.last().map_or(0, |turn| turn.end_ns);
    let behind = &entries[entries.partition_point(|entry| entry.start_ns < end_ns)..];
    if let ([first, ..], [.., last]) = (behind, behind) {
        whole.push(Turn { number: u64::MAX, start_ns: first.start_ns, end_ns: last.end_ns, events: None });
    }
    whole
}

/// Returns which iteration an entry begins in.
fn turn_of(turns: &[Turn], entry: &TimelineEntry) -> Option<usize> {
    let index = turns.partition_point(|turn| turn.start_ns <= entry.start_ns).checked_sub(1)?;
    (entry.start_ns < turns[index].end_ns || entry.start_ns == turns[index].start_ns).then_some(index)
}

/// Tells whether some entry runs at this moment: an arrow needs a slice to begin at.
fn enclosing(entries: &[&TimelineEntry], at_ns: u64) -> bool {
    let index = entries.partition_point(|entry| entry.start_ns <= at_ns);
    index > 0 && at_ns < entries[index - 1].end_ns
}
