//! Private characters that stand for colours behind the texts of frames while they are drawn.

use loopscope_probe::Phase;

/// First of the private characters.
pub(crate) const FIRST_MARK: u32 = 0xe000;

/// That of what a thread waits in.
pub(crate) const WAIT_MARK: usize = 1 + 2 * Phase::COUNT;

/// Tells whether a character stands for a colour.
pub(crate) fn is_mark(c: char) -> bool {
    (FIRST_MARK..=FIRST_MARK + WAIT_MARK as u32).contains(&u32::from(c))
}
