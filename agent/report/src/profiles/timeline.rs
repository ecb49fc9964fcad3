//! A timeline: iterations, callbacks, drained jobs and pool jobs of loops, one by one, in the order in which they ran.
//!
//! A page keeps the last 4,096 callbacks, so a longer timeline is followed: whoever makes one looks at the pages again
//! and again, and what a page has overwritten between two looks is counted as lost.

use crate::incident::Incident;
use crate::profiles::callbacks::{loop_frame, site_frame};
use crate::words::{RuntimeWords, kind_word, known_phase};
use loopscope_probe::JobRecord;
use loopscope_probe::description::{Description, Fact};
use loopscope_probe::raw::record::CallbackRecord;
use loopscope_probe::raw::record::IterationRecord;
use loopscope_probe::{Clock, Kind, Page, SiteId, Ticks};
use std::sync::Arc;

/// Callbacks kept per loop: some 60 MB of JSON. What comes after them is counted as lost.
const CALLBACKS: usize = 250_000;

/// What loops did, one by one.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The program; empty where not known.
    pub process: String,
    /// Its pid; 0 where not known.
    pub pid: u32,
    /// Moment 0, in nanoseconds since 1970; 0 where not known.
    pub begin_unix_ns: u64,
    pub(crate) tracks: Vec<Track>,
}

/// What one loop did. All moments are nanoseconds since the timeline's begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    pub name: Arc<str>,
    pub turns: Vec<Turn>,
    pub entries: Vec<TimelineEntry>,
    pub jobs: Vec<PoolJob>,
    /// Callbacks that were overwritten before they were read, or that there was no room for.
    pub lost: u64,
    /// What its runtime calls things.
    pub words: RuntimeWords,
}

/// One iteration: from the return of one poll to the begin of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub number: u64,
    pub start_ns: u64,
    pub end_ns: u64,
    /// `None` where its runtime cannot know.
    pub events: Option<u64>,
}

/// One callback or drained job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimelineEntry {
    pub start_ns: u64,
    pub end_ns: u64,
    pub wait_ns: Option<u64>,
    /// When it became ready.
    pub ready_ns: Option<u64>,
    pub kind: Arc<str>,
    pub phase: Arc<str>,
    pub site: Arc<str>,
    /// For a drained job, the site of the callback after which it ran.
    pub parent: Option<Arc<str>>,
    /// For a drained job, what its drain is called: `drain microtask`.
    pub drain: Option<Arc<str>>,
    pub is_running: bool,
    /// How many it stands for, where it stands for a known number.
    pub many: Option<u64>,
    /// It is where a job of the pool gave its result to the loop, whatever its runtime calls that.
    pub is_pool_result: bool,
}

/// One job of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolJob {
    /// `None` where not known.
    pub submitted_ns: Option<u64>,
    pub start_ns: u64,
    pub end_ns: u64,
    pub kind: Arc<str>,
    pub site: Arc<str>,
    pub worker: u32,
    pub is_ok: bool,
}

impl Timeline {
    /// Returns a timeline of a process, with nothing in it yet. Its moment 0 is in nanoseconds since 1970.
    pub fn new(process: &str, pid: u32, begin_unix_ns: u64) -> Timeline {
        Timeline { process: process.to_owned(), pid, begin_unix_ns, tracks: Vec::new() }
    }

    /// Tells whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.tracks
            .iter()
            .all(|track| track.entries.is_empty() && track.turns.is_empty() && track.jobs.is_empty())
    }

    /// Returns how many callbacks are missing: overwritten before they were read, or beyond what is kept.
    pub fn lost(&self) -> u64 {
        self.tracks.iter().fold(0, |sum, track| sum.saturating_add(track.lost))
    }

    /// Returns only the loop of this name.
    pub fn of_loop(mut self, name: &str) -> Timeline {
        self.tracks.retain(|track| *track.name == *loop_frame(name).text);
        self
    }

    /// Adds what was followed of one loop.
    pub fn push(&mut self, followed: Followed) {
        let Followed(track) = followed;
        self.tracks.push(track);
    }

    /// Returns the extract of an incident.
    pub fn of_incident(incident: &Incident) -> Timeline {
        let starts = incident.records.iter().map(|record| record.start_ns);
        let starts = starts.chain(incident.iterations.iter().map(|iteration| iteration.start_ns));
        let begin = starts.chain(incident.jobs.iter().map(|job| job.start_ns)).chain([0]).min().unwrap_or(0);
        let at = |start_ns: i64| u64::try_from(start_ns.saturating_sub(begin)).unwrap_or(0);
        let entries = incident.records.iter().map(|record| TimelineEntry {
            start_ns: at(record.start_ns),
            end_ns: at(record.start_ns).saturating_add(record.run_ns),
            wait_ns: record.wait_ns,
            ready_ns: record.wait_ns.map(|wait_ns| at(record.start_ns).saturating_sub(wait_ns)),
            kind: record.kind.as_str().into(),
            phase: record.phase.as_str().into(),
            site: record.site.as_str().into(),
            parent: record.parent.as_deref().map(Arc::from),
            drain: record.queue.as_deref().map(drain),
            is_running: record.is_running,
            many: record.many,
            is_pool_result: record.is_pool_result,
        });
        let turns = incident.iterations.iter().map(|iteration| Turn {
            number: iteration.number,
            start_ns: at(iteration.start_ns),
            end_ns: at(iteration.start_ns).saturating_add(iteration.busy_ns),
            events: iteration.events,
        });
        let jobs = incident.jobs.iter().map(|job| PoolJob {
            submitted_ns: job.wait_ns.map(|wait_ns| at(job.start_ns).saturating_sub(wait_ns)),
            start_ns: at(job.start_ns),
            end_ns: at(job.start_ns).saturating_add(job.run_ns),
            kind: job.kind.as_str().into(),
            site: job.site.as_str().into(),
            worker: job.worker,
            is_ok: job.is_ok,
        });
        let track = Track {
            name: loop_frame(&incident.r#loop).text,
            turns: turns.collect(),
            entries: entries.collect(),
            jobs: jobs.collect(),
            lost: incident.records_lost,
            words: incident.words.clone(),
        };
        Timeline {
            process: incident.process.clone(),
            pid: incident.pid,
            begin_unix_ns: incident.begin_unix_ns.saturating_add_signed(begin),
            tracks: vec![track],
        }
    }
}

/// What was followed of one loop.
#[derive(Clone, Debug)]
pub struct Followed(Track);

/// Follows the records of one loop's page.
#[derive(Debug)]
pub struct Follower {
    clock: Clock,
    origin: Ticks,
    /// Numbers of the next record, iteration and job to read.
    next: [u64; 3],
    records: Vec<CallbackRecord>,
    turns: Vec<IterationRecord>,
    jobs: Vec<JobRecord>,
    lost: u64,
}

impl Follower {
    /// Begins with what ends from now on. `origin` is the timeline's moment 0 on the page's clock.
    pub fn new(page: &Page, clock: &Clock, origin: Ticks) -> Follower {
        let next = [page.recorder().count(), page.iterations_recorded(), page.jobs_recorded()];
        let (records, turns, jobs) = Default::default();
        Follower { clock: clock.clone(), origin, next, records, turns, jobs, lost: 0 }
    }

    /// Reads what came since the last look. A busy loop overwrites its records within 40 ms or less.
    pub fn look(&mut self, page: &Page) {
        let [next_record, next_turn, next_job] = &mut self.next;
        for record in page.records(*next_record) {
            self.lost += record.number.saturating_sub(*next_record);
            *next_record = record.number + 1;
            match self.records.len() < CALLBACKS {
                true => self.records.push(record),
                false => self.lost += 1,
            }
        }
        for turn in page.iterations(*next_turn) {
            *next_turn = turn.number + 1;
            if self.turns.len() < CALLBACKS {
                self.turns.push(turn);
            }
        }
        for job in page.jobs(*next_job) {
            *next_job = job.number + 1;
            if self.jobs.len() < CALLBACKS {
                self.jobs.push(job);
            }
        }
    }

    /// Takes a last look, with what runs `now` on the page's clock, and returns everything. `name` is what displays call the
    /// loop: several may have the name that their page says.
    pub fn finish(mut self, page: &Page, now: Ticks, name: &str) -> Followed {
        self.look(page);
        let sites = page.sites().read();
        let unknown: Arc<str> = "?".into();
        let runtime = page.description();
        let texts: Vec<Arc<str>> = sites.iter().map(|site| site_frame(Some(site), &runtime).text).collect();
        let text = |site: SiteId| texts.get(site.index()).unwrap_or(&unknown).clone();
        let (clock, origin) = (self.clock.clone(), self.origin);
        let at = |ticks: Ticks| clock.duration_ns(origin, ticks);
        let mut entries: Vec<TimelineEntry> =
            self.records.iter().map(|record| self.entry(record, &runtime, text)).collect();
        entries.extend(self.running(page, now, &runtime, text));
        let knows_wait = runtime.knows(Fact::PoolWait);
        let turn = |turn: &IterationRecord| Turn {
            number: turn.number,
            start_ns: at(turn.begin),
            end_ns: at(turn.end),
            events: runtime.knows(Fact::PollEvents).then_some(turn.events),
        };
        let job = |job: &JobRecord| PoolJob {
            submitted_ns: (knows_wait && job.submitted != Ticks::NONE).then(|| at(job.submitted)),
            start_ns: at(job.started),
            end_ns: at(job.ended),
            kind: job.kind.name().into(),
            site: sites.get(job.site.index()).map_or_else(|| "?".into(), |site| site.label().into()),
            worker: job.worker,
            is_ok: job.is_ok,
        };
        Followed(Track {
            name: loop_frame(name).text,
            turns: self.turns.iter().map(turn).collect(),
            jobs: self.jobs.iter().map(job).collect(),
            entries,
            lost: self.lost,
            words: RuntimeWords::of(&runtime),
        })
    }

    fn entry(
        &self,
        record: &CallbackRecord,
        runtime: &Description,
        text: impl Fn(SiteId) -> Arc<str>,
    ) -> TimelineEntry {
        let at = |ticks: Ticks| self.clock.duration_ns(self.origin, ticks);
        let ready = Some(record.ready).filter(|ready| *ready != Ticks::NONE);
        TimelineEntry {
            start_ns: at(record.start),
            end_ns: at(record.end),
            wait_ns: ready.map(|ready| self.clock.duration_ns(ready, record.start)),
            ready_ns: ready.map(at),
            kind: kind_word(runtime, record.kind).into(),
            phase: known_phase(runtime, record.phase).unwrap_or_default().into(),
            site: text(record.site),
            parent: (record.parent != SiteId::NONE).then(|| text(record.parent)),
            drain: record.kind.queue().map(|queue| drain(runtime.queue_label(queue))),
            is_running: false,
            many: record.many.filter(|number| *number > 0),
            is_pool_result: record.kind == Kind::WorkDone,
        }
    }

    /// Returns the callback that has not ended yet.
    fn running(
        &self,
        page: &Page,
        now: Ticks,
        runtime: &Description,
        text: impl Fn(SiteId) -> Arc<str>,
    ) -> Option<TimelineEntry> {
        let running = page.now_values(now, &self.clock).running?;
        let kind = running.kind?;
        let at = |ticks: Ticks| self.clock.duration_ns(self.origin, ticks);
        let last_end = self.records.last().map_or(Ticks::NONE, |record| record.end);
        // After which callback a job is drained is in its record only, and that is written when it ends.
        let last = self.records.last().filter(|_| running.queue.is_some());
        let parent = last.map(|last| if last.parent == SiteId::NONE { last.site } else { last.parent });
        let start_ns = at(running.since.max(last_end));
        Some(TimelineEntry {
            start_ns,
            // It may have begun since.
            end_ns: at(now).max(start_ns),
            wait_ns: None,
            ready_ns: None,
            kind: kind_word(runtime, kind).into(),
            phase: known_phase(runtime, running.phase).unwrap_or_default().into(),
            site: text(running.site),
            parent: parent.map(text),
            drain: running.queue.map(|queue| drain(runtime.queue_label(queue))),
            is_running: true,
            many: None,
            is_pool_result: kind == Kind::WorkDone,
        })
    }
}

fn drain(queue: &str) -> Arc<str> {
    format!("drain {queue}").into()
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
