//! What callbacks can do with anything that has a key: whether it keeps the loop alive, whether it is there, its name.

use crate::callback::Site;
use crate::core::{Core, Entry, What};
use crate::cx::Cx;
use crate::key::Key;
use loopscope_probe::{Kind, SiteId};

impl<S: 'static> Cx<'_, S> {
    /// Lets the loop end although this is still there. Returns `false` for a stale key and for a pool job, which
    /// always keeps the loop alive.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let ticker = cx.every(Duration::from_secs(1), |cx| *cx.state += 1);
    ///     cx.unref(ticker); // the loop ends with the timer below
    ///     cx.after(Duration::from_millis(2_500), |_| {});
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn unref(&mut self, key: Key) -> bool {
        self.set_ref(key, false)
    }

    /// Takes back [`Cx::unref`].
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// # use std::time::Duration;
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let ticker = cx.every(Duration::from_secs(1), |cx| *cx.state += 1);
    ///     cx.unref(ticker);
    ///     cx.ref_(ticker); // keeps the loop alive again
    ///     cx.after(Duration::from_millis(2_500), move |cx| _ = cx.close(ticker));
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ref_(&mut self, key: Key) -> bool {
        self.set_ref(key, true)
    }

    fn set_ref(&mut self, key: Key, is_ref: bool) -> bool {
        let core = &mut *self.core;
        if key.immediate().is_some() {
            return core.immediates.set_ref(key, is_ref);
        }
        if key.timer().is_some() {
            return core.timers.set_ref(key, is_ref);
        }
        let Some(entry) = core.slots.get_mut(key) else { return false };
        if matches!(entry.what, What::Work(_)) {
            return false;
        }
        if std::mem::replace(&mut entry.is_ref, is_ref) == is_ref {
            return true;
        }
        let count = match &entry.what {
            What::Hook(..)
            | What::Listener(_)
            | What::Adopted(_)
            | What::Signal(_)
            | What::Child(_)
            | What::Wake(_) => &mut core.referenced,
            What::Datagram(datagram) if datagram.is_paused => return true,
            What::Datagram(_) => &mut core.referenced,
            What::Stream(_) => {
                core.reading_changed(key);
                return true;
            }
            What::Work(_) => &mut core.requests,
        };
        *count = if is_ref { *count + 1 } else { *count - 1 };
        true
    }

    /// Tells whether this keeps the loop alive while it is active. `false` for a stale key.
    pub fn has_ref(&self, key: Key) -> bool {
        self.is_ref(key).unwrap_or(false)
    }

    /// Tells whether the key still names something: not fired, cleared or closed.
    pub fn is_open(&self, key: Key) -> bool {
        self.is_ref(key).is_some()
    }

    /// Returns whether this is referenced; `None` for a stale key.
    fn is_ref(&self, key: Key) -> Option<bool> {
        let core = &*self.core;
        let slotted = core.slots.get(key).map(|entry| entry.is_ref);
        slotted.or_else(|| core.timers.is_ref(key)).or_else(|| core.immediates.is_ref(key))
    }

    /// Gives this a name in metrics and flamegraphs, beside its place in the source: instead of its function's.
    ///
    /// ```
    /// # use loopscope_loop::Loop;
    /// # use std::time::Duration;
    /// # let mut event_loop = Loop::new()?;
    /// event_loop.main(|cx| {
    ///     let ticker = cx.every(Duration::from_secs(60), |_| {});
    ///     cx.name(ticker, "expire_sessions"); // `expire_sessions (src/main.rs:7)` in metrics
    /// });
    /// # std::io::Result::Ok(())
    /// ```
    pub fn name(&mut self, key: Key, name: &'static str) -> bool {
        let core = &mut *self.core;
        if key.timer().is_some() {
            return core.rename_timer(key, |core, site| core.named(site, Kind::Timer, name));
        }
        let (present, kind) = match core.slots.get(key) {
            Some(Entry { site, what, .. }) => (*site, what.kind()),
            None => match core.immediates.site_mut(key) {
                Some(site) => (*site, Kind::Immediate),
                None => return false,
            },
        };
        let named = core.named(present, kind, name);
        let slotted = core.slots.get_mut(key).map(|entry| &mut entry.site);
        if let Some(site) = slotted.or_else(|| core.immediates.site_mut(key)) {
            *site = named;
        }
        true
    }
}

impl<S: 'static> Core<S> {
    /// Returns the site of the same place under this name.
    fn named(&mut self, site: Site, kind: Kind, name: &str) -> Site {
        let id = self.probe.as_mut().map_or(SiteId::NONE, |probe| probe.named_site(site.at, kind, name));
        Site { id, ..site }
    }

    /// Gives a timer another site. `false` for a stale key.
    fn rename_timer(&mut self, key: Key, rename: impl FnOnce(&mut Self, Site) -> Site) -> bool {
        let Some(node) = self.timers.lists.find(key) else { return false };
        let site = self.sites.numbered(self.timers.lists.timer(node).place);
        let site = rename(self, site);
        self.timers.lists.timer_mut(node).place = self.sites.number(site);
        true
    }
}
