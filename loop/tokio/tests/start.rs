//! One line in an existing program: the agent and the watch, and nothing with `LOOPSCOPE=off`.

mod support;

use loopscope_probe::raw::registry;
use std::process::Command;
use support::{Block, until};

/// Has the test be the program that is told to be off.
const OFF: &str = "LOOPSCOPE_TEST_IS_OFF";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn existing_program() {
    let watch = loopscope_tokio::start("web").unwrap();
    let agent = watch.agent().expect("it is the first of this process");
    assert!(agent.url().is_some());
    let second = loopscope_tokio::start("web").unwrap();
    assert!(second.agent().is_none(), "one agent watches all");
    drop(second);
    // A worker that blocks before it was first visited has no page, and no stack: not what is tested here.
    until("a page for each worker", || support::workers("web").len() >= 2);
    let (block, act) = Block::new();
    // Of a library that knows nothing of us.
    tokio::spawn(async move {
        tokio::task::yield_now().await;
        act();
    });
    tokio::task::block_in_place(|| {
        block.wait_until_begun();
        until("the stall, with its line", || agent.incidents().iter().any(|one| support::has_block(one)));
    });
    block.release();
}

#[test]
fn one_line_tells_which_line_blocks() {
    existing_program();
    assert!(matches!(loopscope_tokio::start("web"), Err(loopscope_tokio::StartError::OutsideRuntime)));
    assert!(registry::pages().is_empty());
}

#[test]
fn nothing_is_made_where_loopscope_is_off() {
    if std::env::var_os(OFF).is_none() {
        let test = "nothing_is_made_where_loopscope_is_off";
        let mut program = Command::new(std::env::current_exe().unwrap());
        let ended =
            program.args(["--exact", test, "--nocapture"]).env(OFF, "1").env("LOOPSCOPE", "off").output();
        let ended = ended.unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        return;
    }
    let mut builder = support::builder(support::Flavor::Multi);
    let runtime = loopscope_tokio::build(&mut builder, "off").unwrap();
    runtime.block_on(async {
        let watch = loopscope_tokio::start("web").unwrap();
        assert_eq!(watch.agent().and_then(|agent| agent.url()), None);
        let task = loopscope_tokio::spawn(loopscope_tokio::named("it", async { 7 }));
        assert_eq!(task.await.unwrap(), 7);
        assert_eq!(loopscope_tokio::spawn_blocking(|| 8).await.unwrap(), 8);
    });
    assert_eq!(loopscope_tokio::block_on(&runtime, async { 9 }), 9);
    assert!(registry::pages().is_empty());
    let threads: Vec<String> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok())
        .collect();
    assert!(threads.iter().all(|name| !name.starts_with("loopscope-")), "{threads:?}");
}
