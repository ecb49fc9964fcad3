//! An agent in a process of its own, which runs as another user from its first instruction on.
//!
//! A process decides once where its pages lie, for the user that it is then, so one process cannot be the program of several
//! users. The process is the test program again, with one test to run, which calls [`run_if_asked`].

use super::{DEADLINE, until};
use loopscope_agent::{Agent, Listen};
use loopscope_probe::raw::directory::{DIRECTORY_VARIABLE, Owner, agent_socket, runtime_directory};
use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};

const LISTEN: &str = "LOOPSCOPE_TEST_AGENT_LISTEN";
const WEB_CONFIG: &str = "LOOPSCOPE_TEST_AGENT_WEB_CONFIG";

/// What the line begins with that tells the agent's address and its socket file.
const READY: &str = "agent: ";

/// In a process that [`AgentProcess::start`] made: runs the agent until that one is stopped or gone, and returns true.
pub fn run_if_asked() -> bool {
    let Ok(listen) = std::env::var(LISTEN) else { return false };
    let mut builder = Agent::builder().listen(Listen::Exactly(listen.parse().unwrap()));
    if let Some(path) = std::env::var_os(WEB_CONFIG) {
        builder = builder.web_config(path);
    }
    let agent = builder.start().unwrap();
    let file = agent_socket(&runtime_directory(), Owner::this_process());
    // The test's name is on the line before.
    println!("\n{READY}{} {}", agent.address().unwrap(), file.display());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    agent.stop();
    true
}

/// That process; killed when dropped.
pub struct AgentProcess {
    child: Child,
    /// What it prints; ends with it.
    lines: Receiver<String>,
    pub address: SocketAddr,
    /// The socket file beside its pages.
    pub file: PathBuf,
    directory: RuntimeDirectory,
}

impl AgentProcess {
    /// Starts an agent on a free port of `ip`, as `user` if that is another one, with a runtime directory of its own. `test`
    /// is the name of the test that calls [`run_if_asked`] at its beginning.
    pub fn start(test: &str, user: Option<u32>, ip: IpAddr, web_config: Option<&Path>) -> AgentProcess {
        let directory = RuntimeDirectory::new(user);
        // Another user need not reach the folder that this program is in.
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", test, "--nocapture"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env(LISTEN, SocketAddr::new(ip, 0).to_string()).env(DIRECTORY_VARIABLE, &directory.0);
        if let Some(path) = web_config {
            command.env(WEB_CONFIG, path);
        }
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        let (say, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        // Before anything can fail, so that the process is ended then.
        let address = SocketAddr::new(ip, 0);
        let mut process = AgentProcess { child, lines, address, file: PathBuf::new(), directory };
        process.wait_until_ready();
        process
    }

    fn wait_until_ready(&mut self) {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).expect("the agent starts");
            let Some((address, file)) = line.strip_prefix(READY).and_then(|told| told.split_once(' ')) else {
                continue;
            };
            (self.address, self.file) = (address.parse().unwrap(), PathBuf::from(file));
            return assert!(self.file.starts_with(&self.directory.0), "{line}");
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops the agent, and checks that it and its process end well. Its runtime directory stays until the end.
    pub fn stop(&mut self) {
        drop(self.child.stdin.take());
        let mut ended = None;
        until("the end of the agent's process", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        let said: Vec<String> = self.lines.try_iter().collect();
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}: {said:?}");
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A private directory in memory, removed when dropped.
struct RuntimeDirectory(PathBuf);

impl RuntimeDirectory {
    fn new(user: Option<u32>) -> RuntimeDirectory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/loopscope-agent-process-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        chown(&path, user, user).unwrap();
        RuntimeDirectory(path)
    }
}

impl Drop for RuntimeDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
