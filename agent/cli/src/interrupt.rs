//! Waiting that Ctrl-C ends: the first one asks the command to finish in order, the second one ends it at once.

use crate::error::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The exit code of a program that Ctrl-C ended, by the shell's convention.
const EXIT_INTERRUPTED: i32 = 130;

/// Ctrl-C and SIGTERM of this process, from now on.
pub struct Interrupt {
    asked: Receiver<()>,
    was_asked: bool,
}

impl Interrupt {
    /// Starts to listen for the two signals, on a thread of its own.
    ///
    /// # Errors
    /// The system has no room for a handler or a thread.
    pub fn install() -> Result<Interrupt, Failure> {
        let refused = |error| Failure::system("listen for Ctrl-C", error);
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(refused)?;
        let (ask, asked) = channel();
        let listen = move || {
            for (number, _signal) in signals.forever().enumerate() {
                // A receiver that is gone has finished already.
                let _ = ask.send(());
                if number > 0 {
                    std::process::exit(EXIT_INTERRUPTED);
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(refused)?;
        Ok(Interrupt { asked, was_asked: false })
    }

    /// Waits for so long, or until asked to finish. Returns whether it was asked, now or before.
    pub fn wait(&mut self, duration: Duration) -> bool {
        self.was_asked =
            self.was_asked || self.asked.recv_timeout(duration) != Err(RecvTimeoutError::Timeout);
        self.was_asked
    }
}
