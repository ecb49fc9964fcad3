//! Warnings go to the program's log: once while it lasts, once when it ends, and never to the agent's own thread.

mod support;

use loopscope_probe::Kind;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{HandLoop, builder, turn, until};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Keeps the lines it is given: level, thread, fields.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let thread = std::thread::current().name().unwrap_or("?").to_owned();
        let mut line = Line(format!("{} {thread}", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

impl Kept {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the first line with any of these parts.
    fn find(&self, parts: &[&str]) -> Option<String> {
        self.lines().into_iter().find(|line| parts.iter().any(|part| line.contains(part)))
    }
}

#[test]
fn a_block_is_told_while_it_lasts_and_when_it_ends() {
    let _turn = turn();
    let kept = Kept::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    tracing::subscriber::with_default(subscriber, || {
        let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(50)).start().unwrap();
        let hand = HandLoop::start("main");
        hand.block(Kind::Timer, "flush");
        until("the warning", || kept.find(&["by timer flush ("]).is_some());
        until("a second one", || kept.find(&[" still blocked for "]).is_some());
        hand.park();
        // The latter where it is the machine that stood still for most of the time.
        let ends = ["loop main polls again after", "loop main goes on after"];
        until("the end", || kept.find(&ends).is_some());
        agent.stop();
        let began = kept.find(&["loop main "]).unwrap();
        assert!(began.starts_with("WARN loopscope-log"), "{began}");
        for field in ["loop=\"main\"", "cause=\"callback\"", "site=\"timer flush (", "age_ms=", "incident=\""]
        {
            assert!(began.contains(field), "{field} in {began}");
        }
        assert!(kept.find(&ends).unwrap().starts_with("INFO"));
        let lines = kept.lines();
        let first =
            lines.iter().filter(|line| line.starts_with("WARN") && !line.contains(" still blocked for "));
        assert_eq!(first.count(), 1, "once at detection: {lines:#?}");
    });
}
