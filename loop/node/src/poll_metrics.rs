//! How many events polls have returned, how long they waited, and for what JavaScript runs: asked of libuv and Node, until their
//! memory has been found to say the same.
//!
//! A word in memory takes a nanosecond, and libuv's function, which takes a lock, fifty times that; Node's takes a hundred
//! instructions. Which word it is depends on how they were compiled, so it is compared with the function first: a word that has
//! been equal so often, each time with another value, is it. One that differs once is never looked at again.

/// After so many equal values in a row the word is taken for it.
const SURE: u8 = 16;
/// After so many times in which a word has grown as it should it is taken for it: other words do not grow so.
const SURELY_GROWN: u8 = 4;

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

/// A word in memory that is to grow by what a function says of a time: how many microtasks have ended, by drains. Looked at
/// while it is not known whether it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedGrowth {
    /// What it was at the begin of that time.
    begin: u64,
    equal: u8,
    has_differed: bool,
}

impl CheckedGrowth {
    /// Tells whether it has grown so again and again, or has not once.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.has_differed || self.equal >= SURELY_GROWN
    }

    /// The time begins.
    #[cold]
    pub fn begins(&mut self, word: u64) {
        self.begin = word;
    }

    /// The time has ended, and the word should have grown `by` so much. Returns whether it is the right one, told once.
    #[cold]
    pub fn ended(&mut self, word: u64, by: u64) -> bool {
        match word.checked_sub(self.begin) == Some(by) {
            // One that has not grown proves nothing.
            true => self.equal += u8::from(by > 0),
            false => self.has_differed = true,
        }
        !self.has_differed && self.equal >= SURELY_GROWN
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

    #[test]
    fn a_word_that_grows_as_it_should_is_it_and_one_that_does_not_never_is() {
        let mut growth = CheckedGrowth::default();
        let mut word = 7;
        for time in 1..=u64::from(SURELY_GROWN) {
            assert!(!growth.is_settled());
            growth.begins(word);
            assert!(!growth.ended(word, 0), "nothing is known of it");
            growth.begins(word);
            word += time;
            assert_eq!(growth.ended(word, time), time == u64::from(SURELY_GROWN));
        }
        assert!(growth.is_settled());
        // The begin of a ring grows so until it is at its end.
        let mut begin = CheckedGrowth::default();
        for time in 0..64 {
            begin.begins((time * 3) % 8);
            assert!(!begin.ended((time * 3 + 3) % 8, 3));
        }
        assert!(begin.is_settled());
    }
}
