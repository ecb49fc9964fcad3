//! Idle, prepare and check hooks: callbacks of every iteration.
//!
//! Of two hooks of one kind the one started last runs first. A phase runs those that were started when it began; a hook
//! closed by an earlier one does not run. An idle hook keeps the poll from waiting.
//!
//! # Source
//! `src/unix/loop-watcher.c` of libuv 1.46: start inserts at the head, a pass moves the list aside and puts each back
//! at the end before its call.

use crate::callback::{Many, Origin};
use crate::core::What;
use crate::cx::Cx;
use crate::key::Key;
use crate::queues::hooks::Hook;
use loopscope_probe::TaskTimes;

impl<S: 'static> Cx<'_, S> {
    /// Runs a callback in every iteration until it is closed.
    ///
    /// ```
    /// use loopscope_loop::{Hook, Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let before_each_poll = cx.on(Hook::Prepare, |cx| *cx.state += 1);
    ///     cx.unref(before_each_poll); // does not keep the loop alive
    ///     cx.after(Duration::from_millis(1), |_| {});
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert!(event_loop.into_state() > 0);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn on(&mut self, hook: Hook, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.on_at(Origin::of(&run), hook, Box::new(run))
    }

    fn on_at(&mut self, origin: Origin, hook: Hook, run: Many<S>) -> Key {
        let site = self.core.site(origin, hook.kind());
        let key = self.core.insert(site, What::Hook(hook, Some(run)));
        self.core.hooks.lists[hook as usize].push_front(key);
        self.core.hooks.open[hook as usize] += 1;
        self.core.referenced += 1;
        key
    }

    /// Runs the hooks of one kind. Returns whether there were any, and so its phase was entered.
    #[inline]
    pub(crate) fn run_hooks(&mut self, hook: Hook) -> bool {
        let has_hooks = !self.core.hooks.lists[hook as usize].is_empty();
        if has_hooks {
            self.run_all_hooks(hook);
        }
        has_hooks
    }

    #[inline(never)]
    fn run_all_hooks(&mut self, hook: Hook) {
        self.core.enter_phase(hook.phase());
        let mut aside = std::mem::take(&mut self.core.hooks.lists[hook as usize]);
        while self.goes_on()
            && let Some(key) = aside.pop_front()
        {
            self.run_hook(hook, key);
        }
        self.core.hooks.lists[hook as usize].extend(aside);
    }

    fn run_hook(&mut self, hook: Hook, key: Key) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let What::Hook(_, callback) = &mut entry.what else { return };
        let (Some(mut run), site) = (callback.take(), entry.site) else { return };
        self.core.hooks.lists[hook as usize].push_back(key);
        self.enter(hook.kind(), site, TaskTimes::UNKNOWN, &mut run);
        match self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            Some(What::Hook(_, callback)) => *callback = Some(run),
            _ => self.discard(hook.kind(), site, run),
        }
        self.drain();
    }
}
