//! How often the agent's thread of this process went to sleep: for the tests of the agent, and of the watch on Tokio.

/// Returns how often the agent's thread went to sleep by itself.
pub fn agent_switches() -> u64 {
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        if status.lines().next() == Some("Name:\tloopscope-agent") {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            return line.unwrap().trim().parse().unwrap();
        }
    }
    panic!("the agent's thread is not there");
}
