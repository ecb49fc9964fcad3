//! A span that is held in a thread-local variable is left when its thread ends, and may be entered there: here it is shown
//! that the layer survives it, whichever variable goes first. A panic there aborts, so each case is a process of its own.

use loopscope_probe::spans::SpanGuard;
use loopscope_probe::{Kind, SiteId, TaskTimes, Writer};
use loopscope_spans::SpanLayer;
use std::cell::RefCell;
use std::process::Command;
use tracing::span::{Attributes, EnteredSpan, Id, Record};
use tracing::{Event, Metadata, Span, Subscriber};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{Data, LookupSpan, Registry};

/// Names the case that a process of this test runs.
const CASE: &str = "LOOPSCOPE_TEST_THREAD_END";

/// Keeps what is to be known of spans in a registry, and not which are entered: for that a registry has variables of
/// threads itself, which are as gone as those that are tested here.
struct Spans(Registry);

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.0.new_span(attributes)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, _: Id) -> bool {
        false
    }
}

impl<'a> LookupSpan<'a> for Spans {
    type Data = Data<'a>;

    fn span_data(&'a self, id: &Id) -> Option<Data<'a>> {
        self.0.span_data(id)
    }
}

/// What a thread keeps until its end.
struct Kept {
    entered: Option<EnteredSpan>,
    /// Entered and left when the thread ends.
    later: Span,
    loop_of_thread: Option<(SpanGuard, Writer)>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.entered.take());
        self.later.in_scope(|| println!("entered"));
        drop(self.loop_of_thread.take());
        println!("dropped");
    }
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

fn running_loop() -> (SpanGuard, Writer) {
    let mut writer = Writer::builder("kept").private().build();
    let installed = writer.install_spans();
    writer.resume();
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    (installed, writer)
}

fn span() -> Span {
    tracing::info_span!(parent: None, "query", id = 7)
}

/// The variable is dropped after all of ours.
fn keep_longer() {
    KEPT.set(None);
    let loop_of_thread = Some(running_loop());
    let kept = Kept { entered: Some(span().entered()), later: span(), loop_of_thread };
    KEPT.with_borrow_mut(|there| *there = Some(kept));
}

/// The variable is dropped after what the layer remembers, and before the loop is gone.
fn keep_longer_than_the_layer() {
    let loop_of_thread = running_loop();
    KEPT.set(None);
    let kept = Kept { entered: Some(span().entered()), later: span(), loop_of_thread: Some(loop_of_thread) };
    KEPT.with_borrow_mut(|there| *there = Some(kept));
}

fn run_case(case: &str) {
    let subscriber = Spans(Registry::default()).with(SpanLayer::new());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let run = if case == "loop and layer" { keep_longer } else { keep_longer_than_the_layer };
    std::thread::spawn(run).join().unwrap();
    println!("ended");
}

#[test]
fn a_span_in_a_thread_local_is_left_and_entered_when_its_thread_ends() {
    if let Some(case) = std::env::var_os(CASE) {
        return run_case(case.to_str().unwrap());
    }
    for case in ["loop and layer", "layer"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let this = "a_span_in_a_thread_local_is_left_and_entered_when_its_thread_ends";
        let output = command.args(["--exact", this, "--nocapture"]).env(CASE, case).output().unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{case}: {}, {errors}", output.status);
        assert!(
            ["entered\n", "dropped\n", "ended\n"].iter().all(|text| said.contains(text)),
            "{case}: {said}"
        );
    }
}
