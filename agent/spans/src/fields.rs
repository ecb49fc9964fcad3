//! The fields of a span as one short text: `method=GET id=7`.

use std::fmt::{Debug, Write};
use tracing::field::{Field, Visit};

/// No more than a page keeps; cut by it at a character.
const ENOUGH_BYTES: usize = loopscope_probe::raw::open_spans::FIELD_BYTES;

/// Fields of one span, in the order in which they were recorded.
#[derive(Debug, Default)]
pub(crate) struct FieldText(String);

impl FieldText {
    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Adds fields that were recorded later.
    pub(crate) fn append(&mut self, later: &FieldText) {
        if self.0.len() < ENOUGH_BYTES && !later.0.is_empty() {
            let space = if self.0.is_empty() { "" } else { " " };
            self.0.push_str(space);
            self.0.push_str(&later.0);
        }
    }

    fn add(&mut self, field: &Field, value: std::fmt::Arguments<'_>) {
        if self.0.len() >= ENOUGH_BYTES {
            return;
        }
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail; a value's own formatting may, and then the rest of it is missing.
        let _ = write!(self.0, "{space}{}={value}", field.name());
    }
}

impl Visit for FieldText {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }
}
