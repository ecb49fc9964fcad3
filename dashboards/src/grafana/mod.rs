//! Grafana dashboards, as code: what is on them, and the JSON that Grafana loads.
//!
//! A panel asks Prometheus through [`crate::promql`], so it names only metrics and labels of the catalogue. Every panel
//! has a description for somebody who sees it for the first time.

mod board;
mod panel;
mod query;
mod selection;
mod shape;
mod thresholds;

mod agent_health;
mod fleet;
mod node;
mod node_loops;
mod one_loop;
mod overview;
mod pools;
mod tokio;

pub use board::Board;
pub use panel::Panel;
pub use query::Query;

/// Returns all dashboards. `runbooks` is the address or path that links to runbooks begin with.
pub fn boards(runbooks: &str) -> Vec<Board> {
    [
        overview::board(),
        one_loop::board(),
        fleet::board(),
        pools::board(),
        agent_health::board(),
        node_loops::board(),
        node::board(),
        tokio::board(),
    ]
    .into_iter()
    .map(|board| board.runbooks(runbooks))
    .collect()
}

#[cfg(test)]
#[path = "boards_tests.rs"]
mod tests;
