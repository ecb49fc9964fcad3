//! Tests of what is removed of the pages of the dead.

use super::*;
use crate::Writer;
use crate::memory::Memory;
use crate::scratch::{Scratch, living_child, me};
use std::fs::File;
use std::path::PathBuf;

/// Puts a page file of that owner into the directory, made that long ago.
fn made_page(scratch: &Scratch, owner: Owner, number: u32, age: Duration) -> PathBuf {
    let path = scratch.file(&format!("{}-{}-{number}.page", owner.pid, owner.start), b"");
    wait(&path, age);
    path
}

/// Puts a page file of that owner into the directory, found dead that long ago.
fn left_page(scratch: &Scratch, owner: Owner, number: u32, age: Duration) -> PathBuf {
    let path = made_page(scratch, owner, number, age);
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    path
}

/// Makes a file look as it will after some time.
fn wait(path: &Path, time: Duration) {
    let file = File::open(path).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - time).unwrap();
}

#[test]
fn dead_pages_are_kept_within_bounds_and_live_ones_always() {
    let scratch = Scratch::made();
    let dead = |number: u32| Owner { start: me().start + 1 + u64::from(number), ..me() };
    let (mut child, living) = living_child();
    let kept = made_page(&scratch, living, 0, DEAD_AGE * 3);
    let minute = Duration::from_secs(60);
    let pages: Vec<_> = (0..DEAD_PAGES as u32 + 8)
        .map(|number| left_page(&scratch, dead(number), number, minute * number))
        .collect();
    remove_dead_pages(&scratch.0);
    for (number, path) in pages.iter().enumerate() {
        assert_eq!(path.exists(), number < DEAD_PAGES, "the dead page number {number} from the youngest");
    }
    assert!(kept.exists(), "a live page is never removed");

    pages[1..=2].iter().for_each(|path| fs::remove_file(path).unwrap());
    let young = left_page(&scratch, dead(1), 1, DEAD_AGE - minute);
    let old = left_page(&scratch, dead(2), 2, DEAD_AGE + minute);
    let stranger = scratch.file("notes.txt", b"not a page");
    remove_dead_pages(&scratch.0);
    assert_eq!((young.exists(), old.exists(), stranger.exists()), (true, false, true));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn all_pages_of_the_process_that_was_found_dead_last_are_kept() {
    let scratch = Scratch::made();
    let dead = |number: u64| Owner { start: me().start + 1 + number, ..me() };
    let minute = Duration::from_secs(60);
    let others: Vec<_> = (1..4).map(|number| left_page(&scratch, dead(number), 0, minute)).collect();
    let many: Vec<_> =
        (0..DEAD_PAGES as u32 + 8).map(|number| made_page(&scratch, dead(0), number, minute)).collect();
    for _ in 0..2 {
        remove_dead_pages(&scratch.0);
        assert!(many.iter().all(|path| path.exists()), "a runtime with many workers was killed");
        assert!(others.iter().all(|path| !path.exists()), "there is no room for others");
    }
}

#[test]
fn a_page_is_kept_for_a_day_from_when_it_was_found_dead_however_old_it_is() {
    let scratch = Scratch::made();
    let (mut child, owner) = living_child();
    let path = made_page(&scratch, owner, 0, DEAD_AGE * 3);
    remove_dead_pages(&scratch.0);
    let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
    assert_ne!(mode(), 0o400, "it lives");
    drop(child.stdin.take());
    child.wait().unwrap();
    remove_dead_pages(&scratch.0);
    assert!(path.exists(), "it died just now");
    assert_eq!(mode(), 0o400);
    wait(&path, DEAD_AGE - Duration::from_secs(60));
    remove_dead_pages(&scratch.0);
    assert!(path.exists(), "nobody finds it dead for the first time again");
    wait(&path, Duration::from_secs(120));
    remove_dead_pages(&scratch.0);
    assert!(!path.exists());
}

#[test]
fn the_longest_dead_go_first_and_not_the_longest_made() {
    let scratch = Scratch::made();
    let dead = |number: u32| Owner { start: me().start + 1 + u64::from(number), ..me() };
    let hour = Duration::from_secs(3600);
    let (known, found) = (DEAD_PAGES as u32, DEAD_PAGES as u32 + 1);
    let known: Vec<_> = (1..=known).map(|number| left_page(&scratch, dead(number), number, hour)).collect();
    let found = made_page(&scratch, dead(found), found, hour * 100);
    remove_dead_pages(&scratch.0);
    assert!(found.exists());
    assert_eq!(known.iter().filter(|path| path.exists()).count(), DEAD_PAGES - 1);
}

/// Copies a page as a process of another pid namespace may have written it; by its name it is this process's. Somebody writes it
/// until the file is dropped.
fn foreign_page(scratch: &Scratch, page: &Path) -> (PathBuf, File) {
    let mut bytes = fs::read(page).unwrap();
    let at = std::mem::offset_of!(HeaderWords, pid_namespace);
    bytes[at..at + 8].copy_from_slice(&(pid_namespace() + 1).to_ne_bytes());
    // A number that no writer of this program comes to.
    let foreign = scratch.file(&format!("{}-{}-70000.page", me().pid, me().start), &bytes);
    let its_writer = File::options().write(true).open(&foreign).unwrap();
    its_writer.try_lock().unwrap();
    (foreign, its_writer)
}

#[test]
fn a_page_of_another_pid_namespace_lives_as_long_as_it_has_a_writer() {
    let scratch = Scratch::made();
    let writer = Writer::builder("here").directory(&scratch.0).build();
    let own = page_files(&scratch.0).unwrap()[0].path.clone();
    let (foreign, its_writer) = foreign_page(&scratch, &own);
    for path in [&own, &foreign] {
        wait(path, DEAD_AGE * 3);
        remove_dead_pages(&scratch.0);
        let mode = fs::metadata(path).unwrap().mode() & 0o777;
        assert_ne!(mode, 0o400, "{} counts as dead", path.display());
    }
    // As the kernel does when that process is killed.
    drop(its_writer);
    remove_dead_pages(&scratch.0);
    assert!(own.exists() && foreign.exists(), "it died just now");
    wait(&foreign, DEAD_AGE * 2);
    remove_dead_pages(&scratch.0);
    assert!(own.exists() && !foreign.exists(), "nobody else would remove it");
    drop(writer);
}

#[test]
fn a_page_that_is_being_made_in_another_pid_namespace_is_not_taken_for_dead() {
    let scratch = Scratch::made();
    // Its pid, as it is there, is nobody's here.
    let unseen = Owner { start: me().start + 1, ..me() };
    let empty = made_page(&scratch, unseen, 0, Duration::ZERO);
    let mode = || fs::metadata(&empty).unwrap().mode() & 0o777;
    remove_dead_pages(&scratch.0);
    assert_ne!(mode(), 0o400, "its writer takes the lock in a moment");
    wait(&empty, MAKING);
    remove_dead_pages(&scratch.0);
    assert_eq!(mode(), 0o400, "nobody makes a page for so long");
}

#[test]
fn a_page_that_was_taken_for_dead_by_mistake_lives_as_long_as_it_has_a_writer() {
    let scratch = Scratch::made();
    let writer = Writer::builder("here").directory(&scratch.0).build();
    let own = page_files(&scratch.0).unwrap()[0].path.clone();
    let (foreign, its_writer) = foreign_page(&scratch, &own);
    for path in [&own, &foreign] {
        fs::set_permissions(path, Permissions::from_mode(0o400)).unwrap();
        wait(path, DEAD_AGE * 2);
    }
    remove_dead_pages(&scratch.0);
    assert!(own.exists() && foreign.exists());
    drop(its_writer);
    remove_dead_pages(&scratch.0);
    assert!(foreign.exists(), "it died just now, and not when it was taken for dead");
    drop(writer);
}

#[test]
fn a_page_has_a_writer_whatever_start_time_its_process_has_to_whoever_asks() {
    let scratch = Scratch::made();
    let writer = Writer::builder("elsewhere").directory(&scratch.0).build();
    let file = page_files(&scratch.0).unwrap().remove(0);
    // As a process of another time namespace is seen.
    let owner = Owner { start: file.owner.start + 1, ..file.owner };
    let page = open_page_file(&file.path).unwrap();
    let copy = scratch.file("copy.page", &fs::read(&file.path).unwrap());
    for _ in 0..2 {
        assert!(!owner.is_alive() && has_writer(&page), "whoever asks leaves the lock alone");
        assert!(!has_writer(&File::open(&copy).unwrap()));
    }
    let incomplete = scratch.file("incomplete.page", b"");
    let its_writer = File::options().write(true).open(&incomplete).unwrap();
    assert!(!has_writer(&File::open(&incomplete).unwrap()));
    assert!(its_writer.try_lock().is_ok(), "who asked did not take it away");
    drop(writer);
    assert!(!has_writer(&page));
}

#[test]
fn a_page_without_a_lock_lives_as_long_as_its_process() {
    let scratch = Scratch::made();
    let writer = Writer::builder("here").directory(&scratch.0).build();
    let own = page_files(&scratch.0).unwrap()[0].path.clone();
    let (mut child, owner) = living_child();
    let name = format!("{}-{}-0.page", owner.pid, owner.start);
    let page = scratch.file(&name, &fs::read(own).unwrap());
    drop(writer);
    let mark = || {
        remove_dead_pages(&scratch.0);
        fs::metadata(&page).unwrap().mode() & 0o777
    };
    assert_ne!(mark(), 0o400);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(mark(), 0o400);
}

#[test]
fn a_page_whose_loop_ended_in_order_is_removed_at_once_and_its_neighbour_is_not() {
    let scratch = Scratch::made();
    let writer = Writer::builder("here").directory(&scratch.0).build();
    let own = page_files(&scratch.0).unwrap()[0].path.clone();
    let mut bytes = fs::read(&own).unwrap();
    let (mut child, owner) = living_child();
    let left = |number: u32, bytes: &[u8]| {
        scratch.file(&format!("{}-{}-{number}.page", owner.pid, owner.start), bytes)
    };
    let open = left(0, &bytes);
    let at = std::mem::offset_of!(HeaderWords, is_closed);
    bytes[at..at + 8].copy_from_slice(&1_u64.to_ne_bytes());
    // Of a process that lives on, without the right to remove it.
    let finished = left(1, &bytes);
    let being_dropped = left(2, &bytes);
    let its_writer = File::options().write(true).open(&being_dropped).unwrap();
    its_writer.try_lock().unwrap();
    remove_dead_pages(&scratch.0);
    assert_eq!((open.exists(), finished.exists(), being_dropped.exists()), (true, false, true));
    drop((writer, child.stdin.take()));
    child.wait().unwrap();
}

#[test]
fn a_new_page_prunes_the_dead_before_it() {
    let scratch = Scratch::made();
    let old = left_page(&scratch, Owner { start: 1, ..me() }, 0, DEAD_AGE * 2);
    let memory = Memory::shared(Some(&scratch.0));
    assert!(memory.path().unwrap().exists() && !old.exists());
}
