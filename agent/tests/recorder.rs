//! What a process has only one of is the program's to choose, and an agent takes none of it unasked.

mod support;

use metrics::NoopRecorder;
use support::{builder, get, turn};

#[test]
fn an_agent_takes_nothing_global_unasked_and_leaves_what_is_taken() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    assert!(!tracing::dispatcher::has_been_set(), "the subscriber is the program's");
    assert!(metrics::set_global_recorder(NoopRecorder).is_ok(), "the recorder is the program's");
    agent.stop();
    // Asked for, it stays the program's where that was first.
    let agent = builder().install_recorder(true).start().unwrap();
    metrics::counter!("orders_total").increment(1);
    assert!(!get(&agent, "/metrics").body.contains("orders_total"));
}
