//! Functions that JavaScript can call: registered with Node, and called through one that stands for all of them.

use super::event::Watcher;
use super::function_place;
use super::hook_counts::HookCounts;
use super::napi::{ARGUMENTS, Arguments, Environment, Info, Value};
use super::uv::UvLoop;
use super::v8::Isolate;
use super::{Missing, code_events, current, js_callback, sampler, stack_trace};
use libc::c_void;
use loopscope_probe::raw::thread::current_tid;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;

/// A function of ours: gets its arguments as texts, and returns a text.
pub(crate) type Function = fn(&Caller, &[String]) -> String;
/// One with its name.
pub(crate) type Named = (&'static CStr, Function);

/// Our functions, from the first registration on.
static FUNCTIONS: OnceLock<&'static [Named]> = OnceLock::new();

/// What knows an isolate beside its watcher.
const FORGET: current::Forget = current::Forget { isolate: forget_isolate, code: code_events::unfollow };

fn forget_isolate(tid: u32) {
    sampler::remove(tid);
    stack_trace::remove(tid);
}

/// The thread and environment that called us.
#[derive(Debug)]
pub(crate) struct Caller {
    environment: Environment,
    values: [Value; ARGUMENTS],
}

impl Caller {
    /// Returns the loop of this thread.
    ///
    /// # Errors
    /// It is none that is known here.
    pub(crate) fn uv_loop(&self) -> Result<UvLoop, Missing> {
        UvLoop::new(self.environment.uv_loop()?)
    }

    /// Returns the isolate of this thread.
    ///
    /// # Errors
    /// V8 does not tell it.
    pub(crate) fn isolate(&self) -> Result<Isolate, Missing> {
        Isolate::current()
    }

    /// Tells whether this thread has a watcher.
    pub(crate) fn is_watched(&self) -> bool {
        current::is_set()
    }

    /// Lets the agent ask for JavaScript's stack on this thread. The argument with this index is a function that answers what
    /// only JavaScript knows, see [`stack_trace`]. Whether the program `is_to_come` decides how its code is followed.
    ///
    /// # Errors
    /// V8 has another interface; says what of it is missing.
    pub(crate) fn tell_stacks(
        &self,
        isolate: &Isolate,
        helper: usize,
        is_to_come: bool,
    ) -> Result<(), Missing> {
        let function = self.values.get(helper).copied();
        let helper = function.and_then(|function| self.environment.keep_function(function));
        stack_trace::add(self.tid(), isolate.raw, self.environment, helper, is_to_come)?;
        if let Some(function) = function.filter(|_| helper.is_some()) {
            function_place::check_heap(isolate.raw, &self.environment, function);
        }
        sampler::add(self.tid(), isolate.raw)
    }

    /// Whether the helper has a name for what runs: whether the program told one.
    pub(crate) fn set_named_by_context(&self, is_named: bool) {
        stack_trace::set_named_by_context(is_named);
    }

    /// Returns the counters of hooks that the first argument is; `None` for anything else.
    pub(crate) fn hook_counts(&self) -> Option<HookCounts> {
        HookCounts::new(&self.environment, self.values[0])
    }

    /// Has all that is begun for this thread end with its environment: before anything begins.
    ///
    /// # Errors
    /// Node refuses.
    pub(crate) fn end_with_environment(&self) -> Result<(), Missing> {
        match current::end_with_environment(FORGET, || self.environment.at_end(current::on_environment_end)) {
            true => Ok(()),
            false => Err(Missing("Node does not tell the end of this thread's environment".to_owned())),
        }
    }

    /// Makes it this thread's watcher.
    pub(crate) fn keep<W: Watcher + 'static>(&self, watcher: Box<W>) {
        current::set(watcher);
    }

    /// Calls `f` with this thread's watcher, where there is one.
    pub(crate) fn with_watcher<R>(&self, f: impl FnOnce(&mut dyn Watcher) -> R) -> Option<R> {
        current::with_own(f)
    }

    /// Has this thread's watcher told nothing, or events again.
    pub(crate) fn mute(&self, is_muted: bool) {
        current::mute(is_muted);
    }

    /// Ends this thread's watcher, while its loop goes on.
    pub(crate) fn end(&self) {
        current::end();
        current::close_handles();
    }

    /// Ends this thread's watcher, after which its loop does not turn any more.
    pub(crate) fn end_at_exit(&self) {
        current::end();
    }

    /// Returns the id of this thread.
    pub(crate) fn tid(&self) -> u32 {
        current_tid()
    }
}

unsafe extern "C" fn on_call(environment: *mut c_void, info: Info) -> Value {
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let environment = Environment::new(environment).ok()?;
        let Arguments { texts, values, data } = environment.call(info)?;
        let function = FUNCTIONS.get()?.get(data)?.1;
        let text = function(&Caller { environment, values }, &texts);
        Some(environment.new_text(&text))
    }));
    answer.ok().flatten().unwrap_or(null_mut())
}

/// Returns the path of this file, as the loader has it; `None` where it does not tell.
fn own_path() -> Option<&'static CStr> {
    // SAFETY: an all-zero `Dl_info` is one without names.
    let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
    let own = on_call as *const c_void;
    // SAFETY: dladdr only reads the address and writes the structure.
    let code = unsafe { libc::dladdr(own, &raw mut found) };
    if code == 0 || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's text ends with a zero, and stays as long as the file is loaded, which is for good: see `stay`.
    Some(unsafe { CStr::from_ptr(found.dli_fname) })
}

/// Returns the name of this file: people give it any.
pub(crate) fn own_name() -> Option<String> {
    let path = own_path()?.to_string_lossy();
    path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Keeps this file loaded: threads and hooks of ours run its code, also after Node has let go of it.
fn stay() {
    if let Some(path) = own_path() {
        let flags = libc::RTLD_NOW | libc::RTLD_NODELETE | libc::RTLD_NOLOAD;
        // SAFETY: the name is the loader's own, of a file that is loaded.
        unsafe { libc::dlopen(path.as_ptr(), flags) };
    }
}

/// Gives an environment our functions.
///
/// # Safety
/// Node gave both, for the time of this call.
pub(crate) unsafe fn register(environment: *mut c_void, exports: Value, functions: &'static [Named]) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let Ok(environment) = Environment::new(environment) else { return };
        stay();
        for (number, (name, _)) in FUNCTIONS.get_or_init(|| functions).iter().enumerate() {
            environment.add_function(exports, name, on_call, number);
        }
        js_callback::add(&environment, exports);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::event::Running;
    use crate::sys::event::{EntryWatcher, Event, TraceEvent};
    use crate::sys::hook_counts::HookCounts;
    use loopscope_probe::{Snapshot, Ticks};

    /// Whatever it is told, it panics.
    #[derive(Debug)]
    struct Panics;

    impl Watcher for Panics {
        fn tell(&mut self, _event: Event) -> bool {
            panic!("on purpose");
        }

        fn gc_begins(&mut self, _kind: u32) {}

        fn gc_ends(&mut self) {}

        fn label(&mut self, _name: &str) -> bool {
            false
        }

        fn main_is_module(&mut self) {}

        fn running(&self) -> Running {
            Running::Other
        }

        fn part_what_blocks(&mut self) {}

        fn set_hook_counts(&mut self, _counts: HookCounts) {}

        fn code_was_mapped(&mut self, _ns: u64) {}

        fn threw(&mut self) {}

        fn counts(&mut self) -> String {
            String::new()
        }

        fn set_paused(&mut self, _is_paused: bool, _left_out: &str) {}

        fn snapshot(&mut self) -> Box<Snapshot> {
            unreachable!("nobody asks for it")
        }

        fn expect(&mut self, _reason: &str) {}

        fn expected(&mut self) {}

        fn busy_since(&self) -> Ticks {
            Ticks::NONE
        }

        fn end(self: Box<Self>) {}
    }

    impl EntryWatcher for Panics {
        fn entry_begins(&mut self) -> bool {
            panic!("on purpose");
        }

        fn entry_ends(&mut self) -> bool {
            panic!("on purpose");
        }

        fn trace(&mut self, _event: &TraceEvent) -> bool {
            panic!("on purpose");
        }

        fn checkpoint(&mut self) -> bool {
            panic!("on purpose");
        }
    }

    /// Lists an isolate for this thread, as at a start.
    fn list() -> u32 {
        let tid = current_tid();
        assert!(current::end_with_environment(FORGET, std::ptr::dangling_mut));
        stack_trace::list(tid, null_mut(), 0, None);
        sampler::list(tid, std::ptr::dangling_mut());
        assert!(stack_trace::loop_of(tid).is_some() && sampler::knows(tid));
        tid
    }

    #[test]
    fn after_an_error_of_ours_nobody_asks_the_isolate_that_will_be_freed() {
        let tid = list();
        assert_eq!(current::must_be_told_of_entries::<Panics>(), Ok(()));
        for is_entry in [false, true] {
            current::set(Box::new(Panics));
            match is_entry {
                false => current::tell(Event::PollBegins),
                // SAFETY: these are told of entries.
                true => unsafe { current::tell_entry_end::<Panics>() },
            }
            assert!(!current::is_set());
            assert!(stack_trace::loop_of(tid).is_none() && !sampler::knows(tid));
        }
    }

    #[test]
    fn the_end_forgets_the_isolate_also_where_no_watcher_was_set_or_is_left() {
        let tid = list();
        current::end();
        assert!(stack_trace::loop_of(tid).is_none() && !sampler::knows(tid));
    }

    #[test]
    fn one_hook_is_for_the_end_of_an_environment_and_without_one_nothing_begins() {
        assert!(!current::end_with_environment(FORGET, null_mut));
        assert!(current::end_with_environment(FORGET, std::ptr::dangling_mut));
        assert!(current::end_with_environment(FORGET, || panic!("it has one")));
    }
}
