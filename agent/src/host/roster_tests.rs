//! Pages that come, end, and take each other's names, with loops of this very process.

use super::*;
use loopscope_probe::Writer;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::{AtomicU32, Ordering};

const KEEP_NS: u64 = 1_000;

/// A directory in memory, of this test alone, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/loopscope-roster-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Scratch(path)
    }

    fn writer(&self, name: &str) -> Writer {
        Writer::builder(name).runtime("mio").directory(&self.0).build()
    }

    fn roster(&self, loops_max: usize) -> Roster {
        Roster::new(vec![self.0.clone()], KEEP_NS, loops_max)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn labels(roster: &mut Roster) -> Vec<String> {
    roster.views().loops.into_iter().map(|view| view.label).collect()
}

#[test]
fn a_loop_that_ended_stays_for_a_while_without_what_it_no_longer_has() {
    let scratch = Scratch::new();
    let mut roster = scratch.roster(100);
    let mut writer = scratch.writer("web");
    assert_eq!(roster.follow(1), [""; 0]);
    writer.resume();
    writer.suspend();
    writer.handles(loopscope_probe::HandleType::Timeout, 3);
    roster.look(2);
    let view = roster.views().loops.remove(0);
    assert_eq!((view.snapshot.active_ns > 0, view.snapshot.handles.iter().sum::<u64>()), (true, 3));
    assert_eq!(view.owner.as_ref().unwrap().pid, std::process::id().to_string());
    drop(writer);
    roster.look(10);
    let left = roster.views().loops.remove(0);
    assert_eq!(left.snapshot.active_ns, view.snapshot.active_ns);
    assert_eq!((left.snapshot.handles.iter().sum::<u64>(), left.utilization), (0, 0.0));
    assert_eq!(roster.processes(), (0, 1));
    roster.follow(10 + KEEP_NS - 1);
    assert_eq!(labels(&mut roster), ["web"]);
    roster.follow(10 + KEEP_NS);
    assert_eq!(labels(&mut roster), [""; 0]);
}

#[test]
fn a_new_loop_takes_the_name_of_one_that_ended_and_not_of_one_that_lives() {
    let scratch = Scratch::new();
    let mut roster = scratch.roster(100);
    let first = scratch.writer("web");
    roster.follow(1);
    let second = scratch.writer("web");
    roster.follow(2);
    assert_eq!(labels(&mut roster), ["web", "web#2"]);
    drop(first);
    roster.look(3);
    let third = scratch.writer("web");
    roster.follow(4);
    assert_eq!(labels(&mut roster), ["web#2", "web"]);
    drop((second, third));
}

#[test]
fn loops_past_the_labels_are_one_and_loops_past_the_bound_are_said() {
    let scratch = Scratch::new();
    let mut roster = scratch.roster(67);
    let writers: Vec<Writer> = (0..68).map(|_| scratch.writer("worker")).collect();
    let notes = roster.follow(1);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("67 loops") && notes[0].contains("ulimit -n"), "{notes:?}");
    let labels = labels(&mut roster);
    assert_eq!((labels.len(), labels[0].as_str(), labels[64].as_str()), (65, "worker", OTHER));
    assert_eq!(roster.follow(2), [""; 0], "once");
    assert!(roster.refused().contains(&("too_many", 1)));
    drop(writers);
}
