//! Our own lines, on standard error: Node has no subscriber for them.
//!
//! Written with one call of write(2) each, so that nothing of a blocked loop's is waited for.

use loopscope_agent::Setting;
use loopscope_probe::raw::switch::{self, Position};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What the agent's lines are marked with.
const TARGET: &str = "loopscope";

/// Prints a line.
pub(crate) fn line(text: &str) {
    // Where standard error is closed, nobody reads it.
    let _ = std::io::stderr().write_all(format!("loopscope: {text}\n").as_bytes());
}

/// Says that one feature is turned off, and why.
pub(crate) fn off(feature: &str, why: &str) {
    line(&format!("{feature}: off, because {why}"));
}

/// Has the agent's lines printed, where the environment does not say otherwise. The subscriber is this file's own: no other code of the
/// process sees it.
pub(crate) fn install() {
    // The agent reads it, too, and prints no first stall either then.
    let value = std::env::var_os(Setting::Stderr.variable()).unwrap_or_default();
    if switch::read(&value) != Position::Off {
        let _ = tracing::subscriber::set_global_default(Lines);
    }
}

struct Lines;

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET && metadata.is_event()
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        line(&format!("{} {}{}", event.metadata().level(), text.message, text.fields));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}
