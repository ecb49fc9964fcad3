//! The process to attach to: what of it can be known without touching it, and why it is refused.
//!
//! SIGUSR1 ends a process that does not handle it, and calls a handler of the program's where there is one. So it is
//! sent only to a Node that handles it itself, as far as that can be seen.

use crate::error::Failure;
use crate::node::addon::Preload;
use crate::node::attach::signal_handler::SignalTree;
use crate::node::attach::sockets;
use crate::node::command_line::CommandLine;
use crate::node::permission;
use loopscope_probe::raw::directory::{Owner, own_user, process_start};
use loopscope_stacks::{ElfSymbols, SymbolTable};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A function that every Node has, and no other runtime.
const NODE_START: &[u8] = b"_ZN4node5StartEiPPc";
/// Node as a library, as some systems have it.
const NODE_LIBRARY: &str = "/libnode.so";
/// Where Node's inspector listens if nothing else was said.
const DEFAULT_PORT: u16 = 9229;
/// Bit of SIGUSR1 in the masks of /proc/PID/status.
const SIGUSR1_BIT: u64 = 1 << 9;
/// Options that name the inspector's address.
const PORT_OPTIONS: [&str; 5] =
    ["--inspect-port", "--inspect", "--inspect-brk", "--inspect-wait", "--inspect-brk-node"];

/// A process that lives.
#[derive(Debug)]
pub struct AttachTarget {
    owner: Owner,
    descriptor: OwnedFd,
    status: String,
    /// Where its handlers of signals are; `None` inside where that is not known.
    handlers: OnceCell<Option<SignalTree>>,
}

impl AttachTarget {
    /// Finds it.
    ///
    /// # Errors
    /// There is none with this pid, or it is another user's.
    pub fn open(pid: u32) -> Result<AttachTarget, Failure> {
        let gone = || Failure::NotFound(format!("no such process: {pid}"));
        let start = process_start(pid).ok_or_else(gone)?;
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let descriptor = pidfd_open(raw, PidfdFlags::empty()).map_err(|_| gone())?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| gone())?;
        let target =
            AttachTarget { owner: Owner { pid, start }, descriptor, status, handlers: OnceCell::new() };
        match (target.user(), own_user()) {
            (Some(user), own) if user != own => Err(target.refused(format!(
                "it runs as uid {user}, this command as uid {own}: run it as that user: \
                 `sudo -u '#{user}' loopscope attach {pid}`"
            ))),
            _ => Ok(target),
        }
    }

    /// Returns its pid.
    pub fn pid(&self) -> u32 {
        self.owner.pid
    }

    /// Tells whether that very process lives still.
    pub fn is_alive(&self) -> bool {
        self.owner.is_alive()
    }

    /// Returns why nothing is done.
    pub fn refused(&self, because: impl Into<String>) -> Failure {
        Failure::system(&format!("attach to process {}", self.pid()), because.into())
    }

    /// Returns why it cannot go on: the process has ended, or what is told.
    pub fn failed(&self, because: impl Into<String>) -> Failure {
        match self.is_alive() {
            true => self.refused(because),
            false => Failure::NotFound(format!("process {} ended during the attach", self.pid())),
        }
    }

    /// Checks that it can be attached to.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self, preload: &Preload) -> Result<(), Failure> {
        let pid = self.pid();
        self.check_state()?;
        if let Some(namespace) = self.foreign_namespace() {
            let inside =
                self.field("NSpid:").and_then(|pids| pids.split_whitespace().last().map(str::to_owned));
            return Err(self.refused(format!(
                "it is in another {namespace} namespace (a container): run this command in it, where its pid is {}",
                inside.unwrap_or_else(|| "?".to_owned())
            )));
        }
        let Some(program) = self.node() else {
            return Err(self.refused(format!("it is not Node.js: {}", self.program())));
        };
        let line = self.command_line();
        // Node opens no inspector where it may not, and says nothing.
        if let Some(why) = permission::not_attachable(&line, &preload.scripts) {
            return Err(self.refused(why));
        }
        self.handlers.get_or_init(|| SignalTree::find(pid, &program));
        self.check_handler()?;
        let port = port_of(&line);
        match sockets::owner_of(pid, port) {
            sockets::Taken::ByIt => Err(self.refused(format!(
                "its inspector is already open on port {port}, and may be in use; close it, or use `loopscope run`"
            ))),
            sockets::Taken::ByAnother => Err(self.refused(format!(
                "port {port}, the inspector's port, is in use by another process"
            ))),
            sockets::Taken::No => self.check_scripts(preload),
        }
    }

    /// Looks at it as it is now: a program may take its own handler away, and with it Node's goes, too.
    fn check_handler(&self) -> Result<(), Failure> {
        let handlers = self.handlers.get().and_then(Option::as_ref);
        if handlers.and_then(SignalTree::has_own_handler) == Some(true) {
            return Err(self.refused(
                "it handles SIGUSR1 itself, so Node would not open its inspector; use `loopscope run` instead",
            ));
        }
        // Last: between the two it may be taken away.
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let caught = field(&status, "SigCgt:").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        if caught.unwrap_or(0) & SIGUSR1_BIT == 0 {
            return Err(self.failed(
                "it does not handle SIGUSR1: it was started with --disable-sigusr1, is still starting, or has removed a \
                 handler of its own; use `loopscope run` instead",
            ));
        }
        Ok(())
    }

    /// What is stopped handles no signal, and opens its inspector when it goes on and nobody waits for that.
    fn check_state(&self) -> Result<(), Failure> {
        let pid = self.pid();
        match self.field("State:").and_then(|state| state.chars().next()) {
            Some('T' | 't') => Err(self.refused(format!(
                "it is stopped, by a signal or a debugger: resume it first, for example with `kill -CONT {pid}`"
            ))),
            _ => Ok(()),
        }
    }

    fn check_scripts(&self, preload: &Preload) -> Result<(), Failure> {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        let scripts = preload.scripts.strip_prefix("/").unwrap_or(&preload.scripts);
        match root.join(scripts).is_dir() {
            true => Ok(()),
            false => Err(self.refused(format!("it cannot see {}, because its mount namespace or root directory is another: run this command in there", preload.scripts.display()))),
        }
    }

    /// Has Node open its inspector. It reaches this very process, or nobody.
    ///
    /// # Errors
    /// It has ended, or may not be signalled; or it would not handle the signal, which would end it.
    pub fn signal(&self) -> Result<(), Failure> {
        // Finding out the rest has taken a while.
        self.check_handler()?;
        pidfd_send_signal(&self.descriptor, Signal::USR1).map_err(|error| self.failed(error.to_string()))
    }

    /// Returns the file that is mapped where Node's own code is; `None` where it is no Node.
    fn node(&self) -> Option<PathBuf> {
        let executable = self.executable();
        // As it is to the process, also where another file has its name now.
        let mapped = format!("/proc/{}/exe", self.pid());
        if exports(Path::new(&mapped), NODE_START) {
            return Some(executable);
        }
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).ok()?;
        let library = maps.lines().find(|line| line.contains(NODE_LIBRARY))?;
        library.find('/').map(|at| PathBuf::from(&library[at..]))
    }

    fn executable(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.pid())).unwrap_or_default()
    }

    /// Returns the path of its program, or its name where that is not known.
    fn program(&self) -> String {
        match fs::read_link(format!("/proc/{}/exe", self.pid())) {
            Ok(path) => path.display().to_string(),
            Err(_) => self.field("Name:").unwrap_or_default(),
        }
    }

    /// Returns the options that Node was given: on its command line, and in its environment.
    fn command_line(&self) -> CommandLine {
        let arguments: Vec<OsString> = self.read_words("cmdline").into_iter().skip(1).collect();
        let environment = self.read_words("environ");
        let set = environment.iter().find_map(|line| line.as_bytes().strip_prefix(b"NODE_OPTIONS="));
        CommandLine::new(&arguments, set.map(OsStr::from_bytes))
    }

    /// Reads a file of /proc that has a zero behind each word.
    fn read_words(&self, name: &str) -> Vec<OsString> {
        let bytes = fs::read(format!("/proc/{}/{name}", self.pid())).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_owned()).collect()
    }

    fn field(&self, name: &str) -> Option<String> {
        field(&self.status, name).map(str::to_owned)
    }

    /// The effective one.
    fn user(&self) -> Option<u32> {
        self.field("Uid:")?.split_whitespace().nth(1)?.parse().ok()
    }

    fn foreign_namespace(&self) -> Option<&'static str> {
        let of = |process: &str, name: &str| fs::read_link(format!("/proc/{process}/ns/{name}")).ok();
        let pid = self.pid().to_string();
        let is_other = |name: &str| match (of(&pid, name), of("self", name)) {
            (Some(its), Some(own)) => its != own,
            _ => false,
        };
        [("pid", "pid"), ("mnt", "mount"), ("net", "network")]
            .into_iter()
            .find(|(name, _)| is_other(name))
            .map(|(_, name)| name)
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Tells whether a file has a function that other files can take.
fn exports(file: &Path, function: &[u8]) -> bool {
    let found = ElfSymbols::open(file, SymbolTable::Exported)
        .and_then(|mut symbols| symbols.address_of(|name| name == function));
    found.is_ok_and(|address| address.is_some())
}

/// Returns where the inspector will listen; 0 where on any port that is free.
fn port_of(line: &CommandLine) -> u16 {
    let named = line.options().filter(|(name, _)| PORT_OPTIONS.contains(name));
    let ports = named.filter_map(|(_, value)| value?.rsplit(':').next()?.parse().ok());
    ports.last().unwrap_or(DEFAULT_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_what_the_last_option_names() {
        for (words, port) in [
            (&["app.js"][..], 9229),
            (&["--inspect-port=0", "app.js"], 0),
            (&["--inspect-port", "127.0.0.1:9300", "app.js"], 9300),
            (&["--debug-port", "9300", "--inspect", "app.js"], 9300),
            (&["--inspect=localhost:9301"], 9301),
            (&["--inspect", "app.js"], 9229),
            (&["app.js", "--inspect-port=9302"], 9229),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(port_of(&CommandLine::new(&words, None)), port, "{words:?}");
        }
    }

    #[test]
    fn a_process_that_is_no_node_is_not_signalled() {
        let target = AttachTarget::open(std::process::id()).unwrap();
        let preload = Preload { scripts: "/".into(), addon: None };
        let refusal = target.check(&preload).unwrap_err().to_string();
        assert!(refusal.contains("it is not Node.js"), "{refusal}");
        assert_eq!(AttachTarget::open(u32::MAX).unwrap_err().exit_code(), 3);
    }
}
