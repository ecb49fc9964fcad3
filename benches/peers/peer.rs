//! Who is compared, and how each is started: as a process of its own, whose processor time the kernel counts.

use loopscope_benches::cputime::process_cpu_ns;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The loop with its probe.
    Ours,
    /// The same once more: the A/A control.
    OursAgain,
    /// The loop without its probe.
    OursOff,
    Libuv,
    /// The same with `uv_try_write`.
    LibuvTry,
    Tokio,
    /// Hyper on Tokio, for HTTP.
    Hyper,
    Mio,
    Node,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Ours => "loopscope",
            Peer::OursAgain => "loopscope (A/A)",
            Peer::OursOff => "loopscope, probe off",
            Peer::Libuv => "libuv",
            Peer::LibuvTry => "libuv, uv_try_write",
            Peer::Tokio => "tokio",
            Peer::Hyper => "hyper on tokio",
            Peer::Mio => "raw mio",
            Peer::Node => "node",
        }
    }

    /// The word that the command line of a peer in this program has for it.
    fn word(self) -> Option<&'static str> {
        match self {
            Peer::Ours | Peer::OursAgain => Some("ours"),
            Peer::OursOff => Some("ours-off"),
            Peer::Tokio | Peer::Hyper => Some("tokio"),
            Peer::Mio => Some("mio"),
            Peer::Libuv | Peer::LibuvTry | Peer::Node => None,
        }
    }

    /// Returns the command that runs a row. `program` is the C program or Node script, `arguments` what it gets.
    ///
    /// # Errors
    /// What this machine lacks for it.
    fn command(self, row: &str, program: &str, arguments: &[&str]) -> Result<Command, String> {
        if let Some(word) = self.word() {
            let this =
                std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
            let mut command = Command::new(this);
            command.args(["peer", word, if self == Peer::Hyper { "hyper" } else { row }]);
            command.args(arguments.iter().filter(|argument| **argument != row));
            return Ok(command);
        }
        let mut command = match self {
            Peer::Libuv | Peer::LibuvTry => Command::new(compiled(program)?),
            _ => {
                let mut node = Command::new("node");
                node.arg(folder("node").join(format!("{program}.cjs")));
                node
            }
        };
        command.args(arguments).args((self == Peer::LibuvTry).then_some("try"));
        Ok(command)
    }
}

/// A folder beside this file.
fn folder(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "peers", name].iter().collect()
}

/// Compiles a C peer against the libuv of the system, or against the one installed under `$LIBUV`.
fn compiled(program: &str) -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let to = this.with_file_name(format!("libuv-{program}"));
    let mut compile = Command::new("cc");
    compile.args(["-O2", "-std=gnu11", "-Wall", "-Wextra", "-o"]).arg(&to);
    compile.arg(folder("c").join(format!("{program}.c")));
    if let Some(prefix) = std::env::var_os("LIBUV") {
        let (include, library) = (PathBuf::from(&prefix).join("include"), PathBuf::from(&prefix).join("lib"));
        compile.arg("-I").arg(include).arg("-L").arg(&library).arg("-Wl,-rpath").arg("-Xlinker").arg(library);
    }
    let built = compile.args(["-luv", "-lpthread"]).output().map_err(|error| format!("needs cc: {error}"))?;
    match built.status.success() {
        true => Ok(to),
        false => Err("needs libuv's headers: install the package libuv1-dev".to_owned()),
    }
}

/// A peer that runs, and waits for rounds.
pub struct Running {
    pub peer: Peer,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub cpu_ns: u64,
    pub wall_ns: u64,
}

impl Running {
    /// Starts a peer.
    ///
    /// # Errors
    /// Why it cannot run here.
    pub fn start(peer: Peer, row: &str, program: &str, arguments: &[&str]) -> Result<Running, String> {
        let mut command = peer.command(row, program, arguments)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
        let to = child.stdin.take().expect("its standard input is a pipe");
        let from = BufReader::new(child.stdout.take().expect("its standard output is a pipe"));
        Ok(Running { peer, child, to, from })
    }

    /// Has it do so many operations.
    ///
    /// # Errors
    /// It ended.
    pub fn round(&mut self, operations: u64) -> Result<Slice, String> {
        let (before, start) = (self.cpu_ns(), Instant::now());
        writeln!(self.to, "{operations}").map_err(|error| format!("{} ended: {error}", self.peer.name()))?;
        self.line()?;
        Ok(Slice { cpu_ns: self.cpu_ns() - before, wall_ns: start.elapsed().as_nanos() as u64 })
    }

    /// Reads its next line.
    ///
    /// # Errors
    /// It ended.
    pub fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            _ => Err(format!("{} ended early", self.peer.name())),
        }
    }

    /// Returns the processor time that all its threads have used.
    pub fn cpu_ns(&self) -> u64 {
        process_cpu_ns(self.child.id())
    }

    /// Returns the memory it has resident, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is there until it was waited for, so neither fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
