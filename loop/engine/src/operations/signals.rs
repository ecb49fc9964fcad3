//! Signals: any number of listeners of one signal, in any number of loops.
//!
//! A signal handler may do almost nothing, so it only notes the signal and wakes the loop through a pair of sockets.
//! In the poll phase, after all sockets, every listener of each signal that arrived runs, in the order they were made.
//! A signal that arrives twice before that runs them once: the system merges such signals, too.
//!
//! While a signal has a listener anywhere in the process its usual action does not happen; once the last one is closed
//! it does again. (Handlers that other libraries installed for it run in both cases.)
//!
//! # Source
//! `src/unix/signal.c` of libuv 1.46: one handler, a pipe to each loop, signals last in a poll.

use crate::callback::{Many, Origin};
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::signal::{Claim, SIGNALS, SignalListener};
use crate::key::Key;
use loopscope_probe::{Kind, TaskTimes, Ticks};
use mio::Interest;
use signal_hook::consts::SIGCHLD;
use signal_hook_mio::v1_0::Signals;
use std::io;

impl<S: 'static> Cx<'_, S> {
    /// Runs a callback whenever the process gets this signal, by its number; [`signals`](crate::signals) has the names.
    /// It keeps the loop alive until it is closed or unreferenced.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is no signal, and for those that cannot be caught or whose handler could not
    /// return (`SIGKILL`, `SIGSTOP`, `SIGILL`, `SIGFPE`, `SIGSEGV`); else what the operating system says when it
    /// refuses descriptors. In virtual time there are no signals.
    ///
    /// ```no_run
    /// use loopscope_loop::{Loop, Mode, signals};
    ///
    /// let mut event_loop = Loop::new()?;
    /// event_loop.main(|cx| cx.on_signal(signals::SIGTERM, |cx| cx.stop()))?;
    /// event_loop.run(Mode::Default)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn on_signal(&mut self, signal: i32, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> io::Result<Key> {
        self.on_signal_at(Origin::of(&run), signal, Box::new(run))
    }

    fn on_signal_at(&mut self, origin: Origin, signal: i32, run: Many<S>) -> io::Result<Key> {
        self.core.registry()?;
        let claim = Claim::new(signal)?;
        self.core.watch_signal(signal)?;
        let site = self.core.site(origin, Kind::Signal);
        let listener = SignalListener::<S> { run: Some(run), claim };
        let key = self.core.insert(site, What::Signal(Box::new(listener)));
        self.core.referenced += 1;
        let Core { signals, slots, .. } = &mut *self.core;
        signals.listeners.retain(|(_, key)| slots.get(*key).is_some());
        signals.listeners.push((signal, key));
        Ok(key)
    }

    /// Runs the listeners of the signals that arrived, and asks the children. Last in a poll.
    #[inline]
    pub(crate) fn run_signals(&mut self) {
        if self.core.signals.has_due() {
            self.run_due_signals();
        }
    }

    #[inline(never)]
    fn run_due_signals(&mut self) {
        if self.core.signals.has_arrived {
            self.core.take_signals();
        }
        while self.goes_on()
            && let Some((key, ready)) = self.core.signals.due.pop_front()
        {
            match self.core.slots.get(key).map(|entry| &entry.what) {
                Some(What::Child(_)) => self.reap_child(key, ready),
                _ => self.run_listener(key, ready),
            }
        }
    }

    fn run_listener(&mut self, key: Key, ready: Ticks) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Signal(listener) = &mut entry.what else { return };
        let Some(mut run) = listener.run.take() else { return };
        self.enter(Kind::Signal, site, TaskTimes::ready_at(ready), &mut run);
        match self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            Some(What::Signal(listener)) => listener.run = Some(run),
            _ => self.discard(Kind::Signal, site, run),
        }
        self.drain();
    }
}

impl<S: 'static> Core<S> {
    /// Has a signal reported to this loop from now on.
    pub(crate) fn watch_signal(&mut self, signal: i32) -> io::Result<()> {
        let known = match self.signals.source.take() {
            Some(source) => source,
            None => {
                let mut source = Signals::new(std::iter::empty::<i32>())?;
                self.registry()?.register(&mut source, SIGNALS, Interest::READABLE)?;
                source
            }
        };
        self.signals.source.insert(known).add_signal(signal)
    }

    /// Finds out which signals arrived, and whom they concern: first children, then listeners.
    fn take_signals(&mut self) {
        self.signals.has_arrived = false;
        let now = self.stamp();
        let Some(source) = &mut self.signals.source else { return };
        let mut signals: Vec<i32> = source.pending().collect();
        signals.sort_unstable();
        let children = if signals.contains(&SIGCHLD) { self.children_to_ask() } else { Vec::new() };
        let hub = &mut self.signals;
        hub.due.extend(children.into_iter().map(|key| (key, now)));
        for signal in signals {
            // Listeners that are made meanwhile wait for the next signal.
            let listeners = hub.listeners.iter().filter(|(of, _)| *of == signal);
            hub.due.extend(listeners.map(|(_, key)| (*key, now)));
        }
    }

    /// Notes a report whose token is no key's.
    #[cold]
    pub(crate) fn note_signals(&mut self, token: usize) {
        if token == SIGNALS.0 {
            self.signals.has_arrived = true;
        }
    }
}
