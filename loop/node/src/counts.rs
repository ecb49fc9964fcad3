//! What one loop's page says at this moment, in JSON: for a program that wants to compare it with what it counted itself.

use crate::entries::{Entries, Runtime};
use loopscope_probe::raw::histogram::HistogramValues;
use loopscope_probe::{Kind, Phase, Queue};
use std::fmt::Write;

/// Returns the counts, those of what runs now left out. Times are in nanoseconds.
pub(crate) fn counts<R: Runtime>(entries: &mut Entries<R>) -> String {
    let (unnamed, (resources, left_out)) = entries.counts();
    let in_place = entries.read_in_place();
    entries.writer().settle();
    let writer = &*entries.writer();
    let snapshot = writer.page().snapshot(writer.clock());
    let mut text = format!(
        "{{\"unnamed\":{unnamed},\"resources\":{resources},\"resources_left_out\":{left_out},\
         \"read_in_place\":{in_place},\"iterations\":{},\
         \"active_ns\":{},\"idle_ns\":{},\"poll_events\":{}",
        snapshot.iterations, snapshot.active_ns, snapshot.idle_ns, snapshot.poll_events.sum
    );
    let mut table = |name: &str, rows: &mut dyn Iterator<Item = (String, String)>| {
        let rows: Vec<String> = rows.map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let _ = write!(text, ",\"{name}\":{{{}}}", rows.join(","));
    };
    let one = |values: &HistogramValues| format!("{{\"count\":{},\"ns\":{}}}", values.count(), values.sum_ns);
    let kinds = Kind::ALL.iter().take(Kind::CALLBACKS).filter(|kind| snapshot.run[kind.index()].count() > 0);
    table("kinds", &mut kinds.map(|kind| (kind.name().to_owned(), one(&snapshot.run[kind.index()]))));
    let failed = Kind::ALL.iter().take(Kind::CALLBACKS).filter(|kind| snapshot.errors[kind.index()] > 0);
    let failures = |kind: &Kind| (kind.name().to_owned(), snapshot.errors[kind.index()].to_string());
    table("errors", &mut failed.map(failures));
    let phases = (0..Phase::COUNT).filter(|index| snapshot.phase[*index].count() > 0);
    let phases = phases.filter_map(|index| Some((Phase::from_index(index)?, index)));
    table("phases", &mut phases.map(|(phase, index)| (phase.name().to_owned(), one(&snapshot.phase[index]))));
    let queues = [Queue::NextTick, Queue::Microtask];
    table(
        "drains",
        &mut queues.iter().map(|queue| {
            let (drain, jobs) = (&snapshot.drain[queue.index()], snapshot.drain_jobs[queue.index()].sum);
            let drained = format!("{{\"count\":{},\"ns\":{},\"jobs\":{jobs}}}", drain.count(), drain.sum_ns);
            (queue.name().to_owned(), drained)
        }),
    );
    text.push('}');
    text
}
