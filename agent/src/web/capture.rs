//! A flamegraph on request: two copies of the pages with some seconds between them.

use crate::flame::Profile;
use crate::web::Backend;
use crate::web::answer::Answer;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// At most this many captures run at once.
const AT_ONCE: usize = 2;

/// The longest capture, in seconds.
const SECONDS_MAX: u64 = 300;

/// The length of a capture where none was asked for, in seconds.
const SECONDS_DEFAULT: u64 = 10;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub seconds: u64,
    pub is_folded: bool,
}

impl Wish {
    /// Reads the query of a URL.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub(crate) fn parse(query: &str) -> Result<Wish, String> {
        let mut wish = Wish { seconds: SECONDS_DEFAULT, is_folded: false };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                ("seconds", value) => {
                    let seconds = value.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
                    wish.seconds = seconds.ok_or_else(|| {
                        format!(
                            "parameter seconds: {value:?} is not a whole number from 1 to {SECONDS_MAX}\n"
                        )
                    })?;
                }
                ("format", "svg") => wish.is_folded = false,
                ("format", "folded") => wish.is_folded = true,
                ("format", value) => {
                    return Err(format!("parameter format: {value:?} is neither svg nor folded\n"));
                }
                (name, _) => {
                    return Err(format!("parameter {name:?}: there are only seconds and format\n"));
                }
            }
        }
        Ok(wish)
    }
}

/// Counts the captures under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures(Arc<AtomicUsize>);

/// One capture under way; ends when dropped, also where the client went away.
#[derive(Debug)]
struct Slot(Captures);

impl Captures {
    fn take(&self) -> Option<Slot> {
        let take = |count| (count < AT_ONCE).then_some(count + 1);
        self.0.fetch_update(Relaxed, Relaxed, take).is_ok().then(|| Slot(self.clone()))
    }

    /// Captures and draws.
    pub(crate) async fn run(&self, wish: Wish, backend: &dyn Backend) -> Answer {
        let Some(_slot) = self.take() else {
            return Answer::text(429, format!("{AT_ONCE} captures are under way already; try again later\n"));
        };
        let earlier = backend.snapshots();
        tokio::time::sleep(Duration::from_secs(wish.seconds)).await;
        let profile = Profile::between(&earlier, &backend.snapshots());
        if profile.is_empty() {
            let message =
                format!("nothing ran in these {} seconds, so there is nothing to draw\n", wish.seconds);
            return Answer::text(404, message);
        }
        if wish.is_folded {
            return Answer::text(200, profile.folded());
        }
        let title = format!("callbacks of {} over {} s", process_title(&earlier), wish.seconds);
        match profile.svg(&title) {
            Ok(drawing) => Answer::svg(drawing),
            Err(error) => Answer::text(500, format!("{error}\n")),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Captures(count) = &self.0;
        count.fetch_sub(1, Relaxed);
    }
}

fn process_title(snapshots: &[loopscope_probe::Snapshot]) -> String {
    snapshots.first().map_or_else(
        || format!("process {}", std::process::id()),
        |snapshot| format!("{} ({})", snapshot.facts.process, snapshot.facts.pid),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_wrong_ones_named() {
        let wish = |seconds, is_folded| Ok(Wish { seconds, is_folded });
        assert_eq!(Wish::parse(""), wish(10, false));
        assert_eq!(Wish::parse("seconds=300&format=folded"), wish(300, true));
        assert_eq!(Wish::parse("&format=svg&&seconds=1"), wish(1, false));
        for (query, culprit) in [
            ("seconds=0", "seconds"),
            ("seconds=301", "seconds"),
            ("seconds=-1", "seconds"),
            ("seconds", "seconds"),
            ("seconds=99999999999999999999", "seconds"),
            ("format=png", "format"),
            ("second=1", "second"),
        ] {
            let message = Wish::parse(query).unwrap_err();
            assert!(message.starts_with("parameter") && message.contains(culprit), "{query}: {message}");
        }
    }

    #[test]
    fn a_slot_is_free_again_when_dropped() {
        let captures = Captures::default();
        let (first, second) = (captures.take(), captures.take());
        assert!(first.is_some() && second.is_some() && captures.take().is_none());
        drop(first);
        assert!(captures.take().is_some());
    }
}
