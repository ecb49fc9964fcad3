//! Futures whose polls are timed, each under the place where it was wrapped, or a name.

use crate::worker_page::{self, Frame, Known, Label};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

pin_project_lite::pin_project! {
    /// A future whose polls are timed. Made by [`probed`] and [`named`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Probed<F> {
        label: Label,
        known: Known,
        #[pin]
        future: F,
    }
}

impl<F> Probed<F> {
    pub(crate) fn new(label: Label, future: F) -> Probed<F> {
        Probed::known(label, Known::NOTHING, future)
    }

    /// [`Probed::new`] of a future of which something is known already.
    pub(crate) fn known(label: Label, known: Known, future: F) -> Probed<F> {
        Probed { label, known, future }
    }
}

impl<F: Future> Future for Probed<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _end = End(worker_page::enter(this.label, this.known));
        this.future.poll(cx)
    }
}

/// Ends the poll, also where it panics.
pub(crate) struct End(pub(crate) Frame);

impl End {
    /// Returns what is to be ended otherwise.
    #[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "for services"))]
    pub(crate) fn into_frame(self) -> Frame {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for End {
    #[inline(always)]
    fn drop(&mut self) {
        worker_page::leave(self.0);
    }
}

/// Times each poll of a future, under the place of this call. One inside another is shown as a part of it. On a
/// thread of a runtime that is not watched it costs a few nanoseconds.
///
/// ```
/// async fn load() -> u32 {
///     7
/// }
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// assert_eq!(runtime.block_on(loopscope_tokio::probed(load())), 7);
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn probed<F: Future>(future: F) -> Probed<F> {
    Probed::new(Label { at: Location::caller(), name: None }, future)
}

/// [`probed`] under a name, which is shown instead of the place.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let answer = loopscope_tokio::named("load_users", async { 7 });
/// assert_eq!(runtime.block_on(answer), 7);
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn named<F: Future>(name: &'static str, future: F) -> Probed<F> {
    Probed::new(Label { at: Location::caller(), name: Some(name) }, future)
}

/// `tokio::spawn` of a future whose polls are timed, under the place of this call.
///
/// # Panics
/// Outside a runtime, as `tokio::spawn`.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
/// let answer = runtime.block_on(async { loopscope_tokio::spawn(async { 7 }).await });
/// assert_eq!(answer.unwrap(), 7);
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(probed(future))
}
