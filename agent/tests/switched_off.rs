//! `LOOPSCOPE=off`: here it is shown that an agent that is started is a handle and nothing else. The switch is read once, so
//! that this is a process of its own.

use loopscope_agent::{Agent, AgentError};
use loopscope_probe::{Kind, SiteId, TaskTimes, Writer};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Names the directory that incidents would be in.
const DIRECTORY: &str = "LOOPSCOPE_TEST_OFF";

/// Returns what the process has of handlers and threads, and this thread of blocked signals: the first one blocks all of them
/// for a moment while it starts this one.
fn handlers_and_threads() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let is_asked = |line: &&str| ["SigCgt", "SigBlk", "Threads"].iter().any(|name| line.starts_with(name));
    status.lines().filter(is_asked).map(str::to_owned).collect()
}

fn start_nothing(directory: &Path) {
    let before = handlers_and_threads();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let builder = || {
        let listen = loopscope_agent::Listen::Exactly(address);
        Agent::builder().listen(listen).incidents_dir(directory).token_file("/nowhere")
    };
    let agent = builder().start().expect("what it would have needed is not asked for");
    assert_eq!((agent.address(), agent.url()), (None, None));
    let one_second = Duration::from_secs(1);
    let wrong = builder().thresholds(one_second, Duration::ZERO).start();
    assert!(matches!(wrong, Err(AgentError::Thresholds { .. })), "a mistake is one as always");
    assert!(matches!(builder().start(), Err(AgentError::AlreadyRunning)));
    let mut writer = Writer::builder("off").build();
    writer.resume();
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    writer.end();
    writer.suspend();
    assert_eq!(handlers_and_threads(), before);
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    assert!(metrics::set_global_recorder(recorder).is_ok(), "the program's own to set");
    agent.stop();
    drop(builder().start().expect("the place was given back"));
    println!("started nothing");
}

#[test]
fn an_agent_that_is_off_is_a_handle_and_nothing_else() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return start_nothing(Path::new(&directory));
    }
    let directory = PathBuf::from(format!("/dev/shm/loopscope-off-agent-{}", std::process::id()));
    let mut off = Command::new(std::env::current_exe().unwrap());
    off.args(["--exact", "an_agent_that_is_off_is_a_handle_and_nothing_else", "--nocapture"]);
    off.env("LOOPSCOPE", "0").env(DIRECTORY, &directory).env("LOOPSCOPE_RUNTIME_DIR", &directory);
    let output = off.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("started nothing"), "{said}");
    assert!(!directory.exists(), "no page, no incident");
}
