//! Child processes: started, talked to over pipes, and reaped.
//!
//! `SIGCHLD` tells that some child ended; the loop then asks each of its own, and only those, so that children of other
//! libraries stay theirs. A child whose key was closed, or whose loop is gone, is not forgotten: it is reaped when the
//! next `SIGCHLD` reaches any loop of the process that has children, or when the next child is started.
//!
//! # Source
//! `uv_spawn` and `uv__wait_children` in `src/unix/process.c` of libuv 1.46.

use crate::callback::Origin;
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::child::{Child, ChildProcess, OnExit, adopt_orphan, reap_orphans};
use crate::handles::transport::Transport;
use crate::key::Key;
use loopscope_probe::{Kind, TaskTimes, Ticks};
use mio::unix::pipe::{Receiver, Sender};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGCHLD;
use std::io;
use std::panic::Location;
use std::process::{self, Command, ExitStatus};

impl<S: 'static> Cx<'_, S> {
    /// Starts a command; the callback gets its exit status once it ended. It keeps the loop alive until then, unless it
    /// is unreferenced; closing the key lets it run on unwatched. Its pipes are streams of their own: they may have
    /// more to read after the end, and are the program's to close.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::process::{Command, Stdio};
    ///
    /// let mut event_loop = Loop::new()?;
    /// event_loop.main(|cx| {
    ///     let child = cx.spawn(Command::new("cat").stdin(Stdio::piped()), |_, status| {
    ///         assert!(status.is_ok_and(|status| status.success()));
    ///     })?;
    ///     let stdin = child.stdin.expect("it was asked for");
    ///     cx.write(stdin, b"hello\n")?;
    ///     cx.shutdown(stdin);
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// What the operating system says when it cannot start the command, such as `NotFound`, or cannot watch its pipes,
    /// and then the child is killed. In virtual time there are no processes.
    #[track_caller]
    pub fn spawn(
        &mut self,
        command: &mut Command,
        run: impl FnOnce(&mut Cx<'_, S>, io::Result<ExitStatus>) + 'static,
    ) -> io::Result<Child> {
        self.spawn_child(Origin::of(&run), command, Box::new(run))
    }

    fn spawn_child(&mut self, origin: Origin, command: &mut Command, run: OnExit<S>) -> io::Result<Child> {
        self.core.registry()?;
        // First the signal, so that the end of the shortest child is not missed.
        self.core.watch_signal(SIGCHLD)?;
        reap_orphans();
        let mut process = command.spawn()?;
        let pid = process.id();
        let streams = match self.open_stdio(origin.at, &mut process) {
            Ok(streams) => streams,
            Err(error) => {
                let _ = process.kill();
                adopt_orphan(process);
                return Err(error);
            }
        };
        let site = self.core.site(origin, Kind::Child);
        let child = ChildProcess::<S> { process: Some(process), run: Some(run) };
        let key = self.core.insert(site, What::Child(Box::new(child)));
        self.core.referenced += 1;
        self.core.children.push(key);
        let [stdin, stdout, stderr] = streams;
        Ok(Child { key, pid, stdin, stdout, stderr })
    }

    /// Makes streams of a child's pipes; all of them or none.
    fn open_stdio(
        &mut self,
        at: &'static Location<'static>,
        process: &mut process::Child,
    ) -> io::Result<[Option<Key>; 3]> {
        let input = process.stdin.take().map(|pipe| {
            let pipe = Sender::from(pipe);
            pipe.set_nonblocking(true).map(|()| Transport::PipeOut(Some(pipe)))
        });
        let output = |pipe: Receiver| pipe.set_nonblocking(true).map(|()| Transport::PipeIn(pipe));
        let outputs = [process.stdout.take().map(Receiver::from), process.stderr.take().map(Receiver::from)];
        let [stdout, stderr] = outputs.map(|pipe| pipe.map(output));
        let mut keys = [None; 3];
        for (index, transport) in [input, stdout, stderr].into_iter().enumerate() {
            let opened = transport.map(|transport| self.open_at(at, transport?)).transpose();
            match opened {
                Ok(key) => keys[index] = key,
                Err(error) => {
                    keys.into_iter().flatten().for_each(|key| self.core.drop_socket(key));
                    return Err(error);
                }
            }
        }
        Ok(keys)
    }

    /// Sends a signal to a child, by its number; [`signals`](crate::signals) has the names.
    ///
    /// # Errors
    /// `NotFound` for a stale key, also that of a child that ended, and what is not a child; `InvalidInput` for a
    /// number that is no signal; else what the operating system says.
    pub fn kill(&mut self, key: Key, signal: i32) -> io::Result<()> {
        let pid = match self.core.slots.get(key).map(|entry| &entry.what) {
            // It was not waited for, so its number cannot have gone to another process.
            Some(What::Child(child)) => child.process.as_ref().map(process::Child::id),
            _ => None,
        };
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, signal)?)
    }

    /// Asks a child whether it ended, and runs its callback then.
    pub(crate) fn reap_child(&mut self, key: Key, ready: Ticks) {
        let Some(What::Child(child)) = self.core.slots.get_mut(key).map(|entry| &mut entry.what) else {
            return;
        };
        let status = match child.process.as_mut().map(process::Child::try_wait) {
            Some(Ok(Some(status))) => Ok(status),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => return,
        };
        child.process = None;
        let Some(entry) = self.core.remove(key) else { return };
        self.core.forget(&entry.what, entry.is_ref);
        let What::Child(mut child) = entry.what else { return };
        if let Some(run) = child.run.take() {
            self.enter(Kind::Child, entry.site, TaskTimes::ready_at(ready), |cx| run(cx, status));
        }
        self.drain();
    }
}

impl<S: 'static> Core<S> {
    /// Returns the children that run, and reaps those without a key.
    pub(crate) fn children_to_ask(&mut self) -> Vec<Key> {
        reap_orphans();
        self.children.retain(|key| self.slots.get(*key).is_some());
        self.children.clone()
    }
}
