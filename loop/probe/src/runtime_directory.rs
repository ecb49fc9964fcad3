//! Which directory this process's pages lie in: decided once, and never another user's.
//!
//! What the environment names may be another user's: `sudo -E` keeps his variables. A directory that root makes in there,
//! or root's page in his, is one that he cannot read: his commands would fail for good. So what belongs to another user is
//! passed over, and the user's own taken.
//!
//! It is decided at the first page and kept: a program that drops its privileges afterwards does not spread its loops over
//! two directories, of which each user sees one. It cannot remove the pages that it made before, and no descriptor or
//! capability that it could keep would change that. They say that their loops have ended, so that no command shows them,
//! and the next program of the former user with a loop in it removes them (`stale_pages.rs`).

use crate::cycle_counter::monotonic_ns;
use crate::environment::trusted_variable;
use crate::loop_id::next_ordinal;
use crate::mapping::Mapping;
use crate::page_file_name::Owner;
use crate::private_directory::{is_memory_file_system, make_private, own_user};
use crate::stale_pages::{end_replaced, remove_dead_pages};
use std::fs::{self, OpenOptions, symlink_metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// The environment variable that names another runtime directory.
pub const DIRECTORY_VARIABLE: &str = "LOOPSCOPE_RUNTIME_DIR";

const SESSION_VARIABLE: &str = "XDG_RUNTIME_DIR";

/// Returns the runtime directory of this process's user: `$LOOPSCOPE_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/loopscope`, else
/// `/dev/shm/loopscope-UID`; of the first two, those that do not belong to another user. It need not exist. Decided by the
/// first call in a process.
pub fn runtime_directory() -> PathBuf {
    choice().path.clone()
}

/// Says, in a sentence each, why directories that the environment names are not used; empty where there are none.
pub fn passed_over() -> &'static [String] {
    &choice().passed_over
}

/// Makes this process's next page file there.
///
/// # Errors
/// As [`create_page_file`]; says so where the process was another user's when the directory was chosen.
pub(crate) fn create_own_page_file() -> Result<Mapping, String> {
    let choice = choice();
    create_page_file(&choice.path).map_err(|error| match own_user() == choice.user {
        true => error,
        false => format!("{error}; the directory was chosen when the process ran as uid {}", choice.user),
    })
}

/// A process looks for pages of dead ones this often, in seconds.
const CLEANED_EVERY_S: u64 = 60;

/// A directory, and those that came before it.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    path: PathBuf,
    /// The user that it was chosen for.
    user: u32,
    passed_over: Vec<String>,
}

fn choice() -> &'static Choice {
    static CHOICE: OnceLock<Choice> = OnceLock::new();
    CHOICE.get_or_init(|| {
        let named = |name: &str| trusted_variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        choose(named(DIRECTORY_VARIABLE), named(SESSION_VARIABLE), own_user())
    })
}

fn choose(named: Option<PathBuf>, session: Option<PathBuf>, user: u32) -> Choice {
    let mut passed_over = Vec::new();
    let mut is_usable = |variable: &str, directory: &Path, found: Result<(), String>| {
        let Err(why) = found else { return true };
        passed_over.push(format!("{variable} is ignored: {} {why}", directory.display()));
        false
    };
    if let Some(directory) = named.filter(|named| is_usable(DIRECTORY_VARIABLE, named, may_use(named, user)))
    {
        return Choice { path: directory, user, passed_over };
    }
    if let Some(parent) = session.filter(|parent| is_memory_file_system(parent) == Ok(true)) {
        let directory = parent.join("loopscope");
        if is_usable(SESSION_VARIABLE, &parent, may_enter(&parent, user))
            && is_usable(SESSION_VARIABLE, &directory, may_use(&directory, user))
        {
            return Choice { path: directory, user, passed_over };
        }
    }
    Choice { path: PathBuf::from(format!("/dev/shm/loopscope-{user}")), user, passed_over }
}

/// A session's directory is its user's alone.
fn may_enter(parent: &Path, user: u32) -> Result<(), String> {
    match symlink_metadata(parent) {
        Ok(facts) if facts.uid() != user => Err(not_of(user, facts.uid())),
        _ => Ok(()),
    }
}

/// What is there must be the user's own; what is not is made in a directory that is, or that is root's for everybody.
fn may_use(directory: &Path, user: u32) -> Result<(), String> {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    match symlink_metadata(directory) {
        Ok(facts) if facts.uid() != user => Err(not_of(user, facts.uid())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err("cannot be reached".to_owned()),
        Err(_) => match symlink_metadata(parent.unwrap_or(Path::new("."))) {
            Ok(facts) if facts.uid() != user && facts.uid() != 0 => {
                Err(format!("would be created in a directory that {}", not_of(user, facts.uid())))
            }
            _ => Ok(()),
        },
    }
}

fn not_of(user: u32, owner: u32) -> String {
    format!("belongs to uid {owner}, and this process runs as uid {user}")
}

// Not under Miri, which has no owners of files.
/// Makes this process's next page file in this directory, which is made if need be, and maps it.
///
/// # Errors
/// Says in a sentence why there can be no such file; the caller goes on with private memory.
pub(crate) fn create_page_file(directory: &Path) -> Result<Mapping, String> {
    let explain = |error: String| format!("runtime directory {}: {error}", directory.display());
    make_private(directory).map_err(explain)?;
    if is_cleaning_due(directory) {
        remove_dead_pages(directory);
    }
    let number_min = end_replaced(directory);
    let explain = |error: io::Error| format!("runtime directory {}: {error}", directory.display());
    let path = new_file(directory, number_min).map_err(explain)?;
    Mapping::create(path.clone()).map_err(|error| {
        let _ = fs::remove_file(&path);
        explain(error)
    })
}

/// Tells whether this process should look for pages of dead processes in a directory: at its first loop there, and then once a
/// minute. It opens every file, on the thread of a loop.
fn is_cleaning_due(directory: &Path) -> bool {
    /// The process that cleaned last, when, in seconds, and where.
    static CLEANED: Mutex<Option<(u32, u64, PathBuf)>> = Mutex::new(None);
    let (pid, now_s) = (std::process::id(), monotonic_ns() / 1_000_000_000);
    // Another thread cleans right now; or in a forked child, a thread that is not there holds it.
    let Ok(mut cleaned) = CLEANED.try_lock() else { return false };
    let is_clean = cleaned.as_ref().is_some_and(|(by, at_s, of)| {
        *by == pid && of == directory && now_s.saturating_sub(*at_s) < CLEANED_EVERY_S
    });
    if !is_clean {
        *cleaned = Some((pid, now_s, directory.to_owned()));
    }
    !is_clean
}

/// Makes a file that this process has not had yet, whose number is not below `number_min`.
fn new_file(directory: &Path, number_min: u32) -> io::Result<PathBuf> {
    let Owner { pid, start } = Owner::this_process();
    loop {
        let number = next_ordinal(number_min);
        let path = directory.join(format!("{pid}-{start}-{number}.page"));
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        match options.open(&path) {
            // A forked child counts on from its parent's number with another pid, so this happens only with leftovers.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
            Ok(_) => return Ok(path),
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs::create_dir;

    fn chosen(named: Option<&Path>, session: Option<&Path>, user: u32) -> (PathBuf, usize) {
        let choice = choose(named.map(Path::to_owned), session.map(Path::to_owned), user);
        (choice.path, choice.passed_over.len())
    }

    #[test]
    fn a_directory_of_the_users_own_is_taken_in_this_order() {
        let (scratch, me) = (Scratch::made(), own_user());
        let (own, session) = (scratch.0.join("own"), scratch.0.join("session"));
        create_dir(&session).unwrap();
        assert_eq!(chosen(Some(&own), Some(&session), me), (own.clone(), 0));
        assert_eq!(chosen(None, Some(&session), me), (session.join("loopscope"), 0));
        let default = PathBuf::from(format!("/dev/shm/loopscope-{me}"));
        assert_eq!(chosen(None, None, me), (default.clone(), 0));
        // On a disk it would stall the loop.
        assert_eq!(chosen(None, Some(Path::new("/proc")), me), (default, 0));
        create_dir(&own).unwrap();
        assert_eq!(chosen(Some(&own), None, me), (own, 0));
    }

    #[test]
    fn a_directory_of_another_user_is_passed_over_whether_it_is_there_or_not() {
        let (scratch, other) = (Scratch::made(), own_user() + 1);
        let (own, session) = (scratch.0.join("own"), scratch.0.join("session"));
        create_dir(&session).unwrap();
        let default = PathBuf::from(format!("/dev/shm/loopscope-{other}"));
        // Seen from another user, what this one has made is another user's. What root has made may be for everybody.
        if own_user() != 0 {
            assert_eq!(chosen(Some(&own), None, other), (default.clone(), 1));
        }
        create_dir(&own).unwrap();
        assert_eq!(chosen(Some(&own), None, other), (default.clone(), 1));
        assert_eq!(chosen(None, Some(&session), other), (default.clone(), 1));
        assert_eq!(chosen(Some(&own), Some(&session), other), (default, 2));
        let choice = choose(Some(own), None, other);
        assert!(choice.passed_over[0].starts_with("LOOPSCOPE_RUNTIME_DIR is ignored"), "{choice:?}");
    }

    #[test]
    fn many_loops_of_a_process_look_for_dead_pages_once() {
        let scratch = Scratch::made();
        // Other tests of this process make loops as well, a few, in other directories.
        let due = (0..1_000).filter(|_| is_cleaning_due(&scratch.0)).count();
        assert!((1..100).contains(&due), "{due}");
    }

    #[test]
    fn what_everybody_may_use_is_roots() {
        let missing = Path::new("/dev/shm/loopscope-never-made");
        assert_eq!(chosen(Some(missing), None, 1000), (missing.to_owned(), 0));
    }
}
