//! Pages that are passed over: why, how many, and each said once.

use loopscope_probe::raw::page::PageFault;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// Why a page is passed over. The label values of `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum SkipReason {
    /// Another version of the layout.
    Version,
    /// Not a page, cut off, or with words that make no sense.
    Damaged,
    /// The system does not let us read it.
    Unreadable,
    /// Written by another user than the process runs as, or in another pid namespace, where its pid means another process.
    Foreign,
    /// There are more loops than can be followed.
    TooMany,
}

impl SkipReason {
    pub(crate) const ALL: [SkipReason; 5] = [
        SkipReason::Version,
        SkipReason::Damaged,
        SkipReason::Unreadable,
        SkipReason::Foreign,
        SkipReason::TooMany,
    ];

    /// Returns the label value.
    pub(crate) fn name(self) -> &'static str {
        ["version", "damaged", "unreadable", "foreign", "too_many"][self as usize]
    }

    /// Returns what an error of reading a page stands for.
    pub(crate) fn of(error: &io::Error) -> SkipReason {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<PageFault>()) {
            Some(PageFault::Version(_)) => SkipReason::Version,
            Some(_) => SkipReason::Damaged,
            None if error.kind() == io::ErrorKind::InvalidData => SkipReason::Damaged,
            None => SkipReason::Unreadable,
        }
    }
}

/// What was refused so far.
#[derive(Debug, Default)]
pub(crate) struct SkippedPages {
    counts: [u64; SkipReason::ALL.len()],
    known: HashMap<PathBuf, Known>,
    lines: BTreeMap<PathBuf, DirectoryLines>,
}

/// What was said of the files of one directory. Whoever may write there can make as many as they like: the lines are few,
/// and what is beyond them is a number.
#[derive(Clone, Copy, Debug, Default)]
struct DirectoryLines {
    said: u32,
    /// Those that were only counted since.
    unsaid: u64,
    is_summary_said: bool,
}

/// So many files of one directory have a line of their own.
const LINES_MAX: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    refusal: SkipReason,
    is_said: bool,
}

impl SkippedPages {
    /// Notes a refusal. Returns the line to say where it is new; of what looks damaged only the second time, because a
    /// page that is just being made looks so, too.
    pub(crate) fn note(&mut self, path: &Path, refusal: SkipReason, because: &str) -> Option<String> {
        let known = self.known.get(path).filter(|known| known.refusal == refusal);
        let is_second = known.is_some_and(|known| !known.is_said);
        if known.is_some_and(|known| known.is_said) {
            return None;
        }
        let is_said = is_second || refusal != SkipReason::Damaged;
        self.known.insert(path.to_owned(), Known { refusal, is_said });
        if !is_said {
            return None;
        }
        self.counts[refusal as usize] += 1;
        let lines = self.lines.entry(directory_of(path).to_owned()).or_default();
        if lines.said == LINES_MAX {
            lines.unsaid += 1;
            return None;
        }
        lines.said += 1;
        Some(format!("{} {because}; skipped", path.display()))
    }

    /// Returns a line for each directory that has just had more files skipped than have lines of their own; once, until it
    /// has none.
    pub(crate) fn summaries(&mut self) -> Vec<String> {
        let is_due = |lines: &DirectoryLines| lines.unsaid > 0 && !lines.is_summary_said;
        let due = self.lines.iter_mut().filter(|(_, lines)| is_due(lines));
        due.map(|(directory, lines)| {
            lines.is_summary_said = true;
            let (count, s) = (lines.unsaid, if lines.unsaid == 1 { "" } else { "s" });
            format!(
                "{}: {count} more page file{s} skipped; further ones are only counted, in \
                 loopscope_host_pages_skipped_total",
                directory.display()
            )
        })
        .collect()
    }

    /// Forgets what is not there any more, or can be read now.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&Path) -> bool) {
        self.known.retain(|path, _| is_there(path));
        let directories: HashSet<&Path> = self.known.keys().map(|path| directory_of(path)).collect();
        self.lines.retain(|directory, _| directories.contains(&**directory));
    }

    /// Forgets one of them: what was wrong with it is over.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.known.remove(path);
    }

    /// Returns how many were refused, by reason.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        SkipReason::ALL.into_iter().map(|refusal| (refusal.name(), self.counts[refusal as usize])).collect()
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_and_counted_once_and_what_may_be_in_the_making_only_when_it_stays() {
        let (mut refusals, path) = (SkippedPages::default(), Path::new("/run/7-1-0.page"));
        assert_eq!(refusals.note(path, SkipReason::Damaged, "is cut"), None);
        let said = refusals.note(path, SkipReason::Damaged, "is cut").unwrap();
        assert_eq!(said, "/run/7-1-0.page is cut; skipped");
        assert_eq!(refusals.note(path, SkipReason::Damaged, "is cut"), None);
        assert!(refusals.note(path, SkipReason::Version, "has version 3").is_some());
        refusals.retain(|_| false);
        assert!(refusals.note(path, SkipReason::Version, "has version 3").is_some(), "it came back");
        let counted = [("version", 2), ("damaged", 1), ("unreadable", 0), ("foreign", 0), ("too_many", 0)];
        assert_eq!(refusals.counts(), counted);
    }

    #[test]
    fn an_error_tells_its_reason() {
        let fault = |fault| SkipReason::of(&io::Error::new(io::ErrorKind::InvalidData, fault));
        assert_eq!(fault(PageFault::Version(3)), SkipReason::Version);
        assert_eq!(fault(PageFault::Length(3)), SkipReason::Damaged);
        assert_eq!(SkipReason::of(&io::Error::from(io::ErrorKind::PermissionDenied)), SkipReason::Unreadable);
    }
}
