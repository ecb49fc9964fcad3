//! What a runtime that was attached to notes of its own workers, while it does something: a task of ours (`note_task.rs`) sleeps again and
//! again, and each time its timer comes, it writes down the time and what the counters of all workers are. That is a look made by
//! the runtime itself, on a thread that is awake for its own work; so the agent, for which each look is a wake-up, looks a third
//! as often, and goes through the notes then.
//!
//! ```text
//!   notes    |   |   |   |   |   |   |                       where none comes in time
//!   looks    |             |             |                   the alarm has the agent look as often as without them
//!   alarm      (put off by each note)      . . . . ! |   |   |
//! ```
//!
//! Each note puts off an alarm that wakes the agent: where a note is late, because the driver or all workers are blocked, the
//! agent looks when it would have looked without notes. So a busy period begins no later than without them.

use crate::activity::Counters;
use loopscope_probe::Ticks;
use loopscope_probe::raw::alarm_timer::AlarmTimer;
use loopscope_probe::raw::clock::Scale;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A note is made so long after the last, in nanoseconds, and up to a millisecond later: timers come at whole ones.
pub(crate) const EVERY_NS: u64 = 7_500_000;
/// The alarm comes so long after the last note, in nanoseconds: as often as the agent looks where there are none.
const ALARM_NS: u64 = 9_500_000;
/// A worker that was in one task at two notes may be blocked, in nanoseconds.
pub(crate) const STILL_NS: u64 = 2 * EVERY_NS;
/// The task ends when the agent has not looked for so long, in nanoseconds.
const RENEWED_FOR_NS: u64 = 45_000_000;
/// So many notes are kept: more than fall between two looks.
const NOTES: usize = 8;
/// So much work may be that of a note, in nanoseconds.
const WORK_NS: u64 = 300_000;

/// What the counters of all workers were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub at: Ticks,
    pub counters: Vec<Counters>,
}

/// The notes of one runtime.
#[derive(Debug, Default)]
pub(crate) struct RuntimeNotes {
    /// When the timer is due, in ticks; 0 while none is set.
    due: AtomicU64,
    /// When the alarm comes, in ticks.
    alarm_at: AtomicU64,
    /// The task ends after this time, in ticks.
    until: AtomicU64,
    is_alive: AtomicBool,
    /// The runtime's time is not ours.
    is_unfit: AtomicBool,
    made: AtomicU64,
    alarm: Arc<NoteAlarm>,
    ring: Mutex<NoteRing>,
}

/// What notes put off; `None` where the process has no descriptor left: no notes are made then.
pub(crate) type NoteAlarm = OnceLock<Option<AlarmTimer>>;

#[derive(Debug, Default)]
struct NoteRing {
    notes: Vec<Note>,
    oldest: usize,
}

impl NoteRing {
    /// Makes a note in place of the oldest.
    fn push(&mut self, at: Ticks, read: impl FnOnce(&mut Vec<Counters>)) {
        if self.notes.len() < NOTES {
            self.notes.insert(self.oldest, Note::default());
        }
        let note = &mut self.notes[self.oldest];
        note.at = at;
        read(&mut note.counters);
        self.oldest = (self.oldest + 1) % NOTES;
    }

    /// Returns those that were made after `since` and before `until`, the oldest first.
    fn between(&self, since: Ticks, until: Ticks) -> impl Iterator<Item = &Note> {
        let (newer, older) = self.notes.split_at(self.oldest.min(self.notes.len()));
        older.iter().chain(newer).filter(move |note| note.at > since && note.at < until)
    }
}

impl RuntimeNotes {
    /// Calls `each` with the notes that were made between two looks.
    pub(crate) fn between(&self, since: Ticks, until: Ticks, each: impl FnMut(&Note)) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.between(since, until).for_each(each);
    }

    /// Returns when the timer is due, in ticks; 0 where none is set.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }

    /// Returns the alarm, for the agent's side to keep while it may wait for the descriptor: another one of the same number would not be told
    /// from it.
    pub(crate) fn kept_alarm(&self) -> Arc<NoteAlarm> {
        self.alarm.clone()
    }

    /// Returns the descriptor of the alarm that will wake the agent if the next note is late; `None` where it is late already, or none
    /// are made.
    pub(crate) fn alarm(&self, at: Ticks) -> Option<i32> {
        let is_ahead = self.is_alive() && at.0 < self.alarm_at.load(Ordering::Acquire);
        self.alarm.get().filter(|_| is_ahead)?.as_ref().map(AlarmTimer::descriptor)
    }

    /// Tells whether the task is there.
    pub(crate) fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Acquire)
    }

    /// Tells whether the task is there and will end soon, where somebody runs the runtime.
    pub(crate) fn are_awaited(&self, scale: Scale, at: Ticks) -> bool {
        let ends_by = self.until.load(Ordering::Relaxed).saturating_add(scale.ticks(RENEWED_FOR_NS));
        self.is_alive() && at.0 < ends_by
    }

    /// Returns how many notes were made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// The task is to be there until some time from now. Returns whether it is there already; `None` where it cannot be.
    pub(crate) fn renew(&self, scale: Scale, now: Ticks) -> Option<bool> {
        let is_unfit = self.is_unfit.load(Ordering::Relaxed);
        self.alarm.get_or_init(|| AlarmTimer::new().ok()).as_ref().filter(|_| !is_unfit)?;
        self.until.store(now.0 + scale.ticks(RENEWED_FOR_NS), Ordering::Relaxed);
        Some(self.is_alive.swap(true, Ordering::AcqRel))
    }

    /// Tells whether the task is to go on.
    pub(crate) fn are_wanted(&self, now: Ticks) -> bool {
        !self.is_unfit.load(Ordering::Relaxed) && now.0 <= self.until.load(Ordering::Relaxed)
    }

    /// The runtime's time is not ours: no more notes are made.
    pub(crate) fn give_up(&self) {
        self.is_unfit.store(true, Ordering::Relaxed);
    }

    /// The task has ended.
    pub(crate) fn end(&self) {
        self.due.store(0, Ordering::Release);
        if let Some(Some(alarm)) = self.alarm.get() {
            alarm.set(Duration::ZERO);
        }
        self.is_alive.store(false, Ordering::Release);
    }

    /// Makes a note of what is `read`, on a worker between two polls of tasks; the next one is due then.
    pub(crate) fn make(&self, scale: Scale, now: Ticks, due: Ticks, read: impl FnOnce(&mut Vec<Counters>)) {
        self.made.fetch_add(1, Ordering::Relaxed);
        // The agent reads them for a moment: then there is one less, and the alarm may come.
        if let Ok(mut ring) = self.ring.try_lock() {
            ring.push(now, read);
            if let Some(Some(alarm)) = self.alarm.get() {
                self.alarm_at.store(now.0 + scale.ticks(ALARM_NS), Ordering::Release);
                alarm.set(Duration::from_nanos(ALARM_NS));
            }
        }
        self.due.store(due.0, Ordering::Release);
    }
}

/// Tells whether a runtime did more than its notes made it do: each wakes one worker for some microseconds.
pub(crate) fn did_more(before: &[Counters], now: &[Counters], made: u64) -> bool {
    let sum = |counters: &[Counters], of: fn(&Counters) -> u64| counters.iter().map(of).sum::<u64>();
    let grown = |of| sum(now, of).saturating_sub(sum(before, of));
    // One more unpark or park of the same notes may be seen at either end.
    grown(|counters| counters.parks) > 2 * made + 2 || grown(|counters| counters.busy_ns) > WORK_NS * made
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn counters(of: &[(u64, u64)]) -> Vec<Counters> {
        of.iter().map(|(parks, busy_ns)| Counters { parks: *parks, busy_ns: *busy_ns }).collect()
    }

    #[test]
    fn notes_come_in_their_order_and_the_oldest_go() {
        let mut ring = NoteRing::default();
        let times = |ring: &NoteRing, since, until| -> Vec<u64> {
            ring.between(Ticks(since), Ticks(until)).map(|note| note.at.0).collect()
        };
        assert!(times(&ring, 0, 100).is_empty());
        for at in 1..=5 {
            ring.push(Ticks(at), |of| *of = counters(&[(at, at)]));
        }
        assert_eq!(times(&ring, 0, 100), [1, 2, 3, 4, 5]);
        (6..=19).for_each(|at| ring.push(Ticks(at), |of| *of = counters(&[(at, at)])));
        assert_eq!(times(&ring, 0, 100), [12, 13, 14, 15, 16, 17, 18, 19]);
        assert_eq!(times(&ring, 15, 18), [16, 17], "between two looks");
        assert!(ring.notes.iter().all(|note| note.counters == counters(&[(note.at.0, note.at.0)])));
    }

    // Not under Miri, whose kernel has no such timer.
    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn the_alarm_is_waited_for_while_notes_come_in_time() {
        let notes = RuntimeNotes::default();
        notes.alarm_at.store(20 * MS, Ordering::Relaxed);
        assert_eq!(notes.alarm(Ticks(10 * MS)), None, "no notes are made");
        let descriptor = notes.alarm.get_or_init(|| AlarmTimer::new().ok()).as_ref().unwrap().descriptor();
        assert_eq!(notes.alarm(Ticks(10 * MS)), None, "the task has ended");
        notes.is_alive.store(true, Ordering::Relaxed);
        assert_eq!(notes.alarm(Ticks(10 * MS)), Some(descriptor));
        assert_eq!(notes.alarm(Ticks(20 * MS)), None, "it has come");
    }

    #[test]
    fn a_task_that_nobody_runs_is_not_waited_for() {
        let notes = RuntimeNotes::default();
        notes.until.store(100 * MS, Ordering::Relaxed);
        let are_awaited = |at| notes.are_awaited(Scale::NANOSECONDS, Ticks(at * MS));
        assert!(!are_awaited(90), "there is none");
        notes.is_alive.store(true, Ordering::Relaxed);
        assert!(are_awaited(90) && are_awaited(144));
        assert!(!are_awaited(145));
    }

    #[test]
    fn what_notes_make_a_runtime_do_is_not_what_it_does() {
        let before = counters(&[(7, 100), (20, 0)]);
        for (now, made, is_more) in [
            (&[(7, 100), (20, 0)][..], 0, false),
            (&[(13, 9_100), (20, 0)], 3, false),
            (&[(15, 9_100), (20, 0)], 3, false),
            // A request came between them.
            (&[(15, 9_100), (22, 0)], 3, true),
            // It does not park at all.
            (&[(7, 29_000_000), (20, 0)], 3, true),
        ] {
            assert_eq!(did_more(&before, &counters(now), made), is_more, "{now:?}");
        }
    }
}
