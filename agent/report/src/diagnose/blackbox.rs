//! The black box: from a page alone, the incident in whose middle its process ended.
//!
//! A process that was killed while its loop was blocked leaves no agent to tell, but its page still says what ran, since
//! when, in which spans, and what ran before. What only an agent knows (stacks, processor time) is missing, and the
//! incident says so.

use crate::compute::verdict::judge;
use crate::incident::Incident;
use crate::incident_builder::{IncidentBuilder, Observation};
use loopscope_probe::raw::incident_id::{IncidentId, number_of_stall};
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_probe::{Clock, Page, Ticks};

/// What a page does not tell of its loop: its number among those of its process, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct LoopName<'a> {
    /// See [`LoopId`](loopscope_probe::raw::loop_id::LoopId).
    pub ordinal: u32,
    /// Its name, made unique within the process.
    pub label: &'a str,
}

/// Returns what the loop was in the middle of at `at`, the last moment that is known of it, on `clock`, the page's own: a
/// stall, else a saturated pool, else what ran.
///
/// The duration is that until `at`: the least that it was. It is 0 where the loop was in its poll. The number is
/// [`number_of_stall`], above those of the incidents that an agent has counted.
pub fn reconstruct(page: &Page, clock: &Clock, at: Ticks, who: &LoopName<'_>) -> Incident {
    let (facts, vitals, control) = (page.facts(), page.vitals_at(clock, at), page.control());
    let seen = Observation {
        label: who.label,
        ordinal: who.ordinal,
        page,
        clock,
        vitals: &vitals,
        taken: at,
        unix_ns: facts.created_unix_ns.saturating_add(clock.duration_ns(page.created(), at)),
        warning_ns: control.warning_ns(),
        critical_ns: control.critical_ns(),
    };
    let ended = vitals.stalls_ended.saturating_sub(control.stalls_counted());
    let number = number_of_stall(control.incidents(), who.ordinal, ended);
    let id = IncidentId::new(ProcessId::of_page(&facts), number);
    let saturated_ns = vitals.pool.map_or(0, |pool| pool.saturated_for_ns);
    let is_stalled = vitals.now.unexpected_ns() > seen.warning_ns;
    let mut builder = match !is_stalled && saturated_ns > seen.warning_ns {
        true => IncidentBuilder::open_pool(&seen, id, saturated_ns),
        false => busy_period(&seen, id),
    };
    let note = "reconstructed from the page of the killed process: no stacks, and durations are lower bounds";
    builder.incident.notes.push(note.to_owned());
    builder.whole(page)
}

/// Builds the incident of the busy period under way, and of nothing where the loop is in its poll.
fn busy_period(seen: &Observation<'_>, id: IncidentId) -> IncidentBuilder {
    let (now, busy_since) = (seen.vitals.now, seen.vitals.busy_since);
    if now.busy_ns == 0 {
        return IncidentBuilder::open(seen, id, seen.taken, 0, None);
    }
    let mut builder = IncidentBuilder::open(seen, id, busy_since, now.busy_ns, None);
    let verdict = judge(busy_since, now.busy_ns, &now, &seen.page.records(0), seen.clock.scale());
    builder.judge(seen, &verdict, &now);
    builder.grow(seen);
    builder
}

/// Returns what the loop of a process that lives, and has no agent, is in the middle of; as [`reconstruct`] otherwise.
pub fn under_way(page: &Page, clock: &Clock, now: Ticks, who: &LoopName<'_>) -> Incident {
    let note = "read live from the page: the process has no agent";
    Incident { notes: vec![note.to_owned()], ..reconstruct(page, clock, now, who) }
}

/// Returns the last moment at which the loop of an ended process is known to have lived: its last stamp, or the last tick
/// of its agent, which went on while the loop was blocked. At most `now`, on `clock`, the page's own.
pub fn last_moment(page: &Page, clock: &Clock, now: Ticks) -> Ticks {
    let running = page.now_values(now, clock).running.map_or(Ticks::NONE, |running| running.since);
    let recorded = page.records(0).last().map_or(Ticks::NONE, |record| record.end);
    let agent_ns = page.control().tick_unix_ns().saturating_sub(page.facts().created_unix_ns);
    let ticked = Ticks(page.created().0.saturating_add(clock.scale().ticks(agent_ns)));
    running.max(recorded).max(ticked).max(page.created()).min(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{IncidentKind, Severity};
    use loopscope_probe::{Kind, Phase, Queue, TaskTimes, VirtualClock, Writer, spans as probe_spans};
    use std::panic::Location;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_page_tells_what_its_loop_was_in_the_middle_of() {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let (read, flush) = (
            writer.named_site(Location::caller(), Kind::IoRead, "read"),
            writer.named_site(Location::caller(), Kind::Timer, "flush"),
        );
        let _spans = writer.install_spans();
        writer.resume();
        writer.phase(Phase::POLL);
        writer.begin(Kind::IoRead, read, TaskTimes::UNKNOWN);
        time.advance_ns(2 * MS);
        writer.end();
        writer.park();
        time.advance_ns(10 * MS);
        writer.unpark(1);
        writer.phase(Phase::TIMERS);
        writer.begin(Kind::Timer, flush, TaskTimes::UNKNOWN);
        let _span = probe_spans::enter(probe_spans::site("query", "db.rs", 3).unwrap(), "id=7").unwrap();
        time.advance_ns(2_000 * MS);
        let clock = writer.clock().clone();
        let incident =
            reconstruct(writer.page(), &clock, clock.now(), &LoopName { ordinal: 0, label: "web" });
        assert_eq!((incident.id.to_string(), incident.is_over), (format!("{}-1", incident.pid), false));
        assert_eq!((incident.duration_ns, incident.severity), (2_000 * MS, Severity::Critical));
        assert_eq!(
            (incident.kind, incident.cause.as_str(), incident.phase.as_str()),
            (IncidentKind::Stall, "callback", "timers")
        );
        assert_eq!((incident.culprit.name.as_str(), incident.culprit.kind.as_str()), ("flush", "timer"));
        assert_eq!(incident.summary, "1 callback of 2.0 s");
        assert_eq!((incident.spans[0].name.as_str(), incident.spans[0].fields.as_str()), ("query", "id=7"));
        let told: Vec<_> = incident
            .records
            .iter()
            .map(|record| (record.start_ns, record.run_ns, record.is_running))
            .collect();
        assert_eq!(told, [(-12 * MS as i64, 2 * MS, false), (0, 2_000 * MS, true)]);
        assert_eq!((incident.iterations.len(), incident.groups.len()), (1, 1));
    }

    #[test]
    fn a_flood_is_told_as_one_and_an_idle_loop_as_idle() {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(Location::caller(), Kind::Microtask, "again");
        writer.resume();
        writer.drain_begin(Queue::Microtask, 1);
        for _ in 0..900 {
            writer.begin(Kind::Microtask, site, TaskTimes::UNKNOWN);
            time.advance_ns(MS);
            writer.end();
        }
        let clock = writer.clock().clone();
        let flood = reconstruct(writer.page(), &clock, clock.now(), &LoopName { ordinal: 0, label: "web" });
        assert_eq!((flood.kind, flood.groups[0].count), (IncidentKind::Starvation, Some(900)));
        assert!(
            flood.summary.starts_with("900 callbacks of 1.0 ms: 900 x microtask again ("),
            "{}",
            flood.summary
        );
        assert_eq!((flood.records.len(), flood.records_lost), (900, 0), "its begin and its end");
        writer.drain_end(Queue::Microtask, 900);
        writer.park();
        time.advance_ns(5 * MS);
        let idle = reconstruct(writer.page(), &clock, clock.now(), &LoopName { ordinal: 0, label: "web" });
        assert_eq!((idle.duration_ns, idle.culprit.label.as_str(), idle.groups.len()), (0, "", 0));
        assert_eq!((idle.records.len(), idle.records_lost), (512, 388), "the last ones before now");
    }
}
