//! Tests of what is removed of the pages of the dead.

use super::*;
use crate::directory::Owner;
use crate::memory::Memory;
use crate::scratch::{Scratch, living_child, me};
use std::fs::File;

/// Puts a page file of that owner and age into the directory.
fn left_page(scratch: &Scratch, owner: Owner, number: u32, age: Duration) -> PathBuf {
    let path = scratch.file(&format!("{}-{}-{number}.page", owner.pid, owner.start), b"");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
    path
}

#[test]
fn dead_pages_are_kept_within_bounds_and_live_ones_always() {
    let scratch = Scratch::made();
    let dead = Owner { start: me().start + 1, ..me() };
    let (mut child, living) = living_child();
    let kept = left_page(&scratch, living, 0, DEAD_AGE * 3);
    let minute = Duration::from_secs(60);
    let pages: Vec<_> =
        (0..DEAD_PAGES as u32 + 8).map(|number| left_page(&scratch, dead, number, minute * number)).collect();
    prune(&scratch.0);
    for (number, path) in pages.iter().enumerate() {
        assert_eq!(path.exists(), number < DEAD_PAGES, "the dead page number {number} from the youngest");
    }
    assert!(kept.exists(), "a live page is never pruned");

    let young = left_page(&scratch, dead, 1, DEAD_AGE - minute);
    let old = left_page(&scratch, dead, 2, DEAD_AGE + minute);
    let stranger = scratch.file("notes.txt", b"not a page");
    prune(&scratch.0);
    assert_eq!((young.exists(), old.exists(), stranger.exists()), (true, false, true));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_new_page_prunes_the_dead_before_it() {
    let scratch = Scratch::made();
    let old = left_page(&scratch, Owner { start: 1, ..me() }, 0, DEAD_AGE * 2);
    let memory = Memory::shared(Some(&scratch.0));
    assert!(memory.path().unwrap().exists() && !old.exists());
}
