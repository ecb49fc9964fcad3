//! Pages that nobody writes any more: which those are, and how long they are kept.
//!
//! A page is dead when its writer's lock is gone (see `mapping.rs`) and its process does not run. The lock alone tells of
//! pages of another pid namespace, such as another container's in a shared directory: their pids mean nothing here. A
//! file that is no complete page is judged by the pid in its name, once it is so old that nobody is about to complete it,
//! because that pid may be of another namespace, too.
//!
//! A process that a signal kills removes nothing. Its pages are those that the next program of the same user with a loop in it
//! finds, or whoever of that user lists processes (`loopscope ls`, `loopscope serve`): up to 32 stay, which is 17 MiB.
//!
//! The age of a dead page counts from when a process that made a page first found it dead. Its file's own date would not
//! do: stores to a mapped tmpfs file move it only where they first touch a block, so that it tells when the page was
//! made, and the page of a service that ran for days would be gone at its restart.
//!
//! A process that replaces its program (execve(2)) keeps its pid and start time, so that the loops of the former program
//! seem to live on, and to be stalled until the process ends. The next program's first loop ends them.

use crate::file_limit::without_signals;
use crate::page::{HeaderWords, MAGIC};
use crate::page_file_name::{Owner, PageFile, open_page_file, page_files, pid_namespace};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// At most this many pages of dead processes are kept, and all of the one that was found last.
pub const DEAD_PAGES: usize = 32;

/// Pages that were found dead longer ago than this are removed.
pub const DEAD_AGE: Duration = Duration::from_secs(24 * 3600);

/// What is no complete page after so long will never be one: its writer takes some microseconds.
const MAKING: Duration = Duration::from_secs(60);

/// Removes pages of dead processes beyond the bounds of number and age, and those of loops that ended in order: their
/// processes could not remove them, because they had dropped their privileges. A page that a process still writes stays,
/// whatever namespace that process is in. What cannot be removed or read is left as it is.
pub fn remove_dead_pages(directory: &Path) {
    let Ok(files) = page_files(directory) else { return };
    let (now, here) = (SystemTime::now(), pid_namespace());
    let found_dead = |file: PageFile| {
        // What cannot be opened was removed by somebody else just now, or is no page.
        let page = open_page_file(&file.path).ok()?;
        if let Some(since) = found_dead_at(&page) {
            if !has_writer(&page) {
                return Some((since, file));
            }
            // Whoever found it dead was wrong.
            let _ = page.set_permissions(Permissions::from_mode(0o600));
            return None;
        }
        if is_finished(&page) {
            let _ = fs::remove_file(&file.path);
            return None;
        }
        if !is_dead(&page, file.owner, here, now) {
            return None;
        }
        // What cannot be marked counts as found now, and is kept.
        Some((mark_dead(&page, now).unwrap_or(now), file))
    };
    let mut dead: Vec<(SystemTime, PageFile)> = files.into_iter().filter_map(found_dead).collect();
    dead.sort_by(|(since, file), (other, another)| (other, &another.path).cmp(&(since, &file.path)));
    // A process of many loops stays whole: whoever asks what it did is not to find half of it.
    let newest = dead.first().map(|(_, file)| file.owner);
    for (number, (since, file)) in dead.into_iter().enumerate() {
        let age = now.duration_since(since).unwrap_or_default();
        if (number >= DEAD_PAGES && Some(file.owner) != newest) || age > DEAD_AGE {
            // Another process may have removed it first.
            let _ = fs::remove_file(file.path);
        }
    }
}

/// Ends the loops that this process ran before it replaced its program, for those who follow them, and removes their
/// pages. Returns a number above theirs: a page that took the path of one would be taken for it.
pub(crate) fn end_replaced(directory: &Path) -> u32 {
    let (me, here) = (Owner::this_process(), pid_namespace());
    if here == 0 {
        // Without /proc there is no start time, and a pid alone may have been another process's.
        return 0;
    }
    // By its lock, because this process may hold another copy of this crate, such as a plugin's, with pages of its own.
    let has_no_writer = |page: &File| namespace_of(page) == Some(here) && !is_locked(page);
    let is_replaced = |file: &PageFile| {
        file.owner == me && open_page_file(&file.path).is_ok_and(|page| has_no_writer(&page))
    };
    let files = page_files(directory).unwrap_or_default().into_iter().filter(is_replaced);
    let end = |number_min: u32, file: PageFile| {
        end_page(&file.path);
        number_min.max(file.number.saturating_add(1))
    };
    files.fold(0, end)
}

/// Says on a page that its loop ended in order, as its writer would have, and removes it.
fn end_page(path: &Path) {
    const IS_CLOSED: u64 = std::mem::offset_of!(HeaderWords, is_closed) as u64;
    if let Ok(page) = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        // Whoever follows it sees it end with the process at the latest.
        let _ = without_signals(|| page.write_all_at(&1_u64.to_ne_bytes(), IS_CLOSED));
    }
    let _ = fs::remove_file(path);
}

/// Tells whether nobody writes this page any more; `here` is the pid namespace of this process.
fn is_dead(page: &File, owner: Owner, here: u64, now: SystemTime) -> bool {
    match namespace_of(page) {
        Some(_) if has_writer(page) => false,
        // 0 is a namespace that could not be told.
        Some(namespace) if namespace != here || here == 0 => true,
        Some(_) => !owner.is_alive(),
        None => !owner.is_alive() && !may_be_in_the_making(page, now),
    }
}

/// Tells whether a file that is no complete page is so young that it may become one.
fn may_be_in_the_making(page: &File, now: SystemTime) -> bool {
    let changed = page.metadata().and_then(|facts| facts.modified());
    changed.is_ok_and(|changed| now.duration_since(changed).unwrap_or_default() < MAKING)
}

/// Tells whether the loop of a page ended in order, and nobody writes it any more.
fn is_finished(page: &File) -> bool {
    const AT: usize = std::mem::offset_of!(HeaderWords, is_closed);
    head_word::<{ AT + 8 }>(page) == Some(1) && !is_locked(page)
}

/// Returns the pid namespace that a page, of whatever version, was written in; `None` where it is no complete page.
fn namespace_of(page: &File) -> Option<u64> {
    const AT: usize = std::mem::offset_of!(HeaderWords, pid_namespace);
    head_word::<{ AT + 8 }>(page)
}

/// Returns the last of the first `BYTES` bytes as a word; `None` where it is no complete page.
fn head_word<const BYTES: usize>(page: &File) -> Option<u64> {
    let mut head = [0; BYTES];
    page.read_exact_at(&mut head, 0).ok()?;
    let (magic, word) = (head.first_chunk()?, head.last_chunk()?);
    (u64::from_ne_bytes(*magic) == MAGIC).then_some(u64::from_ne_bytes(*word))
}

/// Tells whether a process still writes this page, by the lock that it holds as long as it runs and does not replace its
/// program. That is true in whatever pid or time namespace it and we are, where pids and start times tell other things.
///
/// Of what is no complete page nobody asks, because its writer may be about to take the lock.
pub fn has_writer(page: &File) -> bool {
    namespace_of(page).is_some() && is_locked(page)
}

/// Tells whether the writer of a complete page holds its lock.
fn is_locked(page: &File) -> bool {
    match page.try_lock_shared() {
        Ok(()) => {
            // Where that fails, it goes with the file. Nobody waits for it: whoever asks takes a shared one, too.
            let _ = page.unlock();
            false
        }
        Err(_) => true,
    }
}

/// Returns when a page was first found dead, as [`mark_dead`] marked it; `None` where it was not.
fn found_dead_at(page: &File) -> Option<SystemTime> {
    const ANY_WRITE: u32 = 0o222;
    let facts = page.metadata().ok()?;
    (facts.mode() & ANY_WRITE == 0).then(|| facts.modified().ok())?
}

/// Marks a dead page as found at `now`: by its file's date, and by a mode that lets nobody write, which says that the date is
/// that of the mark.
fn mark_dead(page: &File, now: SystemTime) -> io::Result<SystemTime> {
    // In this order: whoever finds the page between the two, or after one of them failed, sets the date again.
    page.set_modified(now)?;
    page.set_permissions(Permissions::from_mode(0o400))?;
    Ok(now)
}

// Not under Miri, which has neither file modes nor shared mappings.
#[cfg(all(test, not(miri)))]
#[path = "stale_pages_tests.rs"]
mod tests;
