//! Turns the `tracing` spans inside a callback into its sub-frames, on the page of the loop that runs it.
//!
//! One layer, [`SpanLayer`], for the program's own subscriber. It knows no agent: whoever reads the page, in this process or
//! another, sees the spans.

mod fields;
mod layer;

pub use layer::SpanLayer;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
