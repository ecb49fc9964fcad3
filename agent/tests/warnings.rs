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
    fn find(&self, part: &str) -> Option<String> {
        self.0.lock().unwrap().iter().find(|line| line.contains(part)).cloned()
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
        until("the warning", || kept.find("by timer flush (").is_some());
        until("a second one", || kept.find("times the threshold").is_some());
        hand.park();
        until("the end", || kept.find("loop main polls again after").is_some());
        agent.stop();
        let began = kept.find("loop main blocked for").unwrap();
        assert!(began.starts_with("WARN loopscope-log"), "{began}");
        for field in ["loop=\"main\"", "cause=\"callback\"", "site=\"timer flush (", "age_ms=", "incident=\""]
        {
            assert!(began.contains(field), "{field} in {began}");
        }
        assert!(kept.find("polls again").unwrap().starts_with("INFO"));
        let first =
            kept.0.lock().unwrap().iter().filter(|line| line.contains("loop main blocked for")).count();
        assert_eq!(first, 1, "once at detection");
    });
}
