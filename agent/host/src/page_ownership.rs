//! Whether a page may speak for the process that its name says.
//!
//! All about a process is found by its pid: its agent's address, its incidents, its labels. But a page's name and header
//! are what its writer put there. So a page of a living process is followed only where the system bears it out: a process
//! makes its pages as the user that it runs as, in a folder of that user's. Of a process that has ended the system knows
//! nothing any more; its pages are told of and never asked about.
//!
//! Users are compared as this process sees them, those of files and those of processes alike, so it makes no difference in
//! which user namespace anybody is.

use loopscope_probe::raw::directory;
use loopscope_probe::raw::directory::{Owner, PageFile};
use loopscope_probe::raw::proc::{Status, Users};
use loopscope_probe::raw::snapshot::Facts;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

/// Root may do anything to any process, and a program that root started may have become another user's since.
const ROOT: u32 = 0;

/// Checks that a page was written by the process that its file is named after.
///
/// # Errors
/// Another one wrote it, or that is what its header says.
pub(crate) fn check_name(owner: Owner, facts: &Facts) -> io::Result<()> {
    let writer = Owner { pid: facts.pid, start: facts.pid_start };
    match writer == owner {
        true => Ok(()),
        false => {
            let because = format!(
                "is named after process {} (started at {}), but says that {} (started at {}) wrote it",
                owner.pid, owner.start, writer.pid, writer.start
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, because))
        }
    }
}

/// Returns why this page is not its process's, in words; `None` where it may be.
///
/// # Errors
/// The system does not tell whose it is.
pub(crate) fn objection(from: &PageFile, file: &File) -> io::Result<Option<String>> {
    let user = file.metadata()?.uid();
    // A link to a page, or to a folder of pages, belongs to whoever made it.
    let folder = fs::symlink_metadata(from.path.parent().unwrap_or(Path::new(".")))?.uid();
    if ![user, ROOT, directory::own_user()].contains(&folder) {
        return Ok(Some(format!("belongs to user {user}, but is in a directory of user {folder}")));
    }
    let is_alive = from.owner.is_alive() || directory::has_writer(file);
    let process = if is_alive { users_of(from.owner.pid)? } else { None };
    let objection = process.filter(|users| !may_speak(user, *users)).map(|users| {
        let Users { effective, .. } = users;
        format!("belongs to user {user}, but process {} runs as user {effective}", from.owner.pid)
    });
    Ok(objection)
}

fn may_speak(user: u32, process: Users) -> bool {
    [ROOT, process.effective, process.saved].contains(&user)
}

/// Returns the users of a process; `None` where there is none with that pid.
fn users_of(pid: u32) -> io::Result<Option<Users>> {
    // Not the owner of the folder in /proc: that of a process that may not be traced belongs to root.
    match Status::of_process(pid) {
        Ok(status) => {
            let because = "is of a process whose user is unknown";
            status.users().map(Some).ok_or_else(|| io::Error::other(because))
        }
        Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_those_that_the_process_runs_as_may_speak_for_it() {
        let users = Users { effective: 1000, saved: 1001 };
        for (user, may) in [(0, true), (1000, true), (1001, true), (1002, false), (65_534, false)] {
            assert_eq!(may_speak(user, users), may, "{user}");
        }
        let of_root = Users { effective: 0, saved: 0 };
        assert!(!may_speak(1000, of_root));
    }

    #[test]
    fn this_process_runs_as_its_own_user_and_one_that_is_not_there_as_none() {
        let users = users_of(std::process::id()).unwrap().unwrap();
        assert_eq!(users.effective, directory::own_user());
        assert_eq!(users_of(u32::MAX).unwrap(), None);
    }

    #[test]
    fn a_page_is_named_after_whoever_wrote_it() {
        let page = loopscope_probe::Writer::builder("web").build();
        let facts = page.page().facts();
        let named = |pid, start| check_name(Owner { pid, start }, &facts);
        assert!(named(facts.pid, facts.pid_start).is_ok());
        for (pid, start) in [(1, facts.pid_start), (facts.pid, facts.pid_start + 1)] {
            let error = named(pid, start).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(&format!("{} (started at", facts.pid)), "{error}");
        }
    }
}
