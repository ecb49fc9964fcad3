//! The pattern that axum matched a request with.

pub(crate) use axum::extract::MatchedPath as Pattern;
use http::Extensions;

pub(crate) fn of(extensions: &Extensions) -> Option<&Pattern> {
    extensions.get()
}
