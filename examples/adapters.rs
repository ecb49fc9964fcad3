//! Two adapters for runtimes that are not ours, in virtual time: prints what the live page would show of each, moment
//! by moment.
//!
//! For adapter authors: `adapters/tasks.rs` is one for a runtime of several workers that poll tasks, some of
//! which tell little themselves; `adapters/scripts.rs` is one for an event loop that tells batches and drains as a
//! whole, and after the fact. Both say in a description what their runtime calls things, and what it cannot know. The
//! tests of the command look at the same pages with `ls`, `top`, `incidents`, `doctor` and as metrics.

#[path = "adapters/scripts.rs"]
mod scripts;
#[path = "adapters/tasks.rs"]
mod tasks;
#[path = "adapters/virtual_agent.rs"]
mod virtual_agent;

use loopscope_report::live::{LoopSample, ViewBuilder};
use std::os::unix::fs::DirBuilderExt;
use virtual_agent::Stage;

fn main() {
    // Pages lie in memory, and nobody else may see them.
    let directory = format!("/dev/shm/loopscope-adapters-{}", std::process::id());
    std::fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    for play in [tasks::play, scripts::play] {
        let mut builder = ViewBuilder::new();
        play(&mut Stage::new(directory.as_ref(), &mut |moment| {
            let Some(title) = moment.title else { return };
            let seen = moment.pages.iter().filter(|page| !page.page().is_over());
            let seen = seen.map(|page| LoopSample::of(page.page(), page.clock(), page.clock().now()));
            println!("{title}:");
            for entry in builder.observe(seen, 0).processes.iter().flat_map(|process| &process.loops) {
                let what = entry.state.running.as_ref().map_or("", |running| &running.words);
                println!("  {} {:?} {what}", entry.name, entry.state.kind);
            }
        }));
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
