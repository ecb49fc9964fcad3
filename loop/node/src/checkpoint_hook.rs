//! Where V8's checkpoints are hooked: where one parts what runs, and not at most others.
//!
//! V8 copies its list of hooks at each checkpoint, and most come between two entries, where they part nothing. So the hook is set as an
//! entry begins that is parted, and taken away at its end. But where ticks run again and again, as in each request of HTTP, there is
//! hardly another checkpoint than theirs, and to set the hook each time costs more than it saves: there it stays, until some have
//! come in a row that parted nothing.

/// For so many checkpoints that part nothing the hook stays.
const IN_VAIN: u8 = 2;

/// Whether checkpoints are hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckpointHook {
    /// It can be set.
    is_enabled: bool,
    is_set: bool,
    /// After so many checkpoints in vain it goes.
    left: u8,
}

impl CheckpointHook {
    /// The hook can be set.
    pub(crate) fn enable(&mut self) {
        self.is_enabled = true;
    }

    /// The hook is not to be set any more. Returns whether [`CheckpointHook::change`] is to be called.
    pub(crate) fn disable(&mut self) -> bool {
        *self = CheckpointHook { is_set: self.is_set, ..CheckpointHook::default() };
        self.is_to_change(false)
    }

    /// Tells whether the hook is to be set where it is not, or the other way round.
    #[inline]
    pub(crate) fn is_to_change(&self, is_needed: bool) -> bool {
        (self.is_enabled && (is_needed || self.left > 0)) != self.is_set
    }

    /// [`CheckpointHook::is_to_change`] as an entry begins, between which and the one before nothing has changed.
    #[inline]
    pub(crate) fn is_missing(&self, is_needed: bool) -> bool {
        is_needed && !self.is_set && self.is_enabled
    }

    /// [`CheckpointHook::is_to_change`] as an entry ends.
    #[inline]
    pub(crate) fn is_to_go(&self) -> bool {
        self.is_set && self.left == 0
    }

    /// The hook is set, or taken away. Returns whether it is set now.
    pub(crate) fn change(&mut self) -> bool {
        self.is_set = !self.is_set;
        self.is_set
    }

    /// A checkpoint has come where one was needed or not, in a queue of ticks or elsewhere.
    #[inline]
    pub(crate) fn came(&mut self, is_needed: bool, is_in_ticks: bool) {
        match (is_needed, is_in_ticks) {
            (true, true) => self.left = IN_VAIN,
            (true, false) => {}
            (false, _) => self.left = self.left.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what changes: the hook is set, or taken away.
    fn follow(hook: &mut CheckpointHook, is_needed: bool) -> Option<bool> {
        hook.is_to_change(is_needed).then(|| hook.change())
    }

    /// An entry, with as many checkpoints in it; what changes at its begin, and what after that.
    fn entry(hook: &mut CheckpointHook, checkpoints: usize, is_in_ticks: bool) -> [Option<bool>; 2] {
        let begins = hook.is_missing(true).then(|| hook.change());
        for _ in 0..checkpoints {
            hook.came(true, is_in_ticks);
            assert_eq!(follow(hook, true), None);
        }
        [begins, hook.is_to_go().then(|| hook.change())]
    }

    fn in_vain(hook: &mut CheckpointHook) -> Option<bool> {
        hook.came(false, false);
        follow(hook, false)
    }

    #[test]
    fn it_is_set_within_batches_and_stays_between_ticks() {
        let mut hook = CheckpointHook::default();
        assert_eq!(entry(&mut hook, 0, true), [None, None], "it cannot be set");
        hook.enable();
        assert_eq!(entry(&mut hook, 3, false), [Some(true), Some(false)]);
        assert_eq!(entry(&mut hook, 1, true), [Some(true), None]);
        for _ in 0..3 {
            assert_eq!(in_vain(&mut hook), None, "one is not many");
            assert_eq!(entry(&mut hook, 1, true), [None, None]);
        }
        assert_eq!([in_vain(&mut hook), in_vain(&mut hook)], [None, Some(false)]);
        assert_eq!(entry(&mut hook, 2, false), [Some(true), Some(false)]);
    }

    #[test]
    fn it_goes_with_what_it_is_for() {
        let mut hook = CheckpointHook::default();
        hook.enable();
        entry(&mut hook, 1, true);
        assert!(hook.disable() && !hook.change(), "it is taken away");
        assert_eq!((hook.disable(), follow(&mut hook, true)), (false, None));
        hook.enable();
        assert_eq!(follow(&mut hook, true), Some(true));
        // In the middle of what needs it.
        assert!(hook.disable() && !hook.change());
        // V8 calls once more what it has a copy of.
        hook.came(true, true);
        assert_eq!(follow(&mut hook, true), None);
    }
}
