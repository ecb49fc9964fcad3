//! What `block_in_place` leaves behind: the thread that gave its worker away is on no stack of what that worker does next.

mod support;

use loopscope_agent::{Agent, Incident};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use support::{Block, DEADLINE, Flavor, Running, Tier, agent, turn, until, workers};

/// The job for which a thread gives its worker away. Nobody waits for it, however long it takes.
#[inline(never)]
fn job_in_place(released: &Receiver<()>) {
    let _ = std::hint::black_box(released.recv_timeout(DEADLINE));
}

fn of_runtime(agent: &Agent, name: &str) -> Vec<Arc<Incident>> {
    agent.incidents().into_iter().filter(|one| one.group == name).collect()
}

#[test]
fn a_thread_that_gave_its_worker_away_is_not_what_blocks_it() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("given away {tier:?}");
        let running = Running::start_with(tier, Flavor::Multi, &name, |builder| {
            builder.worker_threads(1);
        });
        running.wait_for_workers(&name, 1);
        let (release, released) = channel::<()>();
        let (block, act) = Block::new();
        running.handle.spawn(async move {
            // It waits in the worker's own queue, so that the thread that takes over begins with it.
            tokio::spawn(async move { act() });
            tokio::task::block_in_place(|| job_in_place(&released));
        });
        block.wait_until_begun();
        until("an incident whose capture has come", || {
            let told = of_runtime(&agent, &name);
            told.iter().any(|one| !one.stacks.is_empty() || !one.captures_failed.is_empty())
        });
        let told = of_runtime(&agent, &name);
        assert!(
            !format!("{:?}", told.iter().map(|one| &one.stacks).collect::<Vec<_>>()).contains("job_in_place"),
            "{told:#?}"
        );
        // Where each poll is told, the thread that took over is known from its first one on.
        if cfg!(tokio_unstable) && tier == Tier::Build {
            assert!(support::has_block(&told[0]), "{told:#?}");
        } else {
            assert!(told[0].captures_failed.iter().any(|why| why.contains("block_in_place")), "{told:#?}");
            assert_eq!((told[0].class.name(), &told[0].waiting_in), ("unknown", &None));
        }
        block.release();
        drop(release);
        until("its end", || of_runtime(&agent, &name).iter().all(|one| one.is_over));
        // Where that thread is one again, it is captured as all others.
        until("a page of who works now", || {
            running.poke();
            !workers(&name).is_empty()
        });
        let (block, act) = Block::new();
        running.handle.spawn(async move { act() });
        block.wait_until_begun();
        until("the line that blocks", || {
            let told = of_runtime(&agent, &name);
            told.iter().any(|one| support::has_block(one))
        });
        block.release();
    }
}
