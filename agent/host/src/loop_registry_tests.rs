//! Pages that come, end, and take each other's names, with loops of this very process.

use super::*;
use loopscope_probe::raw::limits::COUNT_MAX;
use loopscope_probe::raw::loop_id::OTHER;
use loopscope_probe::{Clock, Writer};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, FileExt, chown, lchown, symlink};
use std::path::Path;
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

    /// Each test has names of its own: labels are unique in a process.
    fn writer(&self, name: &str) -> Writer {
        Writer::builder(name).runtime("mio").directory(&self.0).build()
    }

    fn registry(&self, loops_max: usize) -> LoopRegistry {
        LoopRegistry::new(vec![self.0.clone()], KEEP_NS, loops_max)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Writes a word over a page, as a hostile program can over its own.
fn overwrite(path: &Path, offset: usize, word: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&word.to_ne_bytes(), offset as u64).unwrap();
}

/// Returns where on a page the count of ended stalls is: the word that they change with.
fn place_of_stalls(path: &Path) -> usize {
    let (file, mut page, clock) =
        (fs::File::open(path).unwrap(), directory::blank_page(), Clock::monotonic());
    let whole = fs::read(path).unwrap();
    let tells = |offset: &usize| {
        let before = u64::from_ne_bytes(whole[*offset..*offset + 8].try_into().unwrap());
        overwrite(path, *offset, 987_654_321);
        let read = directory::read_vitals_into(&file, &mut page);
        overwrite(path, *offset, before);
        read.is_ok() && page.vitals_at(&clock, clock.now()).stalls_ended == 987_654_321
    };
    (0..whole.len()).step_by(8).find(tells).unwrap()
}

fn labels(registry: &mut LoopRegistry) -> Vec<String> {
    registry.views().into_iter().map(|view| view.label).collect()
}

#[test]
fn a_loop_that_ended_stays_for_a_while_without_what_it_no_longer_has() {
    let scratch = Scratch::new();
    let mut registry = scratch.registry(100);
    let mut writer = scratch.writer("leaver");
    assert_eq!(registry.follow(1), [""; 0]);
    writer.resume();
    writer.suspend();
    writer.handles(loopscope_probe::HandleType::Timeout, 3);
    registry.look(2);
    let view = registry.views().remove(0);
    assert_eq!((view.snapshot.active_ns > 0, view.snapshot.handles.iter().sum::<u64>()), (true, 3));
    assert_eq!(view.owner.as_ref().unwrap().pid, std::process::id().to_string());
    drop(writer);
    registry.look(10);
    let left = registry.views().remove(0);
    assert_eq!(left.snapshot.active_ns, view.snapshot.active_ns);
    assert_eq!((left.snapshot.handles.iter().sum::<u64>(), left.utilization), (0, 0.0));
    assert_eq!(registry.processes(), (0, 1));
    registry.follow(10 + KEEP_NS - 1);
    assert_eq!(labels(&mut registry), ["leaver"]);
    registry.follow(10 + KEEP_NS);
    assert_eq!(labels(&mut registry), [""; 0]);
}

#[test]
fn a_new_loop_takes_the_name_of_one_that_ended_and_not_of_one_that_lives() {
    let scratch = Scratch::new();
    let mut registry = scratch.registry(100);
    let first = scratch.writer("web");
    registry.follow(1);
    let second = scratch.writer("web");
    registry.follow(2);
    assert_eq!(labels(&mut registry), ["web", "web#2"]);
    drop(first);
    registry.look(3);
    let third = scratch.writer("web");
    registry.follow(4);
    assert_eq!(labels(&mut registry), ["web#2", "web"]);
    drop((second, third));
}

#[test]
fn a_roster_that_comes_late_calls_a_loop_what_its_process_does() {
    let scratch = Scratch::new();
    let (first, second) = (scratch.writer("late twin"), scratch.writer("late twin"));
    drop(first);
    let mut late = scratch.registry(100);
    late.follow(1);
    assert_eq!(labels(&mut late), ["late twin#2"]);
    drop(second);
}

#[test]
fn loops_past_the_labels_are_one_and_loops_past_the_bound_are_said() {
    let scratch = Scratch::new();
    let mut registry = scratch.registry(67);
    let writers: Vec<Writer> = (0..68).map(|_| scratch.writer("worker")).collect();
    let notes = registry.follow(1);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("67 loops") && notes[0].contains("ulimit -n"), "{notes:?}");
    let labels = labels(&mut registry);
    assert_eq!((labels.len(), labels[0].as_str(), labels[64].as_str()), (65, "worker", OTHER));
    assert_eq!(registry.follow(2), [""; 0], "once");
    assert!(registry.refused().contains(&("too_many", 1)));
    drop(writers);
}

/// Makes files that are named like pages, of a process that is not there.
fn litter(directory: &Path, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| fs::write(directory.join(format!("7-1-{number}.page")), "no page").unwrap());
}

#[test]
fn a_directory_full_of_files_costs_a_bounded_look_and_a_few_lines() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let mut registry = LoopRegistry::new(vec![scratch.0.clone(), other.0.clone()], KEEP_NS, 100);
    litter(&scratch.0, 0..1_000);
    let writer = other.writer("beside");
    let mut notes = registry.follow(1);
    assert_eq!(labels(&mut registry), ["beside"]);
    assert_eq!(registry.left().len(), 400, "four times the loops that are followed");
    assert_eq!(notes.len(), 1, "{notes:?}");
    let cut = notes.remove(0);
    assert!(cut.contains(scratch.0.to_str().unwrap()) && cut.contains("400"), "{cut}");
    assert_eq!(registry.follow(2), [""; 0], "once");
    fs::read_dir(&scratch.0).unwrap().flatten().for_each(|entry| fs::remove_file(entry.path()).unwrap());
    assert_eq!(registry.follow(3), [""; 0]);
    assert!(registry.left().is_empty());
    litter(&scratch.0, 0..500);
    assert_eq!(registry.follow(4), [cut], "it is full again");
    drop(writer);
}

#[test]
fn many_pages_of_a_directory_that_are_skipped_are_a_few_lines_and_a_count() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let mut registry = LoopRegistry::new(vec![scratch.0.clone(), other.0.clone()], KEEP_NS, 100);
    // Files of this process, which lives, in the first directory, and one in the second.
    let own = directory::Owner::this_process();
    let write = |directory: &Path, number: u32| {
        let name = format!("{}-{}-{number}.page", own.pid, own.start);
        fs::write(directory.join(name), "no page").unwrap();
    };
    (0..100).for_each(|number| write(&scratch.0, 1_000 + number));
    write(&other.0, 5_000);
    assert_eq!(registry.follow(1), [""; 0], "they may be in the making");
    let notes = registry.follow(2);
    let of =
        |directory: &Path| notes.iter().filter(|line| line.contains(directory.to_str().unwrap())).count();
    assert_eq!((notes.len(), of(&scratch.0), of(&other.0)), (10, 9, 1), "{notes:#?}");
    assert!(notes.iter().any(|line| line.contains("92 more page files")), "{notes:#?}");
    assert!(registry.refused().contains(&("damaged", 101)));
    // More of them are counted, and not said.
    (100..110).for_each(|number| write(&scratch.0, 1_000 + number));
    assert_eq!((registry.follow(3), registry.follow(4)), (vec![], vec![]));
    assert!(registry.refused().contains(&("damaged", 111)));
}

#[test]
fn a_count_of_stalls_that_jumps_is_a_number_and_no_work() {
    let scratch = Scratch::new();
    let mut registry = scratch.registry(100);
    let writer = scratch.writer("jumper");
    registry.follow(1);
    registry.look(2);
    let path = registry.entries()[0].path.clone();
    overwrite(&path, place_of_stalls(&path), u64::MAX);
    registry.look(3);
    assert_eq!(registry.views()[0].stalls.episodes.iter().sum::<u64>(), COUNT_MAX);
    drop(writer);
}

#[test]
fn a_page_of_another_user_does_not_speak_for_a_process() {
    const NOBODY: u32 = 65_534;
    let (scratch, linked) = (Scratch::new(), Scratch::new());
    let given_away = scratch.writer("main");
    let path = directory::page_files(&scratch.0).unwrap().remove(0).path;
    let link = linked.0.join("pages");
    symlink(&scratch.0, &link).unwrap();
    if chown(&path, Some(NOBODY), None).and_then(|()| lchown(&link, Some(NOBODY), None)).is_err() {
        println!("only root can give files away: nothing was checked");
        return;
    }
    let mut registry = scratch.registry(100);
    let notes = registry.follow(1);
    assert!(notes[0].contains("belongs to user 65534, but process") && notes.len() == 1, "{notes:?}");
    assert_eq!(registry.follow(2), [""; 0], "once");
    assert!(registry.refused().contains(&("foreign", 1)));
    let own = scratch.writer("own");
    registry.follow(3);
    assert_eq!(labels(&mut registry), ["own"]);
    let mut by_link = LoopRegistry::new(vec![link], KEEP_NS, 100);
    let notes = by_link.follow(1);
    assert!(notes.iter().any(|note| note.contains("is in a directory of user 65534")), "{notes:?}");
    assert_eq!(labels(&mut by_link), [""; 0]);
    drop((given_away, own));
}

#[test]
fn pages_of_processes_that_were_killed_are_removed_beyond_a_number_in_own_directories_only() {
    const NOBODY: u32 = 65_534;
    let (own, others) = (Scratch::new(), Scratch::new());
    let writer = own.writer("killed");
    let page = directory::page_files(&own.0).unwrap().remove(0);
    let bytes = fs::read(&page.path).unwrap();
    let Owner { pid, start } = page.owner;
    let leave = |scratch: &Scratch, first: usize| {
        for number in first..first + directory::DEAD_PAGES + 8 {
            fs::write(scratch.0.join(format!("{pid}-{}-{number}.page", start + 1 + number as u64)), &bytes)
                .unwrap();
        }
    };
    let left = |scratch: &Scratch| directory::page_files(&scratch.0).unwrap().len();
    leave(&own, 0);
    let mut registry = own.registry(1_000);
    registry.follow(1);
    assert_eq!(left(&own), directory::DEAD_PAGES + 1);
    assert!(page.path.exists(), "it lives");
    leave(&own, 1_000);
    registry.follow(PRUNED_EVERY_NS);
    assert_eq!(left(&own), 2 * directory::DEAD_PAGES + 9, "not each time");
    registry.follow(PRUNED_EVERY_NS + 1);
    assert_eq!(left(&own), directory::DEAD_PAGES + 1);
    leave(&others, 0);
    if chown(&others.0, Some(NOBODY), None).is_ok() {
        others.registry(1_000).follow(1);
        assert_eq!(left(&others), directory::DEAD_PAGES + 8, "they are another user's");
    }
    drop(writer);
}

#[test]
fn a_page_that_tells_of_another_process_is_passed_over() {
    // The fourth word of a page is its pid.
    const PID_OFFSET: usize = 24;
    let scratch = Scratch::new();
    let mut registry = scratch.registry(100);
    let writer = scratch.writer("liar");
    registry.follow(1);
    overwrite(&registry.entries()[0].path.clone(), PID_OFFSET, 1);
    let mut read = Vec::new();
    registry.read_each(|_, reading| read.push(reading.map(|_| ()).map_err(|error| error.kind())));
    assert_eq!(read, [Err(io::ErrorKind::InvalidData)]);
    let mut late = scratch.registry(100);
    assert_eq!(late.follow(1), [""; 0], "it may be in the making");
    let notes = late.follow(2);
    assert!(notes[0].contains("says that 1 (started at"), "{notes:?}");
    assert_eq!((labels(&mut late), late.refused()[1]), (vec![], ("damaged", 1)));
    drop(writer);
}

#[test]
fn a_runtime_is_one_row_and_what_its_workers_counted_stays_when_they_leave() {
    let scratch = Scratch::new();
    let mut registry = scratch.registry(100);
    let worker = |number: u32| {
        let builder = Writer::builder(&format!("rt/{number}")).worker("rt", number);
        let mut writer = builder.directory(&scratch.0).build();
        writer.resume();
        writer.iteration();
        writer.park();
        writer
    };
    let mut writers: Vec<Writer> = (0..3).map(worker).collect();
    registry.follow(1);
    registry.look(2);
    let told = |registry: &mut LoopRegistry| {
        let views = registry.views();
        assert_eq!((views.len(), &*views[0].label), (1, "rt"));
        (views[0].snapshot.iterations, views[0].workers.len())
    };
    assert_eq!(told(&mut registry), (3, 3));
    writers.pop();
    registry.look(10);
    registry.follow(10 + KEEP_NS);
    assert_eq!(told(&mut registry), (3, 2), "it has left");
    writers.push(worker(2));
    registry.follow(2_001);
    assert_eq!(told(&mut registry), (4, 3), "another one has come in its place");
}

#[test]
fn what_ended_loops_without_a_label_counted_stays_while_their_process_has_others() {
    let scratch = Scratch::new();
    let mut registry = scratch.registry(100);
    let turned = || {
        let mut writer = scratch.writer("turned");
        writer.resume();
        writer.park();
        for _ in 0..5 {
            writer.unpark(1);
            writer.iteration();
            writer.park();
        }
        writer
    };
    let mut writers: Vec<Writer> = (0..67).map(|_| turned()).collect();
    let counted = |registry: &mut LoopRegistry| {
        let other = registry.views().into_iter().find(|view| view.label == OTHER);
        other.map_or(0, |view| view.snapshot.iterations)
    };
    registry.follow(1);
    registry.look(2);
    let all = counted(&mut registry);
    assert!(all >= 15, "{all}");
    writers.pop();
    registry.look(10);
    assert_eq!(counted(&mut registry), all);
    registry.follow(10 + KEEP_NS);
    assert_eq!((counted(&mut registry), registry.entries().len()), (all, 66), "it has left");
    writers.pop();
    registry.look(2_000);
    writers.push(turned());
    registry.follow(2_001);
    assert_eq!(
        (counted(&mut registry), registry.entries().len()),
        (all / 3 * 4, 66),
        "a new one has taken its name"
    );
    writers.clear();
    registry.look(3_000);
    assert_eq!(counted(&mut registry), all / 3 * 4);
    registry.follow(3_000 + KEEP_NS);
    assert!(registry.views().is_empty(), "the sum of those without a label has left, too");
}
