//! The loop as a future sees it.

use crate::callback::Origin;
use crate::cx::Cx;
use crate::queues::commands::Commands;
use crate::queues::inbox::PostInbox;
use crate::queues::tasks::{Task, begin};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Weak;

/// What a future keeps instead of [`Cx`]: a way to ask the loop for things, and to await them. Clone it freely; it does
/// not leave the loop's thread. Get one from [`Cx::local`], or with a future of its own from [`Cx::spawn_async`].
///
/// What is asked for begins when the method is called, to be exact right after the present poll or callback, in the
/// order of the calls. After the loop is gone nothing begins and no promise is resolved.
///
/// ```
/// use loopscope_loop::{Loop, Mode};
/// use std::time::Duration;
///
/// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
/// event_loop.main(|cx| {
///     cx.spawn_async(|here| async move {
///         here.sleep(Duration::from_secs(60)).await;
///         let sum = here.work(|| (1..=100).sum::<u32>()).await.unwrap();
///         here.with(move |cx| cx.state.push(sum)).await;
///     });
/// });
/// event_loop.run(Mode::Default)?;
/// assert_eq!(event_loop.into_state(), [5050]);
/// # std::io::Result::Ok(())
/// ```
pub struct LoopHandle<S: 'static = ()> {
    commands: Rc<Commands<S>>,
    mailbox: Weak<PostInbox<S>>,
}

impl<S: 'static> Cx<'_, S> {
    /// Returns the loop as futures see it.
    pub fn local(&self) -> LoopHandle<S> {
        let mailbox = std::sync::Arc::downgrade(&self.core.mailbox);
        LoopHandle { commands: self.core.queues.commands.clone(), mailbox }
    }

    /// Starts the future that `make` returns, as [`Cx::spawn_local`] does, and gives it the loop.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.spawn_async(|here| async move {
    ///         here.sleep(Duration::from_secs(1)).await;
    ///         let sum = here.work(|| (1..=100).sum::<u32>()).await;
    ///         here.with(move |cx| *cx.state = sum.unwrap_or(0)).await;
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 5_050);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_async<T: 'static, F: Future<Output = T> + 'static>(
        &mut self,
        make: impl FnOnce(LoopHandle<S>) -> F,
    ) -> Task<T> {
        let here = self.local();
        self.spawn_local(make(here))
    }
}

impl<S: 'static> LoopHandle<S> {
    pub(crate) fn command(&self, at: &'static Location<'static>, run: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        self.commands.push(at, Box::new(run));
    }

    /// Starts a future beside this one, as [`Cx::spawn_local`] does.
    #[track_caller]
    pub fn spawn_local<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let origin = Origin::of(&future);
        let (task, begun) = begin(self.commands.woken(), self.mailbox.clone(), origin, future);
        self.command(origin.at, move |cx| cx.start_task(begun));
        task
    }
}

impl<S: 'static> Clone for LoopHandle<S> {
    fn clone(&self) -> Self {
        LoopHandle { commands: self.commands.clone(), mailbox: self.mailbox.clone() }
    }
}

impl<S: 'static> fmt::Debug for LoopHandle<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LoopHandle").finish_non_exhaustive()
    }
}
