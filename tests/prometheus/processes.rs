//! Processes to be watched, each of them for some seconds: some that are killed, stopped, starved, or started again
//! and again.

use crate::servers::until;
use std::fs::DirBuilder;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The system calls in which a loop waits, by number.
#[cfg(target_arch = "x86_64")]
const EPOLL_WAITS: [libc::c_long; 2] = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_WAITS: [libc::c_long; 1] = [libc::SYS_epoll_pwait];

/// A program with a loop that does next to nothing, and an agent. Killed when dropped, as one that crashes.
pub struct Watched {
    child: Child,
    address: String,
    /// Its commands; it ends of its own accord when this is closed.
    commands: ChildStdin,
    /// Its answers, each a line.
    answers: BufReader<ChildStdout>,
}

impl Watched {
    /// Starts one whose pages are in `directory`, and waits until its loop runs.
    pub fn start(directory: &Path) -> Watched {
        let mut child = Command::new(env!("CARGO_BIN_EXE_watched"))
            .env("LOOPSCOPE_RUNTIME_DIR", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").expect("its address comes first").to_owned();
        Watched { child, address, commands, answers }
    }

    /// Returns where its agent listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets a timer of its loop compute for so long.
    pub fn block(&mut self, milliseconds: u64) {
        self.obey(&format!("block web {milliseconds}"));
    }

    /// Keeps its loop's thread, and no other, from the processor: it wants to run each millisecond, for next to
    /// nothing, on CPU whose other thread computes and is preferred, by so much that a wait takes some ten
    /// milliseconds: one that falls into a callback is no stall. `None`, with a word about it, where the commands for
    /// that are not installed.
    pub fn starve(&mut self) -> Option<Spinner> {
        let (thread, processor) = (self.loop_thread()?, last_processor()?);
        let spinner = Spinner::start(&processor)?;
        told(Command::new("taskset").args(["-p", "-c", &processor, &thread]))?;
        told(Command::new("renice").args(["-n", "5", "-p", &thread]))?;
        self.obey("tick web 1");
        Some(spinner)
    }

    /// Returns for how long the loop's thread was runnable and not scheduled, by the kernel's account.
    pub fn run_delay(&self) -> Option<Duration> {
        let path = format!("/proc/{}/task/{}/schedstat", self.child.id(), self.loop_thread()?);
        let delay_ns = std::fs::read_to_string(path).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some(Duration::from_nanos(delay_ns))
    }

    /// Returns the thread of its loop.
    fn loop_thread(&self) -> Option<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let is_it = |thread: &std::fs::DirEntry| {
            std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim_end() == "loop-1")
        };
        Some(threads.flatten().find(is_it)?.file_name().to_string_lossy().into_owned())
    }

    fn obey(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "ok\n");
    }

    /// Stops it while its loop waits in its poll: one that is stopped in a callback would have a stall and lag.
    pub fn stop_in_its_poll(&self) {
        let is_in_poll = |syscall: &str| {
            let number = syscall.split(' ').next().and_then(|number| number.parse().ok());
            number.is_some_and(|number: libc::c_long| EPOLL_WAITS.contains(&number))
        };
        until(|| {
            self.signal("-STOP");
            until(|| self.is_stopped().then_some(()).ok_or_else(|| "the process is stopped".to_owned()));
            // `running` where the signal found it outside a system call.
            let thread = self.loop_thread().ok_or("the loop has a thread")?;
            let path = format!("/proc/{}/task/{thread}/syscall", self.child.id());
            let syscall =
                std::fs::read_to_string(path).map_err(|error| format!("syscall is readable: {error}"))?;
            if is_in_poll(&syscall) {
                return Ok(());
            }
            self.signal("-CONT");
            Err(format!("the loop is in its poll, not in {syscall:?}"))
        });
    }

    /// Returns whether all its threads are stopped.
    fn is_stopped(&self) -> bool {
        let Ok(mut threads) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return false;
        };
        threads.all(|thread| {
            let stat = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat")));
            stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('T')))
        })
    }

    /// Sends it a signal by kill(1): `-STOP`, `-CONT`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(name).arg(self.child.id().to_string()).status().unwrap();
        assert!(done.success(), "kill {name}");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that computes on one processor until this is dropped.
pub struct Spinner(Child);

impl Spinner {
    fn start(processor: &str) -> Option<Spinner> {
        let mut command = Command::new("taskset");
        command.args(["-c", processor, "sh", "-c", "while :; do :; done"]);
        let child = command.stdin(Stdio::null()).spawn();
        child.inspect_err(|error| println!("skipped: a starved process: taskset: {error}")).ok().map(Spinner)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the number of the last processor that this process may use.
fn last_processor() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().rsplit([',', '-']).next().map(str::to_owned)
}

/// Runs a command that has nothing to say; `None`, with a word about it, where that does not work.
fn told(command: &mut Command) -> Option<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Some(()),
        failure => {
            println!("skipped: a starved process: {name}: {failure:?}");
            None
        }
    }
}

/// A private folder for pages, in memory as they must be, which is removed in the end.
pub struct Pages(PathBuf);

impl Pages {
    /// Makes one.
    pub fn new() -> Pages {
        let path = PathBuf::from(format!("/dev/shm/loopscope-company-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Pages(path)
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // A file that is left over is in the folder for such files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One address for a process that is started again and again: what a supervisor's port is.
pub struct Address {
    own: String,
    behind: Arc<Mutex<Option<String>>>,
}

impl Address {
    /// Listens for as long as the program runs.
    pub fn new() -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let behind = Arc::new(Mutex::new(None::<String>));
        let of_thread = Arc::clone(&behind);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let target = of_thread.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Nobody behind it: hang up, as a port that nobody listens on.
                let Some(target) = target.and_then(|address| TcpStream::connect(address).ok()) else {
                    continue;
                };
                join(stream, target);
            }
        });
        Address { own, behind }
    }

    /// Returns the address.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Says who is behind it from now on.
    pub fn lead_to(&self, watched: Option<&Watched>) {
        let address = watched.map(|watched| watched.address().to_owned());
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

/// Copies both ways, until either side ends.
fn join(near: TcpStream, far: TcpStream) {
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
    for (mut from, mut to) in [(near, far_too), (far, near_too)] {
        std::thread::spawn(move || {
            // One of the two has gone: so does the other.
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}
