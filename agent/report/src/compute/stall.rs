//! Watches one loop for stalls: detects them while they last, judges their cause, and counts them by it.

use crate::compute::episode::Episode;
use crate::compute::verdict::{Cause, Verdict, judge};
use crate::model::exemplar::{Exemplar, Exemplars};
use loopscope_probe::raw::histogram::{HistogramValues, slot};
use loopscope_probe::raw::record::IterationRecord;
use loopscope_probe::{Clock, NowValues, Page, Ticks, Vitals};

/// Of stalls that only a count tells of, at most so many are told one by one; all are counted. The count is a word on a
/// page that may be another user's, or damaged, and can jump to anything.
const TOLD_MAX: usize = 16;

/// What one loop's stalls came to, by cause.
#[derive(Clone, Debug, Default)]
pub struct StallCounts {
    /// What keeps it from polling now; more than one cause in a sum of several loops.
    pub active: [bool; Cause::COUNT],
    pub episodes: [u64; Cause::COUNT],
    /// Lengths of ended episodes, as far as the agent could see them; `None` before the first.
    pub durations: [Option<HistogramValues>; Cause::COUNT],
    /// Incidents behind those lengths, by cause.
    pub starvation_exemplars: [Exemplars; Cause::COUNT],
    /// Incidents behind the lengths that the page counted.
    pub blocked_exemplars: Exemplars,
    /// How far beyond the threshold stalls were when they were found.
    pub detection: HistogramValues,
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StallEvent {
    /// The loop has not polled for longer than the threshold.
    Began(Verdict),
    /// It still has not; this many times the threshold.
    Lasts(u64, Verdict),
    /// It polls again.
    Ended(End),
    /// It was over before the agent looked.
    Missed(End, Verdict),
}

/// A stall that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub begin: Ticks,
    pub end: Ticks,
    /// From one to the other, in nanoseconds.
    pub ns: u64,
}

/// Follows one loop.
#[derive(Debug, Default)]
pub struct StallWatch {
    episode: Episode,
    since: Ticks,
    /// Since when the loop was busy at the last look; [`Ticks::NONE`] where it polled.
    busy_at_last: Ticks,
    /// Threshold that the stall under way crossed, in nanoseconds.
    threshold_ns: u64,
    counts: StallCounts,
    /// Of the page's count of ended stalls, how many are accounted for; `None` before the first look.
    accounted: Option<u64>,
    /// Begin of the poll in which the page will count the stall that ended with it: a thread says first that it polls.
    owed_in: Option<Ticks>,
    /// Where the recorder and the ring of iterations were at the last look.
    records_seen: u64,
    iterations_seen: u64,
}

impl StallWatch {
    /// Returns what was counted so far.
    pub fn counts(&self) -> &StallCounts {
        &self.counts
    }

    /// Notes the incident behind the length of a stall that has ended.
    pub fn note(&mut self, cause: &str, exemplar: Exemplar) {
        if let Some(cause) = Cause::ALL.into_iter().find(|known| known.name() == cause) {
            self.counts.starvation_exemplars[cause as usize].note(exemplar.clone());
            self.counts.blocked_exemplars.note(exemplar);
        }
    }

    /// Returns the age at which the stall under way is told again; `None` without one.
    pub fn next_ns(&self) -> Option<u64> {
        self.episode.next_ns()
    }

    /// Tells whether a look needs the page's records and iterations, and not its vitals alone.
    pub fn needs_records(&self, vitals: &Vitals, warning_ns: u64) -> bool {
        let age_ns = vitals.now.unexpected_ns();
        // A stall that only goes on is told at its doublings; until then there is nothing to read. With many loops stalled
        // at once, whole pages ten times a second would be a fifth of a processor.
        let is_known = self.episode.is_active() && vitals.busy_since == self.since && age_ns > warning_ns;
        let is_turn = match self.next_ns().filter(|_| is_known) {
            Some(next_ns) => age_ns >= next_ns,
            None => self.episode.is_active() || age_ns > warning_ns,
        };
        is_turn || self.accounted.is_some_and(|count| count != vitals.stalls_ended)
    }

    /// Takes one look at a loop. `vitals` are its page's as of now on its clock.
    pub fn look(&mut self, page: &Page, clock: &Clock, vitals: &Vitals) -> Vec<StallEvent> {
        let now = vitals.now;
        let warning_ns = page.control().warning_ns();
        let age_ns = now.unexpected_ns();
        let step = self.episode.look(vitals.busy_since.0, age_ns, warning_ns);
        let mut turns = Vec::new();
        let accounted = *self.accounted.get_or_insert(vitals.stalls_ended);
        if step.ended_ns.is_some() || accounted != vitals.stalls_ended {
            self.settle(step.ended_ns, page, clock, vitals, &mut turns);
        }
        if step.has_begun || step.lasts.is_some() {
            let first = vitals.records.saturating_sub(now.busy_callbacks);
            let verdict = judge(vitals.busy_since, now.busy_ns, &now, &page.records(first), clock.scale());
            if step.has_begun {
                (self.since, self.threshold_ns) = (vitals.busy_since, warning_ns);
                self.count(verdict.cause, 1);
                self.counts.active = Default::default();
                self.counts.active[verdict.cause as usize] = true;
                self.counts.detection.record(age_ns.saturating_sub(warning_ns));
            }
            turns.push(match step.lasts {
                Some(times) => StallEvent::Lasts(times, verdict),
                None => StallEvent::Began(verdict),
            });
        }
        self.busy_at_last = vitals.busy_since;
        self.records_seen = vitals.records;
        self.iterations_seen = page.iterations_recorded();
        turns
    }

    /// Accounts for stalls that are over: the one that was under way, and those that began and ended between two
    /// looks, which the page has counted.
    fn settle(
        &mut self,
        seen_ns: Option<u64>,
        page: &Page,
        clock: &Clock,
        vitals: &Vitals,
        turns: &mut Vec<StallEvent>,
    ) {
        let ended = page.iterations(self.iterations_seen);
        if let Some(seen_ns) = seen_ns {
            let end = self.end_of(seen_ns, &ended, vitals, clock);
            let active = std::mem::take(&mut self.counts.active);
            for cause in Cause::ALL.into_iter().filter(|cause| active[*cause as usize]) {
                self.count_durations(cause, end.ns, 1);
            }
            self.accounted = self.accounted.map(|count| count.saturating_add(1));
            let is_uncounted = self.accounted > Some(vitals.stalls_ended);
            let will_be_counted = end.ns > page.control().warning_ns();
            self.owed_in = (is_uncounted && will_be_counted).then_some(vitals.parked_since);
            turns.push(StallEvent::Ended(end));
        }
        // A stall under way may have ended since: the page counted it, and its end will be seen at the next look.
        let accounted = self.accounted.unwrap_or(0);
        let known = accounted.saturating_add(u64::from(self.episode.is_active()));
        let missed = vitals.stalls_ended.saturating_sub(known);
        // A threshold that was raised during a stall leaves one that only the agent counted.
        let is_owed = self.owed_in == Some(vitals.parked_since) && vitals.busy_since == Ticks::NONE;
        let counted = if is_owed { accounted } else { accounted.min(vitals.stalls_ended) };
        self.accounted = Some(counted.saturating_add(missed));
        if missed > 0 {
            self.find_missed(missed, &ended, page, clock, vitals, turns);
        }
    }

    /// Returns when the stall under way ended: as the ring of iterations has it, else at the poll that came after it.
    fn end_of(&self, seen_ns: u64, ended: &[IterationRecord], vitals: &Vitals, clock: &Clock) -> End {
        let begin = self.since;
        if let Some(iteration) = ended.iter().find(|iteration| iteration.begin == begin) {
            let ns = clock.duration_ns(begin, iteration.end).max(seen_ns);
            return End { begin, end: iteration.end, ns };
        }
        let end = first_poll_after(begin, vitals)
            .unwrap_or(Ticks(begin.0.saturating_add(clock.scale().ticks(seen_ns))));
        End { begin, end, ns: clock.duration_ns(begin, end).max(seen_ns) }
    }

    fn find_missed(
        &mut self,
        missed: u64,
        ended: &[IterationRecord],
        page: &Page,
        clock: &Clock,
        vitals: &Vitals,
        turns: &mut Vec<StallEvent>,
    ) {
        let records = page.records(self.records_seen);
        let warning_ns = page.control().warning_ns();
        let length_ns = |iteration: &IterationRecord| clock.duration_ns(iteration.begin, iteration.end);
        let mut long: Vec<&IterationRecord> = ended
            .iter()
            .filter(|iteration| length_ns(iteration) > warning_ns && iteration.begin > self.since)
            .collect();
        long.sort_by_key(|iteration| std::cmp::Reverse(length_ns(iteration)));
        long.truncate(usize::try_from(missed).unwrap_or(usize::MAX));
        long.sort_by_key(|iteration| iteration.begin);
        // Both are in the order of their ends, so each record is looked at once, whatever a damaged page says.
        let mut rest = records.as_slice();
        for iteration in &long {
            let (begin, end, ns) = (iteration.begin, iteration.end, length_ns(iteration));
            let (own, later) = rest.split_at(rest.partition_point(|record| record.end <= end));
            rest = later;
            let verdict = judge(begin, ns, &NowValues::IDLE, own, clock.scale());
            self.missed(1, End { begin, end, ns }, verdict, turns);
        }
        // What the ring has forgotten is known by the recorder alone, or by what the looks found.
        let forgotten = missed - long.len() as u64;
        if forgotten > 0 {
            let verdict = judge(Ticks::NONE, warning_ns, &NowValues::IDLE, &records, clock.scale());
            let end = match records.last() {
                Some(last) => ending_at(last.end, verdict.longest_ns.max(warning_ns), clock),
                None => self.unrecorded(warning_ns, clock, vitals),
            };
            self.missed(forgotten, end, verdict, turns);
        }
    }

    /// Returns a stall of a loop that records neither iterations nor callbacks: the busy period that the last look found, where
    /// that was long enough when it ended, else one that ended at the last poll at the latest.
    fn unrecorded(&self, warning_ns: u64, clock: &Clock, vitals: &Vitals) -> End {
        let begin = self.busy_at_last;
        let found =
            first_poll_after(begin, vitals).map(|end| End { begin, end, ns: clock.duration_ns(begin, end) });
        // Not the one that was followed, which is accounted for.
        found
            .filter(|end| begin > self.since && end.ns > warning_ns)
            .unwrap_or_else(|| ending_at(vitals.parked_since.max(vitals.busy_since), warning_ns, clock))
    }

    fn missed(&mut self, count: u64, end: End, verdict: Verdict, turns: &mut Vec<StallEvent>) {
        self.count(verdict.cause, count);
        self.count_durations(verdict.cause, end.ns, count);
        let told = usize::try_from(count).unwrap_or(TOLD_MAX).min(TOLD_MAX);
        turns.extend(std::iter::repeat_n(StallEvent::Missed(end, verdict), told));
        self.since = self.since.max(end.begin);
    }

    fn count(&mut self, cause: Cause, more: u64) {
        let episodes = &mut self.counts.episodes[cause as usize];
        *episodes = episodes.saturating_add(more);
    }

    /// Counts this many stalls of that length.
    fn count_durations(&mut self, cause: Cause, age_ns: u64, count: u64) {
        let durations = self.counts.durations[cause as usize].get_or_insert_default();
        let bucket = &mut durations.buckets[slot(age_ns)];
        *bucket = bucket.saturating_add(count);
        durations.sum_ns = durations.sum_ns.saturating_add(age_ns.saturating_mul(count));
    }
}

/// Returns the first time the loop polled after `begin`, as far as its vitals tell.
fn first_poll_after(begin: Ticks, vitals: &Vitals) -> Option<Ticks> {
    [vitals.parked_since, vitals.busy_since].into_iter().filter(|end| *end > begin).min()
}

/// Returns a stall of this length that ended then.
fn ending_at(end: Ticks, ns: u64, clock: &Clock) -> End {
    End { begin: Ticks(end.0.saturating_sub(clock.scale().ticks(ns))), end, ns }
}

#[cfg(test)]
#[path = "stall_tests.rs"]
mod tests;
