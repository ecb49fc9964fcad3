//! A forked child shares its parent's memory maps: here it is shown that it does not write its parent's page.
#![cfg(all(target_os = "linux", not(loom)))]

use loopscope_probe::raw::{directory, registry};
use loopscope_probe::{Kind, SiteId, Snapshot, TaskTimes, Writer};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Forks happen one test at a time: a child that was forked while another test makes a page finds the list of pages
/// locked for ever.
static ALONE: Mutex<()> = Mutex::new(());

/// A private directory in memory, removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn run_callbacks(writer: &mut Writer, count: usize) {
    writer.resume();
    for _ in 0..count {
        writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
        writer.end();
        writer.drained();
    }
    writer.iteration();
    writer.suspend();
}

fn page_file(directory: &Path) -> PathBuf {
    directory::page_files(directory).unwrap()[0].path.clone()
}

fn in_file(path: &Path, writer: &Writer) -> Snapshot {
    directory::read_page(path).unwrap().snapshot(writer.clock())
}

fn timers(snapshot: &Snapshot) -> u64 {
    snapshot.run[Kind::Timer.index()].count()
}

/// Runs `child` in a forked child, and returns whether it returned true.
fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `child` alone, on its one thread, and leaves by `_exit`. No other thread of this test
    // program holds a lock that it needs: the tests here run one at a time, and the C library takes the allocator's
    // locks over the fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let is_good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!is_good)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above; `status` has room for the answer.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

fn scratch(name: &str) -> Scratch {
    Scratch(PathBuf::from(format!("/dev/shm/loopscope-fork-{name}-{}", std::process::id())))
}

#[test]
fn a_forked_child_that_ends_its_loop_leaves_its_parents_page() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scratch = scratch("end");
    let mut writer = Some(Writer::builder("parent").directory(&scratch.0).build());
    let path = page_file(&scratch.0);
    assert!(in_child(|| {
        drop(writer.take());
        path.exists()
    }));
    let page = directory::read_page(&path).unwrap();
    assert!(!page.is_closed());
    drop(writer);
    assert!(!path.exists());
}

/// Tells whether this process has the file open.
fn has_open(path: &Path) -> bool {
    let mut descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors.any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|target| target == path))
}

#[test]
fn a_forked_child_does_not_keep_its_parents_page_open() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scratch = scratch("open");
    let mut writer = Some(Writer::builder("parent").directory(&scratch.0).build());
    let path = page_file(&scratch.0);
    assert!(has_open(&path));
    assert!(in_child(|| {
        let was_open = has_open(&path);
        // It may get the number that the descriptor had, and is not closed in its place.
        let other = File::open("/dev/null").unwrap();
        drop(writer.take());
        !was_open && other.metadata().is_ok()
    }));
    assert!(File::open(&path).unwrap().try_lock_shared().is_err(), "the parent holds its lock still");
    drop(writer);
    assert!(!has_open(&path));
}

#[test]
fn a_forked_child_does_not_write_its_parents_page() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scratch = scratch("write");
    let mut writer = Writer::builder("parent").directory(&scratch.0).build();
    let path = page_file(&scratch.0);
    run_callbacks(&mut writer, 5);
    assert_eq!(timers(&in_file(&path, &writer)), 5);

    let child_is_good = in_child(|| {
        // The loop goes on in the child, on memory of its own that began with zeros, through many batches.
        run_callbacks(&mut writer, 1000);
        let own = writer.page().snapshot(writer.clock());
        let parents = in_file(&path, &writer);
        timers(&own) == 1000 && timers(&parents) == 5 && parents.iterations == 1
    });
    assert!(child_is_good, "the child's callbacks reached its parent's page, or not its own");

    let after = in_file(&path, &writer);
    assert_eq!((timers(&after), after.iterations, after.facts.pid), (5, 1, std::process::id()));
    run_callbacks(&mut writer, 2);
    assert_eq!(timers(&in_file(&path, &writer)), 7, "the parent's page still is its own");
}

/// Tells whether this process has a page file of that directory mapped.
fn has_mapped(directory: &Path) -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().contains(directory.to_str().unwrap())
}

#[test]
fn no_forked_child_has_a_page_however_far_its_making_and_dropping_is() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scratch = scratch("race");
    let is_over = AtomicBool::new(false);
    let make_and_drop = || {
        while !is_over.load(Ordering::Relaxed) {
            drop(Writer::builder("brief").directory(&scratch.0).build());
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(make_and_drop);
        let bad = (0..400).filter(|_| !in_child(|| !has_mapped(&scratch.0))).count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(bad, 0, "children that hold their parent's page, and its lock");
    });
}

#[test]
fn a_forked_child_lists_its_own_loops_and_its_parent_keeps_its_list() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let private = || Writer::builder("listed").private().build();
    let mut writer = Some(private());
    let labels = || -> Vec<String> { registry::pages().iter().map(|page| page.label().to_owned()).collect() };
    let parents = registry::pages().into_iter().find(|page| page.label() == "listed").unwrap();
    let control = parents.take_control().unwrap();
    assert!(in_child(|| {
        let was_empty = labels().is_empty();
        let own = private();
        let is_own_watched = registry::pages()[0].take_control().is_some();
        // One that goes on here, or ends, is none of the child's list.
        drop(writer.take());
        let is_there = labels() == ["listed"];
        let has_grandchild_none = in_child(|| labels().is_empty());
        drop(own);
        was_empty && is_own_watched && is_there && has_grandchild_none && labels().is_empty()
    }));
    assert!(labels().iter().any(|label| label == "listed"));
    assert!(parents.take_control().is_none(), "its agent has it still");
    drop((control, writer));
}

/// With a lock that is waited for, the first child of these already hangs.
#[test]
fn a_child_forked_while_another_thread_has_the_list_can_make_and_end_loops() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_over = AtomicBool::new(false);
    let private = |name| Writer::builder(name).private().build();
    let mut inherited: Vec<Writer> = (0..32).map(|_| private("inherited")).collect();
    std::thread::scope(|scope| {
        // It holds the list most of the time.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(registry::pages());
            }
        });
        for _ in 0..20 {
            assert!(in_child(|| {
                drop(inherited.pop());
                drop(private("own"));
                true
            }));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
