//! What a callback gets: the user's state and the loop, as two parts that do not borrow from each other.
//!
//! Registration is spread over the files of the phases and operations: timers, immediates, streams and so on each add
//! their methods.

use crate::callback::{Once, Origin, State};
use crate::core::Core;
use loopscope_probe::{Kind, Phase};
use std::time::Duration;

/// The loop as a callback sees it, with the user's state beside it.
///
/// Every method that registers something remembers the callback's function and its caller's place in the source: they
/// name the callback in metrics and flamegraphs, as `expire (src/main.rs:30)`. A closure goes by the function that it
/// stands in, a pointer or a box by the place alone; [`Cx::name`] gives another name. Every method that takes a [`Key`](crate::Key) does nothing and returns `false` or `None` where the key
/// is stale.
pub struct Cx<'a, S: 'static = ()> {
    /// The state that the loop was built with.
    pub state: &'a mut S,
    pub(crate) core: &'a mut Core<S>,
}

impl<S: 'static> State for S {
    type Cx<'a> = Cx<'a, S>;
}

impl<S: 'static> Cx<'_, S> {
    /// Returns the loop's cached time since it was built: as of the last poll, timers pass or start of a timer.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.core.clock.now_ns())
    }

    /// Ends [`run`](crate::Loop::run) after the present iteration; the running phase goes on to its end. Before a run,
    /// makes that run do nothing.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// # use std::time::Duration;
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.every(Duration::from_secs(1), |cx| {
    ///         *cx.state += 1;
    ///         if *cx.state == 3 {
    ///             cx.stop(); // the timer stays, for the next run
    ///         }
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(*event_loop.state(), 3);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stop(&mut self) {
        self.core.is_stopping = true;
    }

    /// Returns how often the loop has polled.
    pub fn iteration(&self) -> u64 {
        self.core.iteration
    }

    /// Returns the phase that the loop is in.
    pub fn phase(&self) -> Phase {
        self.core.phase
    }

    /// Runs a callback when nothing keeps the loop alive any more; what it starts revives the loop. Node's
    /// `process.once('beforeExit')`. It does not run after [`Cx::stop`].
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.before_exit(|cx| cx.state.push("nothing is left"));
    ///     cx.after(Duration::from_secs(1), |cx| cx.state.push("timer"));
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), ["timer", "nothing is left"]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn before_exit(&mut self, run: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        self.before_exit_at(Origin::of(&run), Box::new(run));
    }

    fn before_exit_at(&mut self, origin: Origin, run: Once<S>) {
        let site = self.core.site(origin, Kind::Other);
        self.core.before_exit.push_back((site, run));
    }
}
