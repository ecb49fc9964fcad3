//! A job of ours in libuv's pool, which does nothing: that it runs tells how long jobs wait. One at most is on its way.

use super::symbols::{self, Missing, functions};
use super::uv::UvLoop;
use libc::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Work = unsafe extern "C" fn(*mut c_void);
type AfterWork = unsafe extern "C" fn(*mut c_void, c_int);

functions! {
    /// Jobs of libuv's pool.
    Jobs {
        queue = c"uv_queue_work": fn(*mut c_void, *mut c_void, Work, AfterWork) -> c_int;
        request_size = c"uv_req_size": fn(c_int) -> usize;
    }
}

/// `UV_WORK` of `uv_req_type`, and the bytes of `uv_work_t` on 64-bit systems.
const WORK: c_int = 7;
const REQUEST_BYTES: usize = 128;

/// `uv_work_t`, whose first field is the caller's, and what belongs to it.
#[repr(C)]
struct Request {
    uv: [usize; REQUEST_BYTES / size_of::<usize>()],
    /// libuv has it.
    is_out: AtomicBool,
    ran: Arc<dyn Fn() + Send + Sync>,
}

/// The job. What libuv is given stays for ever: a job may run while the process ends.
#[derive(Debug)]
pub(crate) struct ProbeJob {
    request: *mut Request,
    jobs: Jobs,
}

impl ProbeJob {
    /// `ran` is called on a thread of the pool, each time that the job runs.
    ///
    /// # Errors
    /// libuv has other jobs.
    pub(crate) fn new(ran: Arc<dyn Fn() + Send + Sync>) -> Result<ProbeJob, Missing> {
        let jobs = Jobs::find()?;
        // SAFETY: it only returns a number.
        let bytes = unsafe { (jobs.request_size)(WORK) };
        if bytes != REQUEST_BYTES {
            return Err(Missing(format!("libuv's jobs have {bytes} bytes, not {REQUEST_BYTES}")));
        }
        let uv = [0; REQUEST_BYTES / size_of::<usize>()];
        let request = Box::into_raw(Box::new(Request { uv, is_out: AtomicBool::new(false), ran }));
        Ok(ProbeJob { request, jobs })
    }

    fn is_out(&self) -> &AtomicBool {
        // SAFETY: the request is never freed; libuv writes its first field only, and this one is an atomic.
        unsafe { &(*self.request).is_out }
    }

    /// Sends it, where it is not on its way, and returns whether it was sent. On the loop's thread. The loop stays alive until the
    /// job has run.
    pub(crate) fn send(&self, uv_loop: &UvLoop) -> bool {
        if self.is_out().swap(true, Ordering::AcqRel) {
            return false;
        }
        let (raw, request) = (uv_loop.raw(), self.request.cast());
        // SAFETY: the loop is this thread's, and libuv is done with the request: `on_after` has said so, or it was never given.
        let code = unsafe { (self.jobs.queue)(raw, request, on_work, on_after) };
        if code != 0 {
            self.is_out().store(false, Ordering::Release);
        }
        code == 0
    }
}

unsafe extern "C" fn on_work(request: *mut c_void) {
    let request = request.cast::<Request>();
    // SAFETY: libuv gives what it was given, which is never freed, and nobody writes this field.
    let ran = unsafe { &(*request).ran };
    let _ = catch_unwind(AssertUnwindSafe(|| ran()));
}

unsafe extern "C" fn on_after(request: *mut c_void, _status: c_int) {
    let request = request.cast::<Request>();
    // SAFETY: as in `on_work`; this field is an atomic.
    let is_out = unsafe { &(*request).is_out };
    is_out.store(false, Ordering::Release);
}
