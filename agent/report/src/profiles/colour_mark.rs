//! Private characters that stand for colours behind the texts of frames while they are drawn.

use loopscope_probe::Phase;

/// First of the private characters.
pub(crate) const FIRST_MARK: u32 = 0xe000;

/// That of what a thread waits in.
pub(crate) const WAIT_MARK: usize = 1 + 2 * Phase::COUNT;

/// First of those that stand for a change, from the greatest loss to the greatest gain.
pub(crate) const CHANGE_MARK: u32 = FIRST_MARK + 0x100;

/// How many of those there are.
const CHANGE_MARKS: u32 = 17;

/// Tells whether a character stands for a colour.
pub(crate) fn is_mark(c: char) -> bool {
    let number = u32::from(c);
    (FIRST_MARK..=FIRST_MARK + WAIT_MARK as u32).contains(&number)
        || (CHANGE_MARK..CHANGE_MARK + CHANGE_MARKS).contains(&number)
}
