//! The probe for a loop that one has already: two verbs around its poll, and a guard for each callback.
//!
//! ```
//! use loopscope_probe::{Probe, site};
//!
//! fn on_request(probe: &Probe, text: &str) -> Result<u32, std::num::ParseIntError> {
//!     let _callback = probe.callback(site!("on_request"));   // ends where this function ends: by return, by `?`, by panic
//!     let number: u32 = text.parse()?;
//!     Ok(number + 1)
//! }
//!
//! let probe = Probe::new("web");     // on the loop's thread; the loop's name in metrics and lists
//! for text in ["1", "two"] {
//!     probe.park();                  // right before the loop waits for events
//!     // events = poll.poll(...);
//!     probe.unpark();                // right after
//!     let _ = on_request(&probe, text);
//! }
//! ```
//!
//! [`Probe::park`] and [`Probe::unpark`] alone give stalls, lag and utilization; callbacks give the names.
//! `docs/adopting.md` has whole programs. Runtimes that know more (queues, phases, pools) use the [`Writer`] itself.

use crate::description::{Description, FramePart, Owner, Trouble};
use crate::description_names::Fact;
use crate::kind::Kind;
use crate::phase::Phase;
use crate::site::Site;
use crate::snapshot::Snapshot;
use crate::spans::{Entered, SpanGuard};
use crate::writer::{TaskTimes, Writer};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A handle of a loop's probe: cheap to clone, shared by all code of the loop's thread. It stays on that thread.
///
/// The page is closed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Probe {
    shared: Rc<ProbeParts>,
}

#[derive(Debug)]
struct ProbeParts {
    /// Spans of the thread are sub-frames of the callbacks. Goes before the writer.
    _spans: SpanGuard,
    /// Borrowed inside the methods of this file only, never while code of the program runs.
    writer: RefCell<Writer>,
    is_parked: Cell<bool>,
    /// Number of the callback that began last: a guard that outlives its callback must not end another one.
    callback: Cell<u64>,
}

/// A place in the program with a name, made by [`site!`](crate::site!).
#[derive(Debug)]
pub struct NamedSite {
    name: &'static str,
    kind: Kind,
    file: &'static str,
    line: u32,
    column: u32,
}

impl NamedSite {
    /// Makes a site; [`site!`](crate::site!) does it with the place that it stands at.
    pub const fn new(name: &'static str, kind: Kind, (file, line, column): (&'static str, u32, u32)) -> Self {
        NamedSite { name, kind, file, line, column }
    }

    fn site(&self) -> Site {
        let NamedSite { name, kind, file, line, column } = *self;
        Site { kind, name: name.to_owned(), file: file.to_owned(), line, column }
    }
}

/// Names the place that it stands at, for [`Probe::callback`]: `site!("on_request")`, or with the [kind](crate::Kind)
/// of callback, `site!("on_request", IoRead)`. Is a `&'static NamedSite`: nothing is allocated, and looked up in a
/// few nanoseconds.
#[macro_export]
macro_rules! site {
    ($name:expr) => {
        $crate::site!($name, Other)
    };
    ($name:expr, $kind:ident) => {{
        static SITE: $crate::NamedSite =
            $crate::NamedSite::new($name, $crate::Kind::$kind, (file!(), line!(), column!()));
        &SITE
    }};
}

impl Probe {
    /// Makes the page of a loop with this name, at most 64 bytes. The calling thread becomes the loop's thread, which
    /// is busy from now on. Never fails; with `LOOPSCOPE=off` nobody sees it.
    ///
    /// [`Writer::builder`] says more of a loop, such as its runtime's name; a writer becomes a probe by `Probe::from`.
    ///
    /// ```
    /// use loopscope_probe::{Probe, Writer};
    ///
    /// let probe = Probe::new("web");
    /// // With more to say of the loop:
    /// let other = Probe::from(Writer::builder("jobs").runtime("my-loop").backend("epoll").build());
    /// # drop((probe, other));
    /// ```
    pub fn new(name: &str) -> Probe {
        Probe::from(Writer::builder(name).runtime("custom").describe(&description()).build())
    }

    /// The loop is about to wait for events: right before the poll, also where that returns at once. Ends a callback
    /// that was not ended. A second call changes nothing.
    pub fn park(&self) {
        let ProbeParts { writer, is_parked, .. } = &*self.shared;
        if is_parked.replace(true) {
            return;
        }
        let mut writer = writer.borrow_mut();
        if writer.is_running() {
            writer.end();
        }
        writer.drained();
        writer.iteration();
        writer.phase(Phase::POLL);
        writer.park();
    }

    /// The wait for events has ended: right after the poll, whatever it returned. A second call changes nothing.
    pub fn unpark(&self) {
        let ProbeParts { writer, is_parked, .. } = &*self.shared;
        if is_parked.replace(false) {
            let mut writer = writer.borrow_mut();
            let now = writer.clock().now();
            writer.unpark_untold(now);
        }
    }

    /// Says how many events the last poll returned. At most once after each [`Probe::unpark`], and only where that is known.
    ///
    /// ```
    /// use loopscope_probe::Probe;
    ///
    /// let probe = Probe::new("web");
    /// probe.park();
    /// let ready = [3, 4]; // what the poll returned
    /// probe.unpark();
    /// probe.events(ready.len());
    /// ```
    pub fn events(&self, count: usize) {
        self.shared.writer.borrow_mut().poll_events(count);
    }

    /// Returns what the page holds now.
    ///
    /// ```
    /// use loopscope_probe::{Probe, site};
    ///
    /// let probe = Probe::new("web");
    /// drop(probe.callback(site!("on_request")));
    /// probe.park();
    /// assert_eq!(probe.snapshot().iterations, 1);
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let writer = self.shared.writer.borrow();
        writer.page().snapshot(writer.clock())
    }

    /// A callback begins, and ends when the result is dropped: by return, by `?`, by panic. Inside another one it is
    /// a part of that. One clock read.
    ///
    /// A callback runs without a pause. Across an `.await` other code runs on the thread, so a guard that is held
    /// there does not compile in a future that may be sent:
    ///
    /// ```compile_fail
    /// use loopscope_probe::{CallbackGuard, Probe, site};
    /// fn spawn(_: impl Future<Output = ()> + Send) {}
    /// fn begin() -> CallbackGuard<'static> { unimplemented!() }
    /// spawn(async {
    ///     let _callback = begin();
    ///     std::future::ready(()).await;
    /// });
    /// ```
    ///
    /// Ended before, it does:
    ///
    /// ```
    /// use loopscope_probe::CallbackGuard;
    /// fn spawn(_: impl Future<Output = ()> + Send) {}
    /// fn begin() -> CallbackGuard<'static> { unimplemented!() }
    /// spawn(async {
    ///     drop(begin());
    ///     std::future::ready(()).await;
    /// });
    /// ```
    ///
    /// In a future of one thread it compiles; there, too, end it before each `.await`.
    pub fn callback(&self, site: &'static NamedSite) -> CallbackGuard<'_> {
        let ProbeParts { writer, callback, .. } = &*self.shared;
        let mut writer = writer.borrow_mut();
        let address = std::ptr::from_ref(site) as usize;
        let id = writer.addressed_site(address, site.kind, || site.site());
        let begun = if writer.is_running() {
            Begun::Part(writer.track.enter(id, ""))
        } else {
            writer.begin(site.kind, id, TaskTimes::UNKNOWN);
            callback.set(callback.get() + 1);
            Begun::Callback
        };
        CallbackGuard { probe: self, number: callback.get(), begun, was_panicking: std::thread::panicking() }
    }
}

impl From<Writer> for Probe {
    /// Takes a writer that did not run yet; the loop is busy from now on.
    fn from(mut writer: Writer) -> Probe {
        writer.resume();
        let _spans = writer.install_spans();
        let (writer, is_parked) = (RefCell::new(writer), Cell::new(false));
        Probe { shared: Rc::new(ProbeParts { _spans, writer, is_parked, callback: Cell::new(0) }) }
    }
}

/// A callback that runs; it ends when this is dropped. See [`Probe::callback`].
#[derive(Debug)]
#[must_use = "the callback ends when this is dropped: bind it, as `let _callback = ...`"]
pub struct CallbackGuard<'probe> {
    probe: &'probe Probe,
    /// Of the callback that it is, or is a part of.
    number: u64,
    begun: Begun,
    was_panicking: bool,
}

/// What a guard has begun.
#[derive(Clone, Copy, Debug)]
enum Begun {
    Callback,
    /// A part of the callback that ran, where it was entered.
    Part(Option<Entered>),
}

impl Drop for CallbackGuard<'_> {
    fn drop(&mut self) {
        let ProbeParts { writer, callback, .. } = &*self.probe.shared;
        // Of a callback that a poll ended, there is nothing left to end.
        if callback.get() != self.number {
            return;
        }
        // It is free: see the field. A destructor must not panic in any case.
        let Ok(mut writer) = writer.try_borrow_mut() else { return };
        match self.begun {
            Begun::Part(Some(entered)) => writer.track.leave(entered),
            Begun::Callback if writer.is_running() => {
                if std::thread::panicking() && !self.was_panicking {
                    writer.panicked();
                }
                writer.end();
                writer.drained();
            }
            Begun::Callback | Begun::Part(None) => {}
        }
    }
}

/// What a loop of a program's own can say of itself.
fn description() -> Description {
    let known = [
        Fact::Time,
        Fact::Lag,
        Fact::Iterations,
        Fact::PollWait,
        Fact::PollEvents,
        Fact::Callbacks,
        Fact::Errors,
    ];
    let description = Description::new()
        .phase(Phase::MAIN, "main")
        .phase(Phase::POLL, "poll")
        .kind(Kind::Other, "callback", "callback", "callbacks")
        .remedy(Trouble::Computing, "another thread")
        .remedy(Trouble::Waiting, "another thread")
        .fills(&known);
    ["mio::", "polling::", "calloop::", "winit::"]
        .into_iter()
        .fold(description, |description, path| description.frames(Owner::Runtime, FramePart::Function, path))
}
