//! Watches one loop for stalls: detects them while they last, names their cause, and counts them by it.

use crate::compute::episode::Episode;
use crate::compute::starvation::{Cause, Verdict, judge};
use crate::model::exemplar::Exemplars;
use crate::watch::report::{Blame, Event, Report};
use loopscope_probe::histogram::{HistogramValues, slot};
use loopscope_probe::{Clock, NowValues, Page, Ticks, Vitals};

/// What one loop's stalls came to, by cause.
#[derive(Clone, Debug, Default)]
pub(crate) struct StallCounts {
    pub active: Option<Cause>,
    pub episodes: [u64; Cause::COUNT],
    /// Lengths of ended episodes, as far as the agent could see them; `None` before the first.
    pub durations: [Option<HistogramValues>; Cause::COUNT],
    /// Incidents behind those lengths, by cause.
    pub starvation_exemplars: [Exemplars; Cause::COUNT],
    /// Incidents behind the lengths that the page counted.
    pub blocked_exemplars: Exemplars,
}

/// A loop that is stalled beyond the critical threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stalled {
    pub label: String,
    pub age_ns: u64,
    /// What it is, in words: `blocked by timer at src/main.rs:40`.
    pub blame: String,
}

/// Follows one loop.
#[derive(Debug, Default)]
pub(crate) struct StallWatch {
    episode: Episode,
    /// Age of the stretch at the last look, where that was beyond the critical threshold.
    critical_ns: Option<u64>,
    since: Ticks,
    blame: Option<Blame>,
    counts: StallCounts,
    /// Of the page's count of ended stalls, how many are accounted for; `None` before the first look.
    accounted: Option<u64>,
    /// Where the recorder was at the last look.
    records_seen: u64,
}

impl StallWatch {
    /// Returns what was counted so far.
    pub(crate) fn counts(&self) -> &StallCounts {
        &self.counts
    }

    /// Returns the stall under way, where it was critical at the last look.
    pub(crate) fn critical(&self, label: &str) -> Option<Stalled> {
        let blame = self.blame.as_ref().map_or_else(|| "blocked".to_owned(), Blame::words);
        self.critical_ns.map(|age_ns| Stalled { label: label.to_owned(), age_ns, blame })
    }

    /// Returns the age at which the stall under way is told again; `None` without one.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.episode.next_ns()
    }

    /// Takes one look at a loop called `label`. `vitals` are its page's as of now on its clock.
    pub(crate) fn look(&mut self, label: &str, page: &Page, clock: &Clock, vitals: &Vitals) -> Vec<Report> {
        let (warning_ns, critical_ns) = (page.control().warning_ns(), page.control().critical_ns());
        let now = vitals.now;
        let age_ns = now.unexpected_ns();
        self.critical_ns = Some(age_ns).filter(|age_ns| *age_ns > critical_ns);
        let step = self.episode.look(vitals.busy_since.0, age_ns, warning_ns);
        let mut reports = Vec::new();
        let report = |event, blame, age_ns| Report {
            event,
            subject: label.to_owned(),
            blame,
            age_ns,
            is_critical: age_ns > critical_ns,
        };
        if let Some(seen_ns) = step.ended_ns {
            let age_ns = self.ended_after(seen_ns, vitals, clock);
            self.book_end(age_ns);
            reports.push(report(Event::StallEnded, self.blame.take(), age_ns));
        }
        if let Some((blame, about_ns)) = self.find_missed(page, clock, vitals, warning_ns) {
            reports.push(report(Event::StallMissed, Some(blame), about_ns));
        }
        if step.has_begun || step.lasts.is_some() {
            let first = vitals.records.saturating_sub(now.stretch_callbacks);
            let verdict = judge(vitals.busy_since, now.busy_ns, &now, &page.records(first), clock.scale());
            let blame = blame_of(&verdict, page);
            let event = step.lasts.map_or(Event::StallBegan, Event::StallLasts);
            if step.has_begun {
                self.since = vitals.busy_since;
                self.counts.episodes[blame.cause as usize] += 1;
                self.counts.active = Some(blame.cause);
            }
            // What is said at the end is what was known last: a flood's count of jobs has grown meanwhile.
            self.blame = Some(blame.clone());
            reports.push(report(event, Some(blame), now.busy_ns));
        }
        self.records_seen = vitals.records;
        reports
    }

    /// Returns how long the ended episode lasted: until the poll that came after it, where that is still known.
    fn ended_after(&self, seen_ns: u64, vitals: &Vitals, clock: &Clock) -> u64 {
        let end = [vitals.parked_since, vitals.busy_since].into_iter().filter(|end| *end > self.since).min();
        end.map_or(seen_ns, |end| clock.ns_between(self.since, end)).max(seen_ns)
    }

    fn book_end(&mut self, age_ns: u64) {
        if let Some(cause) = self.counts.active.take() {
            self.book_duration(cause, age_ns);
        }
        self.accounted = self.accounted.map(|count| count + 1);
    }

    fn book_duration(&mut self, cause: Cause, age_ns: u64) {
        let values = self.counts.durations[cause as usize].get_or_insert_default();
        values.buckets[slot(age_ns)] += 1;
        values.sum_ns = values.sum_ns.wrapping_add(age_ns);
    }

    /// Finds stalls that began and ended between two looks: the page has counted them. Returns whom to blame and about
    /// how long they took.
    fn find_missed(
        &mut self,
        page: &Page,
        clock: &Clock,
        vitals: &Vitals,
        warning_ns: u64,
    ) -> Option<(Blame, u64)> {
        let accounted = *self.accounted.get_or_insert(vitals.stalls_ended);
        // The episode under way may have ended since: the page counted it, and its end will be seen at the next look.
        let known = accounted + u64::from(self.episode.is_active());
        let missed = vitals.stalls_ended.checked_sub(known).filter(|missed| *missed > 0)?;
        self.accounted = Some(accounted + missed);
        let records = page.records(self.records_seen);
        let verdict = judge(Ticks::NONE, warning_ns, &NowValues::IDLE, &records, clock.scale());
        let blame = blame_of(&verdict, page);
        let about_ns = verdict.longest_ns.max(warning_ns);
        self.counts.episodes[blame.cause as usize] += missed;
        for _ in 0..missed {
            self.book_duration(blame.cause, about_ns);
        }
        Some((blame, about_ns))
    }
}

fn blame_of(verdict: &Verdict, page: &Page) -> Blame {
    Blame::new(verdict, page.sites().read_one(verdict.site).as_ref())
}

#[cfg(test)]
#[path = "stall_tests.rs"]
mod tests;
