//! The process to attach to: what of it can be known without touching it, and why it is refused.
//!
//! SIGUSR1 ends a process that does not handle it, and calls a handler of the program's where there is one. So it is
//! sent only to a Node that handles it itself, as far as that can be seen.

use crate::error::Failure;
use crate::node::addon::Preload;
use crate::node::attach::{elf, signal_handler, sockets};
use crate::node::permission;
use loopscope_probe::raw::directory::{Owner, own_user, process_start};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A function that every Node has, and no other runtime.
const NODE_START: &str = "_ZN4node5StartEiPPc";
/// Node as a library, as some systems have it.
const NODE_LIBRARY: &str = "/libnode.so";
/// Where Node's inspector listens if nothing else was said.
const DEFAULT_PORT: u16 = 9229;
/// Bit of SIGUSR1 in the masks of /proc/PID/status.
const SIGUSR1_BIT: u64 = 1 << 9;
/// Options that name the inspector's address.
const PORT_OPTIONS: [&str; 6] =
    ["--inspect-port", "--debug-port", "--inspect", "--inspect-brk", "--inspect-wait", "--inspect-brk-node"];

/// A process that lives.
#[derive(Debug)]
pub struct Target {
    owner: Owner,
    descriptor: OwnedFd,
    status: String,
}

impl Target {
    /// Finds it.
    ///
    /// # Errors
    /// There is none with this pid, or it is another user's.
    pub fn open(pid: u32) -> Result<Target, Failure> {
        let gone = || Failure::NotFound(format!("no such process: {pid}"));
        let start = process_start(pid).ok_or_else(gone)?;
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let descriptor = pidfd_open(raw, PidfdFlags::empty()).map_err(|_| gone())?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| gone())?;
        let target = Target { owner: Owner { pid, start }, descriptor, status };
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
        self.check_permission(preload)?;
        let words = self.words();
        if self.mask("SigCgt:") & SIGUSR1_BIT == 0 {
            return Err(self.refused(
                "it does not handle SIGUSR1: it was started with --disable-sigusr1, or is still starting; use \
                 `loopscope run` instead",
            ));
        }
        if signal_handler::is_own(pid, &program) == Some(true) {
            return Err(self.refused(
                "it handles SIGUSR1 itself, so Node would not open its inspector; use `loopscope run` instead",
            ));
        }
        let port = port_of(&words);
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

    /// What is stopped handles no signal, and opens its inspector when it goes on and nobody waits for that.
    fn check_state(&self) -> Result<(), Failure> {
        let pid = self.pid();
        match self.field("State:").and_then(|state| state.chars().next()) {
            Some('T' | 't') => Err(self.refused(format!(
                "it is stopped, by a signal or a debugger: let it go on first, as by `kill -CONT {pid}`"
            ))),
            _ => Ok(()),
        }
    }

    /// Node opens no inspector where it may not, and says nothing.
    fn check_permission(&self, preload: &Preload) -> Result<(), Failure> {
        let arguments: Vec<OsString> =
            self.read_words("cmdline").into_iter().skip(1).map(OsString::from).collect();
        let set = self.node_options().map(OsString::from);
        match permission::not_attachable(&arguments, set.as_deref(), &preload.scripts) {
            Some(why) => Err(self.refused(why)),
            None => Ok(()),
        }
    }

    fn check_scripts(&self, preload: &Preload) -> Result<(), Failure> {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        let scripts = preload.scripts.strip_prefix("/").unwrap_or(&preload.scripts);
        match root.join(scripts).is_dir() {
            true => Ok(()),
            false => Err(self.refused(format!("it does not see {}", preload.scripts.display()))),
        }
    }

    /// Has Node open its inspector. It reaches this very process, or nobody.
    ///
    /// # Errors
    /// It has ended, or may not be signalled.
    pub fn signal(&self) -> Result<(), Failure> {
        pidfd_send_signal(&self.descriptor, Signal::USR1).map_err(|error| self.failed(error.to_string()))
    }

    /// Returns the file that is mapped where Node's own code is; `None` where it is no Node.
    fn node(&self) -> Option<PathBuf> {
        let executable = self.executable();
        // As it is to the process, also where another file has its name now.
        let mapped = format!("/proc/{}/exe", self.pid());
        if elf::has_function(Path::new(&mapped), NODE_START) {
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

    /// Returns its command line, and what its environment adds to that.
    fn words(&self) -> Vec<String> {
        let set = self.node_options().unwrap_or_default();
        let mut words: Vec<String> = set.split(' ').map(str::to_owned).collect();
        words.extend(self.read_words("cmdline"));
        words
    }

    fn node_options(&self) -> Option<String> {
        let environment = self.read_words("environ");
        environment.iter().find_map(|line| line.strip_prefix("NODE_OPTIONS=")).map(str::to_owned)
    }

    /// Reads a file of /proc that has a zero behind each word.
    fn read_words(&self, name: &str) -> Vec<String> {
        let bytes = fs::read(format!("/proc/{}/{name}", self.pid())).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    fn field(&self, name: &str) -> Option<String> {
        self.status.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
    }

    fn mask(&self, name: &str) -> u64 {
        self.field(name).and_then(|text| u64::from_str_radix(&text, 16).ok()).unwrap_or(0)
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

/// Returns where the inspector will listen; 0 where on any port that is free.
fn port_of(words: &[String]) -> u16 {
    let mut port = DEFAULT_PORT;
    for (at, word) in words.iter().enumerate() {
        let (option, value) = word.split_once('=').unwrap_or((word, ""));
        if !PORT_OPTIONS.contains(&option) {
            continue;
        }
        // Only these two take their value from the next word, too.
        let is_apart = value.is_empty() && PORT_OPTIONS[..2].contains(&option);
        let value = if is_apart { words.get(at + 1).map_or("", String::as_str) } else { value };
        let last = value.rsplit(':').next().unwrap_or(value);
        port = last.parse().unwrap_or(port);
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_what_the_last_option_names() {
        for (words, port) in [
            (&["node", "app.js"][..], 9229),
            (&["node", "--inspect-port=0", "app.js"], 0),
            (&["node", "--inspect-port", "127.0.0.1:9300", "app.js"], 9300),
            (&["node", "--inspect=localhost:9301"], 9301),
            (&["node", "--inspect", "app.js"], 9229),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(port_of(&words), port, "{words:?}");
        }
    }

    #[test]
    fn a_process_that_is_no_node_is_not_signalled() {
        let target = Target::open(std::process::id()).unwrap();
        let preload = Preload { scripts: "/".into(), addon: None };
        let refusal = target.check(&preload).unwrap_err().to_string();
        assert!(refusal.contains("it is not Node.js"), "{refusal}");
        assert_eq!(Target::open(u32::MAX).unwrap_err().exit_code(), 3);
    }
}
