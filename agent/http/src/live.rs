//! The data of the live page: one view at a time, made when it is due and somebody waits for it, and shared by all.
//!
//! ```text
//!   viewer:  GET live?after=7 ---------> (waits) --> view 8
//!   viewer:       GET live?after=7 ----> (waits) --> view 8, the same bytes
//!   curl:    GET live  --> the last view, or a new one
//! ```
//!
//! A viewer asks for the view after the one it has, and is answered when that is due. So the agent sets the pace, no
//! viewer misses a view, all of them together cost as much as one, and without viewers nothing is done. A view is that
//! of the interval since the one before it: after a pause, a first look is taken shortly before the view is made.

use crate::answer::Answer;
use crate::query::pairs;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::{Clock, Ticks};
use loopscope_report::live::{LoopSample, PastView, View, ViewBuilder};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Where the views are.
pub const LIVE: &str = "/debug/loopscope/live";

/// Time between two views.
const INTERVAL_NS: u64 = 500_000_000;

/// A view older than this is no beginning of an interval.
const PAUSE_NS: u64 = 3 * INTERVAL_NS;

/// The interval of the first view after a pause.
const FIRST: Duration = Duration::from_millis(200);

/// At most this many viewers wait at once.
const VIEWERS_MAX: usize = 8;

/// What makes views: copies the pages of the loops, and completes what the observer made of them.
pub trait Source: Send + Sync {
    /// Copies the pages.
    fn seen(&self) -> Vec<LoopSample>;
    /// Returns the samples of the last two minutes until now, for who has no view yet.
    fn recent(&self) -> Vec<PastView> {
        Vec::new()
    }
    /// Says where the processes' incidents and captures are answered.
    fn complete(&self, view: &mut View);
}

/// The views of one server.
#[derive(Debug)]
pub struct Live {
    clock: Clock,
    state: Mutex<Shared>,
    /// One permit for each that may wait; a request gives its own back when it ends, also where the client went away.
    viewers: Semaphore,
}

#[derive(Debug, Default)]
struct Shared {
    observer: ViewBuilder,
    number: u64,
    made: Ticks,
    body: Vec<u8>,
}

impl Default for Live {
    fn default() -> Live {
        Live { clock: Clock::monotonic(), state: Mutex::default(), viewers: Semaphore::new(VIEWERS_MAX) }
    }
}

impl Live {
    /// Answers with the view that is due.
    pub async fn answer(&self, query: &str, source: &dyn Source) -> Answer {
        let after = match after(query) {
            Ok(after) => after,
            Err(message) => return Answer::text(400, message),
        };
        let Ok(_viewer) = self.viewers.try_acquire() else {
            return Answer::text(429, format!("too many viewers (at most {VIEWERS_MAX}); try again later\n"));
        };
        let (number, age_ns) = self.last();
        if number == 0 || age_ns > PAUSE_NS {
            self.look(source);
            sleep(FIRST).await;
            self.make(number, source);
        } else if after == Some(number) || age_ns >= INTERVAL_NS {
            sleep(Duration::from_nanos(INTERVAL_NS.saturating_sub(age_ns))).await;
            self.make(number, source);
        }
        let body = self.shared().body.clone();
        Answer::json(if after.is_none() { with_past(body, &source.recent()) } else { body })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic under it leaves an old view, which is still a view.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number and the age of the last view.
    fn last(&self) -> (u64, u64) {
        let shared = self.shared();
        (shared.number, self.clock.ns_between(shared.made, self.clock.now()))
    }

    /// Looks without showing what was seen: the beginning of an interval.
    fn look(&self, source: &dyn Source) {
        let seen = source.seen();
        self.shared().observer.observe(seen, unix_ns());
    }

    /// Makes the view after the one with this number, unless another viewer has.
    fn make(&self, after: u64, source: &dyn Source) {
        if self.shared().number != after {
            return;
        }
        let seen = source.seen();
        let mut shared = self.shared();
        let mut view = shared.observer.observe(seen, unix_ns());
        source.complete(&mut view);
        (shared.number, shared.made) = (view.number, self.clock.now());
        shared.body = serde_json::to_vec(&view).unwrap_or_default();
    }
}

/// Adds to a view what came before, in a field of its own.
fn with_past(mut body: Vec<u8>, past: &[PastView]) -> Vec<u8> {
    if body.pop() == Some(b'}') && !past.is_empty() {
        body.extend_from_slice(b",\"past\":");
        body.extend(serde_json::to_vec(past).unwrap_or_else(|_| b"[]".to_vec()));
    }
    body.push(b'}');
    body
}

/// Reads which view the viewer has.
fn after(query: &str) -> Result<Option<u64>, String> {
    let mut after = None;
    for (name, value) in pairs(query) {
        match (name, value.parse()) {
            ("after", Ok(number)) => after = Some(number),
            _ => {
                return Err(format!(
                    "parameter {name}={value}: the only parameter is after, the number of a view\n"
                ));
            }
        }
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Nobody;

    impl Source for Nobody {
        fn seen(&self) -> Vec<LoopSample> {
            Vec::new()
        }

        fn complete(&self, _view: &mut View) {}
    }

    struct Remembering;

    impl Source for Remembering {
        fn seen(&self) -> Vec<LoopSample> {
            Vec::new()
        }

        fn recent(&self) -> Vec<PastView> {
            vec![PastView { unix_ns: 7, loops: Vec::new() }]
        }

        fn complete(&self, _view: &mut View) {}
    }

    #[test]
    fn who_has_no_view_yet_is_told_what_came_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let live = Live::default();
            let past = |answer: &Answer| {
                let view: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
                view["past"][0]["unix_ns"].as_u64()
            };
            assert_eq!(past(&live.answer("", &Remembering).await), Some(7));
            assert_eq!(past(&live.answer("after=2", &Remembering).await), None, "the others have it");
            assert_eq!(past(&live.answer("", &Nobody).await), None);
        });
    }

    fn number(answer: &Answer) -> u64 {
        serde_json::from_slice::<serde_json::Value>(answer.body()).unwrap()["number"].as_u64().unwrap()
    }

    #[test]
    fn viewers_share_views_and_miss_none() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let live = Arc::new(Live::default());
            let first = number(&live.answer("", &Nobody).await);
            assert_eq!(first, 2, "one look, one view");
            let asked = [(), ()].map(|()| {
                let live = live.clone();
                tokio::spawn(async move { live.answer("after=2", &Nobody).await })
            });
            let [one, two] = asked;
            let (one, two) = (one.await.unwrap(), two.await.unwrap());
            assert_eq!((number(&one), &one), (3, &two));
            assert_eq!(number(&live.answer("after=2", &Nobody).await), 3, "who is late is answered at once");
            assert_eq!(number(&live.answer("after=99", &Nobody).await), 3, "as is one of another process");
            assert_eq!(live.answer("since=1", &Nobody).await.status, 400);
            assert_eq!(live.answer("after=x", &Nobody).await.status, 400);
        });
    }

    #[test]
    fn viewers_are_bounded_and_make_room_when_they_leave() {
        let live = Live::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let status = || runtime.block_on(live.answer("", &Nobody)).status;
        let viewers = live.viewers.try_acquire_many(VIEWERS_MAX as u32).unwrap();
        assert_eq!(status(), 429);
        drop(viewers);
        assert_eq!(status(), 200);
        assert_eq!(live.viewers.available_permits(), VIEWERS_MAX);
    }
}
