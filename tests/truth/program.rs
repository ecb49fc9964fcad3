//! A program that measures itself, and what it tells.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Deadline only to fail.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What one loop measured.
#[derive(Clone, Debug)]
pub struct Truth(Value);

/// The program.
pub struct Program {
    child: Mutex<Child>,
    pub pid: u32,
    lines: Mutex<Receiver<String>>,
    /// The `host:port` of its agent.
    pub agent: String,
}

impl Truth {
    /// Returns a number: `ns`, `guilty.ended`.
    pub fn of(&self, path: &str) -> f64 {
        let value = path.split('.').fold(&self.0, |value, name| &value[name]);
        value.as_f64().unwrap_or_else(|| panic!("no {path} in {}", self.0))
    }
}

impl Program {
    pub fn start(case: &str, runtime: &Path) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truth"));
        command.arg(case).env("LOOPSCOPE_RUNTIME_DIR", runtime).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let first = lines.recv_timeout(DEADLINE).unwrap();
        let agent = first.strip_prefix("agent ").unwrap().to_owned();
        let pid = child.id();
        Program { child: Mutex::new(child), pid, lines: Mutex::new(lines), agent }
    }

    /// Returns what each loop has measured until now.
    pub fn tell(&self) -> Vec<Truth> {
        let lines = self.lines.lock().unwrap();
        self.send("tell");
        let line = lines.recv_timeout(DEADLINE).expect("it tells");
        let told: Vec<Value> = serde_json::from_str(&line).unwrap();
        told.into_iter().map(Truth).collect()
    }

    /// Has its last loop do what the case is about.
    pub fn act(&self) {
        self.send("act");
    }

    /// Lets the jobs go that its pool holds.
    pub fn release(&self) {
        self.send("release");
    }

    /// Waits until what all its loops measured is so, and each has polled since.
    pub fn until(&self, is_so: impl Fn(&[Truth]) -> bool) {
        let wait = |is_so: &dyn Fn(&[Truth]) -> bool| {
            while !is_so(&self.tell()) {
                std::thread::yield_now();
            }
        };
        wait(&is_so);
        // A callback that has ended is booked before the next poll; two of the same timer have one between them.
        let before: Vec<f64> = self.tell().iter().map(|one| one.of("calm.ended")).collect();
        wait(&|now| now.iter().zip(&before).all(|(one, before)| one.of("calm.ended") >= before + 3.0));
    }

    /// Does what the case is about once, and waits until it is over and booked.
    pub fn act_once(&self) {
        let ended = |now: &[Truth]| now.iter().map(|one| one.of("guilty.ended")).sum::<f64>();
        let before = ended(&self.tell());
        self.act();
        self.until(|now| ended(now) > before);
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.pid.to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops it, and waits until each of its threads has taken the signal.
    pub fn stop(&self) {
        self.signal("-STOP");
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        while !std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap().all(is_stopped) {
            std::thread::yield_now();
        }
    }

    /// Kills it, and waits for its end.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    fn send(&self, line: &str) {
        let mut child = self.child.lock().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
