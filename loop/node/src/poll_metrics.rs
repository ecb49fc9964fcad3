//! How many events polls have returned, how long they waited, and for what JavaScript runs: asked of libuv and Node, until their
//! memory has been found to say the same.
//!
//! A word in memory takes a nanosecond, and libuv's function, which takes a lock, fifty times that; Node's takes a hundred
//! instructions. Which word it is depends on how they were compiled, so it is compared with the function first: a word that has
//! been equal so often, each time with another value, is it. One that differs once is never looked at again.

/// After so many equal values in a row the word is taken for it.
const SURE: u8 = 16;

/// One figure, of which a function is asked, or a word in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedWord {
    /// The last value that was compared.
    last: u64,
    equal: u8,
    has_differed: bool,
}

impl CheckedWord {
    /// Returns the figure.
    #[inline]
    pub fn read(&mut self, word: impl FnOnce() -> u64, function: impl FnOnce() -> u64) -> u64 {
        if self.is_sure() {
            return word();
        }
        self.compare(word, function)
    }

    /// Tells whether the word in memory is read.
    #[inline]
    pub fn is_sure(&self) -> bool {
        self.equal >= SURE
    }

    #[cold]
    fn compare(&mut self, word: impl FnOnce() -> u64, function: impl FnOnce() -> u64) -> u64 {
        let value = function();
        // A value that has not changed proves nothing.
        if !self.has_differed && value != self.last {
            self.last = value;
            match word() == value {
                true => self.equal += 1,
                false => *self = CheckedWord { has_differed: true, ..CheckedWord::default() },
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_once_it_has_been_equal_often_enough() {
        let mut checked = CheckedWord::default();
        for value in 1..=u64::from(SURE) {
            for _ in 0..2 {
                assert_eq!(checked.read(|| value, || value), value);
            }
        }
        assert!(checked.is_sure());
        assert_eq!(checked.read(|| 99, || unreachable!()), 99);
    }

    #[test]
    fn a_word_that_differed_once_and_one_that_never_changes_are_never_read() {
        let mut checked = CheckedWord::default();
        for value in 1..1000 {
            assert_eq!(checked.read(|| if value == 9 { 0 } else { value }, || value), value);
        }
        let mut checked = CheckedWord::default();
        for _ in 0..1000 {
            assert_eq!(checked.read(|| 0, || 0), 0);
        }
        assert_eq!(checked, CheckedWord::default());
    }
}
