//! The agent's threads take no signal of the host's: one that the host waits for on a thread of its own (sigwait, a signalfd), and
//! has blocked on its other threads since the agent started, would end the process there.

mod support;

use loopscope_agent::Action;
use loopscope_probe::Kind;
use loopscope_report::incident::Incident;
use std::fs;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{DEADLINE, HandLoop, builder};

/// Those that a daemon waits for, and that of a limit which a line in the host's log may reach.
const OF_HOST: [i32; 7] =
    [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGUSR1, libc::SIGCHLD, libc::SIGALRM, libc::SIGXFSZ];

/// Returns the names of our threads, and the signals that each has blocked.
fn threads() -> Vec<(String, u64)> {
    let read = |task: &fs::DirEntry, name| fs::read_to_string(task.path().join(name)).ok();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    let of = |task: fs::DirEntry| {
        let name = read(&task, "comm")?.trim().to_owned();
        let status = read(&task, "status")?;
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        Some((name, u64::from_str_radix(blocked.trim(), 16).unwrap()))
    };
    tasks.filter_map(of).filter(|(name, _)| name.starts_with("loopscope-")).collect()
}

#[test]
fn threads_of_the_agent_take_no_signal_of_the_hosts() {
    let directory = std::env::temp_dir().join(format!("loopscope-host-signals-{}", std::process::id()));
    let status = directory.join("mask");
    fs::create_dir(&directory).unwrap();
    let (said, is_said) = channel();
    let call = Action::Call(std::sync::Arc::new(move |_: &Incident| {
        // The test has ended: nobody listens.
        let _ = said.send(());
    }));
    let args = vec!["-c".to_owned(), format!("grep SigBlk /proc/self/status >{}", status.display())];
    let command = Action::Command { program: "sh".to_owned(), args };
    let agent = builder().incidents_dir(&directory).on_incident(command).on_incident(call);
    let agent = agent.thresholds(Duration::from_millis(5), Duration::from_secs(30)).start().unwrap();
    let hand = HandLoop::start("blocked");
    hand.block(Kind::Timer, "blocks");
    is_said.recv_timeout(DEADLINE).unwrap();
    let seen = threads();
    hand.park();
    for name in ["loopscope-log", "loopscope-agent", "loopscope-http", "loopscope-actio", "loopscope-disk"] {
        assert!(seen.iter().any(|(thread, _)| thread == name), "{name} of {seen:?}");
    }
    for (name, blocked) in &seen {
        let open: Vec<_> = OF_HOST.iter().filter(|signal| blocked & 1 << (**signal - 1) == 0).collect();
        assert!(open.is_empty(), "{name} takes {open:?}");
    }
    assert_eq!(fs::read_to_string(&status).unwrap().trim(), "SigBlk:\t0000000000000000", "a child's");
    drop(agent);
    fs::remove_dir_all(&directory).unwrap();
}
