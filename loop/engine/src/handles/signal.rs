//! What a loop has of signals: its listeners, what arrived, and the claims that keep a signal's usual action from
//! happening.

use crate::callback::{Many, State};
use crate::key::Key;
use loopscope_probe::Ticks;
use mio::Token;
use signal_hook::consts::FORBIDDEN;
use signal_hook_mio::v1_0::Signals;
use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The token of the pair; no key has it, because a slot's number ends before it.
pub(crate) const SIGNALS: Token = Token(usize::MAX - 1);

/// What a loop has of signals; nothing until it listens to one.
#[derive(Default)]
pub(crate) struct SignalHub {
    pub(crate) source: Option<Signals>,
    /// In the order they were made; stale keys are left until the next is made.
    pub(crate) listeners: Vec<(i32, Key)>,
    /// A report came that was not looked at yet.
    pub(crate) has_arrived: bool,
    /// Listeners to run and children to ask, and since when.
    pub(crate) due: VecDeque<(Key, Ticks)>,
}

/// One listener.
pub(crate) struct SignalListener<S: State> {
    /// Missing while it runs.
    pub(crate) run: Option<Many<S>>,
    #[expect(dead_code, reason = "kept for what its drop does")]
    pub(crate) claim: Claim,
}

impl SignalHub {
    /// Tells whether something is left to do, after a panic stopped the loop.
    #[inline]
    pub(crate) fn has_due(&self) -> bool {
        self.has_arrived || !self.due.is_empty()
    }
}

/// Keeps a signal's usual action from happening.
pub(crate) struct Claim(i32);

/// How many claims there are of each signal, and whether there are none.
type Claims = BTreeMap<i32, (usize, Arc<AtomicBool>)>;

static CLAIMS: Mutex<Claims> = Mutex::new(Claims::new());

impl Claim {
    pub(crate) fn new(signal: i32) -> io::Result<Claim> {
        if FORBIDDEN.contains(&signal) || signal_hook::low_level::signal_name(signal).is_none() {
            let refusal = format!("signal {signal} does not exist or cannot be caught");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, refusal));
        }
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, is_unclaimed) = match claims.entry(signal) {
            Entry::Occupied(claimed) => claimed.into_mut(),
            Entry::Vacant(vacant) => {
                let is_unclaimed = Arc::new(AtomicBool::new(false));
                // Installed once, and never taken back: it does nothing while the signal is claimed.
                signal_hook::flag::register_conditional_default(signal, is_unclaimed.clone())?;
                vacant.insert((0, is_unclaimed))
            }
        };
        *count += 1;
        is_unclaimed.store(false, Ordering::SeqCst);
        Ok(Claim(signal))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, is_unclaimed)) = claims.get_mut(&self.0) {
            *count -= 1;
            is_unclaimed.store(*count == 0, Ordering::SeqCst);
        }
    }
}
