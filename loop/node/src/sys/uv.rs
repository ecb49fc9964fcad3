//! The loop of libuv: what is read of it, and three handles of ours that tell where it is.
//!
//! ```text
//!   timers   pending   prepare .. [ours]  poll   [ours] .. check .. [ours]   closing
//! ```
//!
//! libuv puts a handle that is started at the head of its list, so ours are first there. What must be last is moved to the
//! tail, by the ring that links the handles: only where that ring is what it is taken for.

use super::current::{self, OpenHandle};
use super::event::Event;
use super::symbols::{self, Missing, functions};
use libc::{c_char, c_int, c_void};
use std::ffi::CStr;
use std::sync::OnceLock;

type HandleCallback = unsafe extern "C" fn(*mut c_void);

functions! {
    /// Functions of libuv that all versions from 1.44 on have.
    Uv {
        version = c"uv_version": fn() -> u32;
        version_text = c"uv_version_string": fn() -> *const c_char;
        handle_size = c"uv_handle_size": fn(c_int) -> usize;
        prepare_init = c"uv_prepare_init": fn(*mut c_void, *mut c_void) -> c_int;
        prepare_start = c"uv_prepare_start": fn(*mut c_void, HandleCallback) -> c_int;
        prepare_stop = c"uv_prepare_stop": fn(*mut c_void) -> c_int;
        check_init = c"uv_check_init": fn(*mut c_void, *mut c_void) -> c_int;
        check_start = c"uv_check_start": fn(*mut c_void, HandleCallback) -> c_int;
        check_stop = c"uv_check_stop": fn(*mut c_void) -> c_int;
        keep = c"uv_ref": fn(*mut c_void);
        unref = c"uv_unref": fn(*mut c_void);
        close = c"uv_close": fn(*mut c_void, HandleCallback);
        now = c"uv_now": fn(*mut c_void) -> u64;
        hrtime = c"uv_hrtime": fn() -> u64;
        backend_fd = c"uv_backend_fd": fn(*mut c_void) -> c_int;
        configure = c"uv_loop_configure": fn(*mut c_void, c_int, c_int) -> c_int;
        idle_time = c"uv_metrics_idle_time": fn(*mut c_void) -> u64;
    }
}

functions! {
    /// Functions of libuv since 1.45: not in Node 18.
    UvMetrics {
        info = c"uv_metrics_info": fn(*mut c_void, *mut Metrics) -> c_int;
    }
}

/// `uv_metrics_t`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Metrics {
    loop_count: u64,
    events: u64,
    events_waiting: u64,
    reserved: [usize; 13],
}

fn uv() -> Result<&'static Uv, Missing> {
    static UV: OnceLock<Result<Uv, Missing>> = OnceLock::new();
    UV.get_or_init(Uv::find).as_ref().map_err(Clone::clone)
}

/// `UV_METRICS_IDLE_TIME`.
const IDLE_TIME: c_int = 1;
/// `UV_PREPARE` and `UV_CHECK` of `uv_handle_type`.
const PREPARE: c_int = 9;
const CHECK: c_int = 2;
/// Bytes of either handle on 64-bit systems, and where its link in the loop's ring is.
const HANDLE_BYTES: usize = 120;
const HANDLE_RING: usize = 104;
/// Where fields of `uv_loop_s` are; the first two are in its public part.
const ACTIVE_HANDLES: usize = 8;
const ACTIVE_REQUESTS: usize = 32;
const INTERNAL_FIELDS: usize = 40;
const BACKEND_FD: usize = 64;
/// The loop has two locks of the C library's before the following: what these have more than on x86-64, where glibc's are as large
/// as musl's.
const LOCKS_MORE: usize =
    size_of::<libc::pthread_mutex_t>() - 40 + (size_of::<libc::pthread_rwlock_t>() - 56);
const PREPARE_RING: usize = 384 + LOCKS_MORE;
const CHECK_RING: usize = 400 + LOCKS_MORE;
const TIME: usize = 544 + LOCKS_MORE;
/// Handles of one kind that are looked through for the head of their ring.
const RING_MAX: usize = 64;

/// The loop of this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UvLoop {
    raw: *mut c_void,
    uv: &'static Uv,
    metrics: Option<UvMetrics>,
}

impl UvLoop {
    /// Takes a loop as Node gave it, and has it count the time that it waits.
    ///
    /// # Errors
    /// It is not libuv 1.x as it is known here.
    pub(super) fn new(raw: *mut c_void) -> Result<UvLoop, Missing> {
        let uv = uv()?;
        // SAFETY: it only returns a number.
        let version = unsafe { (uv.version)() };
        if version >> 16 != 1 {
            return Err(Missing(format!("libuv is of version {}, not of 1.x", version >> 16)));
        }
        for kind in [PREPARE, CHECK] {
            // SAFETY: it only returns a number.
            let bytes = unsafe { (uv.handle_size)(kind) };
            if bytes != HANDLE_BYTES {
                return Err(Missing(format!("libuv's handles have {bytes} bytes, not {HANDLE_BYTES}")));
            }
        }
        // SAFETY: the loop is this thread's; the option takes no argument, and a further one is not read.
        unsafe { (uv.configure)(raw, IDLE_TIME, 0) };
        Ok(UvLoop { raw, uv, metrics: UvMetrics::find().ok() })
    }

    /// Returns the loop as libuv has it.
    pub(super) fn raw(&self) -> *mut c_void {
        self.raw
    }

    /// Returns libuv's version.
    pub(crate) fn version(&self) -> String {
        // SAFETY: it returns a constant text.
        let text = unsafe { (self.uv.version_text)() };
        // SAFETY: the constant ends with a zero.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// Returns for how long the loop has waited in polls, in nanoseconds; while it waits, up to now.
    #[inline]
    pub(crate) fn idle_ns(&self) -> u64 {
        // SAFETY: the loop lives as long as its thread runs it, where this is called.
        unsafe { (self.uv.idle_time)(self.raw) }
    }

    /// Returns the loop's own time, in milliseconds, as it was read last.
    #[inline]
    pub(crate) fn time_ms(&self) -> u64 {
        // SAFETY: the loop is this thread's.
        unsafe { (self.uv.now)(self.raw) }
    }

    /// Returns how old that is, in nanoseconds; the fraction of a millisecond that it does not have is counted, too.
    pub(crate) fn time_age_ns(&self) -> u64 {
        // SAFETY: it only reads a clock, the one that the loop's time is of.
        let now_ns = unsafe { (self.uv.hrtime)() };
        now_ns.saturating_sub(self.time_ms().saturating_mul(1_000_000))
    }

    /// Returns how many events all polls have returned; `None` where libuv does not count them.
    #[inline]
    pub(crate) fn events(&self) -> Option<u64> {
        let mut metrics = Metrics::default();
        // SAFETY: the loop is this thread's; libuv writes one structure of this size.
        unsafe { (self.metrics?.info)(self.raw, &raw mut metrics) };
        Some(metrics.events)
    }

    /// Returns where libuv counts the loop's polls: [`MetricsPlace`].
    pub(crate) fn metrics_place(&self) -> MetricsPlace {
        let field = self.raw.wrapping_byte_add(INTERNAL_FIELDS).cast::<*const u64>();
        // SAFETY: the field is in the loop's public part.
        let fields = unsafe { field.read() };
        // Without a count of events the times follow the flags.
        let (events, idle) =
            if self.metrics.is_some() { (EVENTS_WORD, IDLE_WORD) } else { (0, IDLE_WORD_OLD) };
        MetricsPlace { events: fields.wrapping_add(events), idle: fields.wrapping_add(idle) }
    }

    /// Returns how many handles keep the loop alive, and how many requests are under way.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (u64::from(self.word(ACTIVE_HANDLES)), u64::from(self.word(ACTIVE_REQUESTS)))
    }

    fn word(&self, offset: usize) -> u32 {
        let field = self.raw.wrapping_byte_add(offset).cast::<u32>();
        // SAFETY: the field is inside the loop, whose layout `Handles::start` has checked or is about to.
        unsafe { field.read() }
    }

    /// Checks that fields of the loop are where they are taken to be, by functions that tell the same.
    fn check_layout(&self) -> Result<(), Missing> {
        let time = self.raw.wrapping_byte_add(TIME).cast::<u64>();
        // SAFETY: a loop is larger than this in every version of libuv 1.x on 64-bit systems.
        let time = unsafe { time.read() };
        // SAFETY: the loop is this thread's.
        let now = unsafe { (self.uv.now)(self.raw) };
        // SAFETY: the loop is this thread's.
        let fd = unsafe { (self.uv.backend_fd)(self.raw) };
        match time == now && self.word(BACKEND_FD) == fd as u32 {
            true => Ok(()),
            false => Err(Missing(format!("the loop of libuv {} has another layout", self.version()))),
        }
    }
}

/// Words of `uv__loop_internal_fields_t`, where `uv_metrics_info` and `uv_metrics_idle_time` read, the latter with a lock.
const EVENTS_WORD: usize = 2;
const IDLE_WORD: usize = 18;
/// The latter in libuv before 1.45.
const IDLE_WORD_OLD: usize = 2;

/// Where libuv keeps how many events polls have returned, and how long they waited, of a loop of this thread. Its lock is for
/// others, and costs as much as all else that is done in a turn.
///
/// That it is so is checked by the caller: each word must have been what the function returned, again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsPlace {
    events: *const u64,
    idle: *const u64,
}

impl MetricsPlace {
    /// Returns how many events all polls have returned.
    #[inline]
    pub(crate) fn events(&self) -> u64 {
        // SAFETY: the structure is larger than this, and lives as long as its loop, on whose thread this is called.
        unsafe { self.events.read_volatile() }
    }

    /// Returns for how long the loop has waited in polls, in nanoseconds; while no poll waits.
    #[inline]
    pub(crate) fn idle_ns(&self) -> u64 {
        // SAFETY: as above.
        unsafe { self.idle.read_volatile() }
    }
}

/// Which of ours a handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    PollBegins,
    CheckBegins,
    CheckEnds,
}

/// Room for one handle: `uv_prepare_t` or `uv_check_t`, at an address that does not change.
#[repr(C, align(16))]
#[derive(Debug)]
struct Handle([u8; HANDLE_BYTES]);

/// Our handles in one loop. They are libuv's: dropping this leaves them as they are, until [`current::close_handles`].
#[derive(Debug)]
pub(crate) struct Handles {
    uv_loop: UvLoop,
    handles: [(*mut Handle, Mark); 3],
    /// Why the end of the check phase is not told.
    pub(crate) no_check_end: Option<Missing>,
}

impl Handles {
    /// Starts our handles, so that they keep no loop alive. On the loop's thread.
    pub(crate) fn start(uv_loop: UvLoop) -> Handles {
        let marks = [Mark::PollBegins, Mark::CheckEnds, Mark::CheckBegins];
        let handles = marks.map(|mark| (Box::into_raw(Box::new(Handle([0; HANDLE_BYTES]))), mark));
        let mut all = Handles { uv_loop, handles, no_check_end: None };
        current::add_handles(handles.map(|(handle, _)| OpenHandle {
            handle: handle.cast(),
            close: uv_loop.uv.close,
            on_closed,
        }));
        all.each(|uv, handle, mark| {
            let init = if mark == Mark::PollBegins { uv.prepare_init } else { uv.check_init };
            // SAFETY: the loop is this thread's, and the memory is a handle's and stays until it is closed.
            unsafe { init(uv_loop.raw, handle) };
        });
        all.run();
        all
    }

    /// Starts handles that are stopped.
    pub(crate) fn run(&mut self) {
        let before = self.uv_loop.word(ACTIVE_HANDLES);
        self.each(|uv, handle, mark| {
            // Those that were stopped are not counted otherwise.
            // SAFETY: the handle was initialised in this loop, on this thread.
            unsafe { (uv.keep)(handle) };
            let start = if mark == Mark::PollBegins { uv.prepare_start } else { uv.check_start };
            // SAFETY: the handle was initialised in this loop, on this thread.
            unsafe { start(handle, callback_of(mark)) };
        });
        let counted = self.uv_loop.word(ACTIVE_HANDLES).wrapping_sub(before);
        self.each(|uv, handle, _| {
            // SAFETY: as above.
            unsafe { (uv.unref)(handle) };
        });
        self.no_check_end = self.move_to_the_end(counted).err();
        if self.no_check_end.is_some() {
            // At the head of its list it would end the phase before it begins.
            self.each(|uv, handle, mark| {
                if mark == Mark::CheckEnds {
                    // SAFETY: as above.
                    unsafe { (uv.check_stop)(handle) };
                }
            });
        }
    }

    /// Stops them; [`Handles::run`] starts them again.
    pub(crate) fn stop(&mut self) {
        self.each(|uv, handle, mark| {
            let stop = if mark == Mark::PollBegins { uv.prepare_stop } else { uv.check_stop };
            // SAFETY: the handle was initialised in this loop, on this thread.
            unsafe { stop(handle) };
        });
    }

    fn each(&self, mut f: impl FnMut(&Uv, *mut c_void, Mark)) {
        for (handle, mark) in self.handles {
            f(self.uv_loop.uv, handle.cast(), mark);
        }
    }

    /// Moves what is to be last behind all other handles of its kind.
    fn move_to_the_end(&self, counted: u32) -> Result<(), Missing> {
        self.uv_loop.check_layout()?;
        if counted as usize != self.handles.len() {
            return Err(Missing(format!("libuv counted {counted} of our handles where there are 3")));
        }
        for (handle, mark) in self.handles {
            let ring = match mark {
                Mark::PollBegins => PREPARE_RING,
                Mark::CheckEnds => CHECK_RING,
                Mark::CheckBegins => continue,
            };
            let node = handle.wrapping_byte_add(HANDLE_RING).cast::<Link>();
            let head = self.uv_loop.raw.wrapping_byte_add(ring).cast::<Link>();
            move_to_tail(node, head)?;
        }
        Ok(())
    }
}

/// A link of libuv's doubly linked rings, in the layout of all 1.x: the next, the one before.
#[repr(C)]
#[derive(Clone, Copy)]
struct Link {
    next: *mut Link,
    before: *mut Link,
}

fn load(link: *mut Link) -> Link {
    // SAFETY: it is our handle's link, or one that a link of that ring led to: all of them are links of handles that are in
    // the ring, or its head. Handles are started and stopped on this thread only.
    unsafe { link.read() }
}

fn store(link: *mut Link, value: Link) {
    // SAFETY: as in `load`.
    unsafe { link.write(value) };
}

/// # Errors
/// The ring in which `node` is does not have this head within [`RING_MAX`] steps.
fn move_to_tail(node: *mut Link, head: *mut Link) -> Result<(), Missing> {
    let mut at = load(node).next;
    let mut steps = 0;
    while at != head {
        steps += 1;
        if at.is_null() || at == node || steps > RING_MAX {
            return Err(Missing("our handle is in no ring of the loop".to_owned()));
        }
        at = load(at).next;
    }
    let Link { next, before } = load(node);
    if next == head {
        return Ok(());
    }
    store(before, Link { next, ..load(before) });
    store(next, Link { before, ..load(next) });
    let tail = load(head).before;
    store(node, Link { next: head, before: tail });
    store(tail, Link { next: node, ..load(tail) });
    store(head, Link { before: node, ..load(head) });
    Ok(())
}

unsafe extern "C" fn on_closed(handle: *mut c_void) {
    // SAFETY: it was made by `Box::into_raw` in `start`, and libuv is done with it.
    drop(unsafe { Box::from_raw(handle.cast::<Handle>()) });
    current::handle_closed();
}

fn callback_of(mark: Mark) -> HandleCallback {
    match mark {
        Mark::PollBegins => on_poll_begins,
        Mark::CheckBegins => on_check_begins,
        Mark::CheckEnds => on_check_ends,
    }
}

unsafe extern "C" fn on_poll_begins(_handle: *mut c_void) {
    current::tell(Event::PollBegins);
}

unsafe extern "C" fn on_check_begins(_handle: *mut c_void) {
    current::tell(Event::CheckBegins);
}

unsafe extern "C" fn on_check_ends(_handle: *mut c_void) {
    current::tell(Event::CheckEnds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use current::{are_handles_left, close_handles};
    use std::cell::RefCell;
    use std::ptr::null_mut;

    thread_local! {
        /// Handles that the libuv of these tests was told to close, and does in its next turn.
        static TO_CLOSE: RefCell<Vec<(*mut c_void, HandleCallback)>> = const { RefCell::new(Vec::new()) };
    }

    unsafe extern "C" fn number() -> u32 {
        0
    }
    unsafe extern "C" fn no_text() -> *const c_char {
        c"".as_ptr()
    }
    unsafe extern "C" fn size(_kind: c_int) -> usize {
        HANDLE_BYTES
    }
    unsafe extern "C" fn init(_raw: *mut c_void, _handle: *mut c_void) -> c_int {
        0
    }
    unsafe extern "C" fn start(_handle: *mut c_void, _callback: HandleCallback) -> c_int {
        0
    }
    unsafe extern "C" fn of_one(_handle: *mut c_void) -> c_int {
        0
    }
    unsafe extern "C" fn ignore(_handle: *mut c_void) {}
    unsafe extern "C" fn close(handle: *mut c_void, closed: HandleCallback) {
        TO_CLOSE.with_borrow_mut(|all| all.push((handle, closed)));
    }
    unsafe extern "C" fn time(_raw: *mut c_void) -> u64 {
        0
    }
    unsafe extern "C" fn no_time() -> u64 {
        0
    }
    unsafe extern "C" fn configure(_raw: *mut c_void, _option: c_int, _argument: c_int) -> c_int {
        0
    }

    /// A libuv that does nothing but close, in its next turn.
    static UV: Uv = Uv {
        version: number,
        version_text: no_text,
        handle_size: size,
        prepare_init: init,
        prepare_start: start,
        prepare_stop: of_one,
        check_init: init,
        check_start: start,
        check_stop: of_one,
        keep: ignore,
        unref: ignore,
        close,
        now: time,
        hrtime: no_time,
        backend_fd: of_one,
        configure,
        idle_time: time,
    };

    fn start_in(memory: &mut [u64; 256]) -> Handles {
        Handles::start(UvLoop { raw: memory.as_mut_ptr().cast(), uv: &UV, metrics: None })
    }

    /// The loop turns: returns how many handles it closed.
    fn turn() -> usize {
        let closing = TO_CLOSE.take();
        for (handle, closed) in &closing {
            // SAFETY: as libuv calls it, once.
            unsafe { closed(*handle) };
        }
        closing.len()
    }

    /// Begins what ends with the environment; returns whether Node has to be told so.
    fn begins() -> bool {
        let mut is_new = false;
        let forget = current::Forget { isolate: |_| {}, code: || {} };
        assert!(current::end_with_environment(forget, || {
            is_new = true;
            std::ptr::dangling_mut()
        }));
        is_new
    }

    #[test]
    fn handles_that_nobody_has_any_more_are_closed_with_the_environment() {
        let mut memory = [0; 256];
        assert!(begins());
        // An error of ours drops what watches the loop.
        drop(start_in(&mut memory));
        assert!(are_handles_left() && turn() == 0);
        // SAFETY: as Node calls it, on this thread.
        unsafe { current::on_environment_end(std::ptr::dangling_mut(), null_mut()) };
        assert!(!begins(), "Node waits until they are closed");
        assert_eq!((turn(), are_handles_left(), begins()), (3, false, true));
        // SAFETY: as above.
        unsafe { current::on_environment_end(std::ptr::dangling_mut(), null_mut()) };
        assert!(begins(), "without handles it waits for nothing");
    }

    #[test]
    fn what_starts_before_the_handles_of_before_are_closed_has_its_end_told() {
        let mut memory = [0; 256];
        assert!(begins());
        drop(start_in(&mut memory));
        close_handles();
        assert!(!begins());
        drop(start_in(&mut memory));
        assert_eq!((turn(), begins()), (3, false), "the hook is that of the second");
        close_handles();
        drop(start_in(&mut memory));
        close_handles();
        assert_eq!((turn(), are_handles_left(), begins()), (6, false, true));
    }
}
