//! The loop as a future sees it.

use crate::callback::Origin;
use crate::cx::Cx;
use crate::queues::errands::Errands;
use crate::queues::mailbox::Mailbox;
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
pub struct Local<S: 'static = ()> {
    errands: Rc<Errands<S>>,
    mailbox: Weak<Mailbox<S>>,
}

impl<S: 'static> Cx<'_, S> {
    /// Returns the loop as futures see it.
    pub fn local(&self) -> Local<S> {
        let mailbox = std::sync::Arc::downgrade(&self.core.mailbox);
        Local { errands: self.core.queues.errands.clone(), mailbox }
    }

    /// Starts the future that `make` returns, as [`Cx::spawn_local`] does, and gives it the loop.
    #[track_caller]
    pub fn spawn_async<T: 'static, F: Future<Output = T> + 'static>(
        &mut self,
        make: impl FnOnce(Local<S>) -> F,
    ) -> Task<T> {
        let here = self.local();
        self.spawn_local(make(here))
    }
}

impl<S: 'static> Local<S> {
    pub(crate) fn errand(&self, at: &'static Location<'static>, run: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        self.errands.push(at, Box::new(run));
    }

    /// Starts a future beside this one, as [`Cx::spawn_local`] does.
    #[track_caller]
    pub fn spawn_local<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let origin = Origin::of(&future);
        let (task, begun) = begin(self.errands.woken(), self.mailbox.clone(), origin, future);
        self.errand(origin.at, move |cx| cx.start_task(begun));
        task
    }
}

impl<S: 'static> Clone for Local<S> {
    fn clone(&self) -> Self {
        Local { errands: self.errands.clone(), mailbox: self.mailbox.clone() }
    }
}

impl<S: 'static> fmt::Debug for Local<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Local").finish_non_exhaustive()
    }
}
