//! The `tracing` spans that are open in a task that blocks its worker, with their fields: also where nothing of it is wrapped.

#[path = "../../tests/support/mod.rs"]
mod support;

use loopscope_report::incident::Incident;
use loopscope_spans::SpanLayer;
use std::sync::Arc;
use support::{Block, Flavor, KINDS, Running, agent, turn, until};
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is told of the spans of an incident.
fn spans(one: &Arc<Incident>) -> Vec<(String, String)> {
    one.spans.iter().map(|span| (span.name.clone(), span.fields.clone())).collect()
}

#[test]
fn a_block_is_told_with_the_spans_of_its_task_and_with_those_of_no_other() {
    let _turn = turn();
    tracing_subscriber::registry().with(SpanLayer::new()).init();
    let agent = agent(40);
    for (tier, flavor) in KINDS {
        for is_wrapped in [false, true] {
            let name = format!("spans {tier:?} {flavor:?} {is_wrapped}");
            let running = Running::start(tier, flavor, &name);
            running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
            let (block, act) = Block::new();
            // Made on the worker: elsewhere fields are not kept.
            let task = async move {
                let work = async move {
                    tokio::task::yield_now().await;
                    info_span!("parse", lines = 3).in_scope(act);
                };
                let request = info_span!("load_user", id = 7);
                match is_wrapped {
                    true => loopscope_tokio::named("load", work).instrument(request).await,
                    false => work.instrument(request).await,
                }
            };
            running.handle.spawn(task);
            block.wait_until_begun();
            let now = || agent.incidents().into_iter().find(|one| one.group == name && !one.is_over);
            until(&format!("the block of {name}"), || now().is_some());
            let told = now().unwrap();
            let expected = [("load_user", "id=7"), ("parse", "lines=3")];
            assert_eq!(
                spans(&told),
                expected.map(|(span, fields)| (span.to_owned(), fields.to_owned())),
                "{name}"
            );
            block.release();
            // The next one, in a task without spans.
            until("the end", || agent.incidents().iter().all(|one| one.is_over));
            let (block, act) = Block::new();
            running.handle.spawn(async { act() });
            block.wait_until_begun();
            until(&format!("the second block of {name}"), || now().is_some());
            assert_eq!(spans(&now().unwrap()), [], "{name}");
            block.release();
            drop(running);
        }
    }
}
