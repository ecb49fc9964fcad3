//! The loop as a future sees it.

use crate::cx::Cx;
use crate::error::WorkError;
use crate::queues::errands::Errands;
use crate::queues::mailbox::Mailbox;
use crate::queues::tasks::{Task, begin};
use crate::twins::promise::{Promise, Undo};
use loopscope_probe::{Kind, WorkKind};
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Weak;
use std::task::Poll;
use std::time::Duration;

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

/// What a callback that gives one result is called with.
type Done<S, T> = Box<dyn FnOnce(&mut Cx<'_, S>, T)>;

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
        let at = Location::caller();
        let (task, begun) = begin(self.errands.loop_id(), self.mailbox.clone(), at, future);
        self.errand(at, move |cx| cx.start_task(begun));
        task
    }

    /// Runs a closure on the loop, with the state and everything that callbacks can do. It runs even where the promise
    /// is dropped; a panic in it is one of the future that asked.
    #[track_caller]
    pub fn with<R: 'static>(&self, run: impl FnOnce(&mut Cx<'_, S>) -> R + 'static) -> Promise<R, S> {
        Promise::begin(self, Location::caller(), Undo::Nothing, move |cx, promised| {
            promised.resolve(run(cx));
            None
        })
    }

    /// Awaits anything that takes a callback for one result: `begin` is given that callback, and registers it. Node's
    /// `new Promise((resolve) => ...)` and `util.promisify`. Dropping the promise drops the result and takes nothing
    /// back. Where the callback is dropped without a call the promise is never resolved.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// # let mut event_loop = Loop::new()?;
    /// # let task = event_loop.main(|cx| cx.spawn_async(|here| async move {
    /// let copied = here.promise(|cx, done| cx.fs().copy("/no/such/file", "/tmp/copy", done)).await;
    /// assert!(copied.is_err());
    /// # }));
    /// # event_loop.run(Mode::Default)?;
    /// # assert!(task.is_done());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn promise<T: 'static, R>(
        &self,
        begin: impl FnOnce(&mut Cx<'_, S>, Done<S, T>) -> R + 'static,
    ) -> Promise<T, S> {
        Promise::begin(self, Location::caller(), Undo::Nothing, move |cx, promised| {
            begin(cx, Box::new(move |_, value| promised.resolve(value)));
            None
        })
    }

    /// Waits at least this long, rounded up to whole milliseconds, from the call on. The twin of [`Cx::after`], and in
    /// one order with it. Dropping the promise clears the timer.
    #[track_caller]
    pub fn sleep(&self, delay: Duration) -> Promise<(), S> {
        let at = Location::caller();
        Promise::begin(self, at, Undo::Close, move |cx, promised| {
            Some(cx.after_at(at, delay, move |_| promised.resolve(())))
        })
    }

    /// Awaits a future for at most this long, from the first poll on; `None` where that was not enough, and then the
    /// future is dropped.
    #[track_caller]
    pub fn within<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F, S> {
        let (here, at) = (self.clone(), Location::caller());
        async move {
            let mut over = Promise::begin(&here, at, Undo::Close, move |cx, promised| {
                Some(cx.after_at(at, limit, move |_| promised.resolve(())))
            });
            let mut future = pin!(future);
            poll_fn(|context| {
                if let Poll::Ready(value) = future.as_mut().poll(context) {
                    return Poll::Ready(Some(value));
                }
                Pin::new(&mut over).poll(context).map(|()| None)
            })
            .await
        }
    }

    /// Runs `job` on a pool thread. The twin of [`Cx::work`]. Dropping the promise cancels a job that is still queued;
    /// the result of one that runs is dropped.
    ///
    /// # Errors
    /// The promise's: [`WorkError::Panicked`], [`WorkError::NoThread`].
    #[track_caller]
    pub fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Promise<Result<T, WorkError>, S> {
        let at = Location::caller();
        Promise::begin(self, at, Undo::Cancel, move |cx, promised| {
            let site = cx.core.site(at, Kind::WorkDone);
            Some(cx.submit(site, WorkKind::User, job, move |_, outcome| promised.resolve(outcome)))
        })
    }

    /// Finds the addresses of a host. The twin of [`Cx::resolve`]. Dropping the promise cancels a look-up that is still
    /// queued.
    ///
    /// # Errors
    /// The promise's: what the resolver said.
    #[track_caller]
    pub fn resolve(&self, host: &str, port: u16) -> Promise<std::io::Result<Vec<SocketAddr>>, S> {
        let (at, host) = (Location::caller(), host.to_owned());
        Promise::begin(self, at, Undo::Cancel, move |cx, promised| {
            let site = cx.core.site(at, Kind::WorkDone);
            Some(cx.resolve_at(site, &host, port, move |_, found| promised.resolve(found)))
        })
    }
}

impl<S: 'static> Clone for Local<S> {
    fn clone(&self) -> Self {
        Local { errands: self.errands.clone(), mailbox: self.mailbox.clone() }
    }
}

impl<S: 'static> fmt::Debug for Local<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Local").field("loop_id", &self.errands.loop_id()).finish_non_exhaustive()
    }
}
