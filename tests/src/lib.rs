//! Shared pieces of the tests.

pub mod model;
pub mod noise;
pub mod schedule;
