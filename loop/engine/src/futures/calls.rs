//! The loop's operations that give one result, as promises.

use crate::callback::Origin;
use crate::cx::Cx;
use crate::error::WorkError;
use crate::futures::loop_handle::LoopHandle;
use crate::futures::promise::{Promise, Undo};
use loopscope_probe::{Kind, WorkKind};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// What a callback that gives one result is called with.
type Done<S, T> = Box<dyn FnOnce(&mut Cx<'_, S>, T)>;

impl<S: 'static> LoopHandle<S> {
    /// Runs a closure on the loop, with the state and everything that callbacks can do. It runs even where the promise
    /// is dropped; a panic in it is one of the future that asked.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// # use std::time::Duration;
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.spawn_async(|here| async move {
    ///         here.sleep(Duration::from_secs(2)).await;
    ///         let now = here.with(|cx| cx.now()).await;
    ///         here.with(move |cx| *cx.state = now.as_secs()).await;
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 2);
    /// # std::io::Result::Ok(())
    /// ```
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

    /// Waits at least this long, rounded up to whole milliseconds, from the call on. The async form of [`Cx::after`], and in
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
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.spawn_async(|here| async move {
    ///         for seconds in [1, 3] {
    ///             let sleep = here.sleep(Duration::from_secs(seconds));
    ///             let in_time = here.within(Duration::from_secs(2), sleep).await.is_some();
    ///             here.with(move |cx| cx.state.push(in_time)).await;
    ///         }
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), [true, false]);
    /// # std::io::Result::Ok(())
    /// ```
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

    /// Runs `job` on a pool thread. The async form of [`Cx::work`]. Dropping the promise cancels a job that is still queued;
    /// the result of one that runs is dropped.
    ///
    /// # Errors
    /// The promise's: [`WorkError::Panicked`], [`WorkError::NoThread`].
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.spawn_async(|here| async move {
    ///         let answer = here.work(|| 6 * 7).await.unwrap_or(0); // on a thread of the pool
    ///         here.with(move |cx| *cx.state = answer).await;
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 42);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Promise<Result<T, WorkError>, S> {
        let origin = Origin::of(&job);
        Promise::begin(self, origin.at, Undo::Cancel, move |cx, promised| {
            let site = cx.core.site(origin, Kind::WorkDone);
            Some(cx.submit(site, WorkKind::User, job, move |_, outcome| promised.resolve(outcome)))
        })
    }

    /// Finds the addresses of a host. The async form of [`Cx::resolve`]. Dropping the promise cancels a look-up that
    /// is still queued.
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
