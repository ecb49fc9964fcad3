//! Without the feature `axum` no request has a pattern.

use http::Extensions;

#[derive(Clone)]
pub(crate) enum Pattern {}

impl Pattern {
    pub(crate) fn as_str(&self) -> &str {
        match *self {}
    }
}

pub(crate) fn of(_extensions: &Extensions) -> Option<&Pattern> {
    None
}
