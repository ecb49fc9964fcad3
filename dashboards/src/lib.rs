//! Generates what Prometheus and Grafana load: recording rules, alerts with their tests, and dashboards.
//!
//! The files are committed, so that nobody needs this program to use them; a test fails when they are not what it
//! writes. A metric is named by its constant in the agent's catalogue, and a label is checked against it, so a metric
//! that is renamed or loses a label is found when this crate is built or its files are made.

pub mod durations;
pub mod promql;

pub mod recorded;

pub mod alerts;
pub mod cases;
pub mod yaml;

pub mod grafana;

mod runbooks;

pub mod output;
