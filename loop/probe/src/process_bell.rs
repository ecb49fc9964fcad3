//! The bell that the loops of this process ring.

use crate::bell::Bell;

/// It rings nobody before an agent says that it sleeps.
pub(crate) static BELL: Bell = Bell::new();

/// In a forked child: its agent's thread is not there, and ringing would wake the parent's.
#[cfg(target_os = "linux")]
pub(crate) fn forget_agent() {
    BELL.stay_awake();
}
