//! Pages that are passed over: why, how many, and each said once.

use loopscope_probe::raw::page::PageFault;
use std::collections::HashMap;
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
}

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
        is_said.then(|| {
            self.counts[refusal as usize] += 1;
            format!("{} {because}; skipped", path.display())
        })
    }

    /// Forgets what is not there any more, or can be read now.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&Path) -> bool) {
        self.known.retain(|path, _| is_there(path));
    }

    /// Returns how many were refused, by reason.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        SkipReason::ALL.into_iter().map(|refusal| (refusal.name(), self.counts[refusal as usize])).collect()
    }
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
