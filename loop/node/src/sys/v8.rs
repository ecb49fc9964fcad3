//! V8 by its mangled names: hooks around entries and collections, the heap's figures, and the id of what an entry is for.

use super::collecting;
use super::current;
use super::event::{EntryWatcher, HeapFigures};
use super::symbols::{self, Missing, functions};
use libc::{c_int, c_void};
use std::sync::OnceLock;

type EntryCallback = unsafe extern "C" fn(*mut c_void);
type CheckpointCallback = unsafe extern "C" fn(*mut c_void, *mut c_void);
type GcCallback = unsafe extern "C" fn(*mut c_void, c_int, c_int, *mut c_void);

functions! {
    /// The isolate of this thread.
    Isolates {
        current = c"_ZN2v87Isolate10GetCurrentEv": fn() -> *mut c_void;
    }
}

functions! {
    /// What JavaScript runs in.
    Contexts {
        current = c"_ZN2v87Isolate17GetCurrentContextEv": fn(*mut c_void) -> *mut c_void;
    }
}

functions! {
    /// Hooks around entries from C++ into JavaScript.
    EntryHooks {
        add_before = c"_ZN2v87Isolate28AddBeforeCallEnteredCallbackEPFvPS0_E": fn(*mut c_void, EntryCallback);
        add_after = c"_ZN2v87Isolate24AddCallCompletedCallbackEPFvPS0_E": fn(*mut c_void, EntryCallback);
        remove_before = c"_ZN2v87Isolate31RemoveBeforeCallEnteredCallbackEPFvPS0_E":
            fn(*mut c_void, EntryCallback);
        remove_after = c"_ZN2v87Isolate27RemoveCallCompletedCallbackEPFvPS0_E":
            fn(*mut c_void, EntryCallback);
    }
}

functions! {
    /// Hooks after V8 has run its microtasks.
    CheckpointHooks {
        add = c"_ZN2v87Isolate30AddMicrotasksCompletedCallbackEPFvPS0_PvES2_":
            fn(*mut c_void, CheckpointCallback, *mut c_void);
        remove = c"_ZN2v87Isolate33RemoveMicrotasksCompletedCallbackEPFvPS0_PvES2_":
            fn(*mut c_void, CheckpointCallback, *mut c_void);
    }
}

functions! {
    /// Hooks around collections of garbage.
    GcHooks {
        add_before = c"_ZN2v87Isolate21AddGCPrologueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_":
            fn(*mut c_void, GcCallback, *mut c_void, c_int);
        add_after = c"_ZN2v87Isolate21AddGCEpilogueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_":
            fn(*mut c_void, GcCallback, *mut c_void, c_int);
        remove_before = c"_ZN2v87Isolate24RemoveGCPrologueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_":
            fn(*mut c_void, GcCallback, *mut c_void);
        remove_after = c"_ZN2v87Isolate24RemoveGCEpilogueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_":
            fn(*mut c_void, GcCallback, *mut c_void);
    }
}

functions! {
    /// What JavaScript runs for.
    AsyncIds {
        current = c"_ZN4node29AsyncHooksGetExecutionAsyncIdEPN2v87IsolateE": fn(*mut c_void) -> f64;
    }
}

functions! {
    /// The heap's figures.
    HeapCalls {
        clear = c"_ZN2v814HeapStatisticsC1Ev": fn(*mut HeapStatistics);
        read = c"_ZN2v87Isolate17GetHeapStatisticsEPNS_14HeapStatisticsE":
            fn(*mut c_void, *mut HeapStatistics);
    }
}

/// `v8::HeapStatistics`: a number of `size_t`, whose first eight have not moved from V8 10 to 14; with room to grow.
#[repr(C)]
pub(super) struct HeapStatistics([usize; 64]);

/// Collections of all kinds.
const GC_ALL: c_int = 0xffff;

/// The isolate that runs on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Isolate {
    pub(super) raw: *mut c_void,
    async_ids: Option<AsyncIds>,
    /// Found once: they are hooked and unhooked many times a second.
    checkpoints: Option<CheckpointHooks>,
}

impl Isolate {
    /// # Errors
    /// V8 does not tell it.
    pub(super) fn current() -> Result<Isolate, Missing> {
        let isolates = Isolates::find()?;
        // SAFETY: it only reads V8's variable of this thread.
        let raw = unsafe { (isolates.current)() };
        match raw.is_null() {
            true => Err(Missing("V8 has no isolate on this thread".to_owned())),
            false => {
                let checkpoints = CheckpointHooks::find().ok();
                Ok(Isolate { raw, async_ids: AsyncIds::find().ok(), checkpoints })
            }
        }
    }

    /// Returns V8's handle of the context that JavaScript runs in. Within a call from JavaScript.
    pub(super) fn context(&self) -> Option<*mut c_void> {
        let contexts = Contexts::find().ok()?;
        // SAFETY: the isolate is this thread's, and JavaScript has called, so that there is a context and a scope for its handle.
        let context = unsafe { (contexts.current)(self.raw) };
        (!context.is_null()).then_some(context)
    }

    /// Returns the id of the resource that JavaScript is entered for, as Node numbers them.
    #[inline]
    pub(crate) fn async_id(&self) -> Option<u64> {
        // SAFETY: the isolate is this thread's and alive while its loop runs. Node reads a number of the environment.
        let id = unsafe { (self.async_ids?.current)(self.raw) };
        Some(id as u64)
    }

    /// Tells whether [`Isolate::async_id`] knows anything.
    pub(crate) fn has_async_ids(&self) -> bool {
        self.async_ids.is_some()
    }

    /// Tells whether [`Isolate::hook_entries`] can.
    ///
    /// # Errors
    /// V8 has another interface.
    pub(crate) fn can_hook_entries(&self) -> Result<(), Missing> {
        EntryHooks::find().map(drop)
    }

    /// Hooks the entries from C++ into JavaScript.
    ///
    /// # Errors
    /// V8 has another interface; nothing is hooked.
    pub(crate) fn hook_entries<W: EntryWatcher>(&self) -> Result<(), Missing> {
        let hooks = EntryHooks::find()?;
        current::must_be_told_of_entries::<W>()?;
        // SAFETY: the isolate is this thread's; the callback lives as long as the process, and its watchers are told of entries.
        unsafe { (hooks.add_before)(self.raw, on_entry::<W>) };
        // SAFETY: as above.
        unsafe { (hooks.add_after)(self.raw, on_entry_completed::<W>) };
        Ok(())
    }

    /// Takes the hooks of [`Isolate::hook_entries`] away.
    pub(crate) fn unhook_entries<W: EntryWatcher>(&self) {
        let Ok(hooks) = EntryHooks::find() else { return };
        // SAFETY: the isolate is this thread's, and alive until its environment's end is over.
        unsafe { (hooks.remove_before)(self.raw, on_entry::<W>) };
        // SAFETY: as above.
        unsafe { (hooks.remove_after)(self.raw, on_entry_completed::<W>) };
    }

    /// Tells whether [`Isolate::hook_checkpoints`] can.
    ///
    /// # Errors
    /// V8 has another interface.
    pub(crate) fn can_hook_checkpoints<W: EntryWatcher>(&self) -> Result<(), Missing> {
        current::must_be_told_of_entries::<W>()?;
        CheckpointHooks::find().map(drop)
    }

    /// Hooks V8's checkpoints, each of which runs all microtasks, or finds none. Only where it [can](Isolate::can_hook_checkpoints).
    pub(crate) fn hook_checkpoints<W: EntryWatcher>(&self) {
        if let Some(hooks) = &self.checkpoints {
            // SAFETY: the isolate is this thread's; the callback lives as long as the process, and gets no data.
            unsafe { (hooks.add)(self.raw, on_checkpoint::<W>, std::ptr::null_mut()) };
        }
    }

    /// Takes the hook of [`Isolate::hook_checkpoints`] away.
    pub(crate) fn unhook_checkpoints<W: EntryWatcher>(&self) {
        if let Some(hooks) = &self.checkpoints {
            // SAFETY: the isolate is this thread's, and alive until its environment's end is over. V8 calls what it has a copy of,
            // so that this may be done within the callback.
            unsafe { (hooks.remove)(self.raw, on_checkpoint::<W>, std::ptr::null_mut()) };
        }
    }

    /// Hooks collections of garbage.
    ///
    /// # Errors
    /// V8 has another interface; nothing is hooked.
    pub(crate) fn hook_gc(&self) -> Result<(), Missing> {
        let hooks = GcHooks::find()?;
        // SAFETY: the isolate is this thread's; the callback lives as long as the process, and gets no data.
        unsafe { (hooks.add_before)(self.raw, on_gc, std::ptr::null_mut(), GC_ALL) };
        // SAFETY: as above.
        unsafe { (hooks.add_after)(self.raw, on_gc_completed, std::ptr::null_mut(), GC_ALL) };
        collecting::set_told(true);
        Ok(())
    }

    /// Takes the hooks of [`Isolate::hook_gc`] away.
    pub(crate) fn unhook_gc(&self) {
        let Ok(hooks) = GcHooks::find() else { return };
        collecting::set_told(false);
        // SAFETY: the isolate is this thread's, and alive until its environment's end is over.
        unsafe { (hooks.remove_before)(self.raw, on_gc, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { (hooks.remove_after)(self.raw, on_gc_completed, std::ptr::null_mut()) };
    }

    /// Returns the heap's figures.
    ///
    /// # Errors
    /// V8 has another interface.
    pub(crate) fn heap(&self) -> Result<HeapFigures, Missing> {
        static CALLS: OnceLock<Result<HeapCalls, Missing>> = OnceLock::new();
        let calls = CALLS.get_or_init(HeapCalls::find).as_ref().map_err(Clone::clone)?;
        let mut statistics = HeapStatistics([0; 64]);
        // SAFETY: V8 writes a structure that is smaller than ours in every version.
        unsafe { (calls.clear)(&raw mut statistics) };
        // SAFETY: the isolate is this thread's, and the structure as above.
        unsafe { (calls.read)(self.raw, &raw mut statistics) };
        let [total, _, _, _, used, limit, malloced, external, ..] = statistics.0.map(|word| word as u64);
        Ok(HeapFigures { used, total, limit, malloced, external })
    }
}

unsafe extern "C" fn on_entry<W: EntryWatcher>(_isolate: *mut c_void) {
    // SAFETY: hooked only where such watchers are told of entries.
    unsafe { current::tell_entry::<W>() };
}

unsafe extern "C" fn on_entry_completed<W: EntryWatcher>(_isolate: *mut c_void) {
    // SAFETY: as above.
    unsafe { current::tell_entry_end::<W>() };
}

unsafe extern "C" fn on_checkpoint<W: EntryWatcher>(_isolate: *mut c_void, _data: *mut c_void) {
    // SAFETY: as above.
    unsafe { current::tell_checkpoint::<W>() };
}

unsafe extern "C" fn on_gc(_isolate: *mut c_void, kind: c_int, _flags: c_int, _data: *mut c_void) {
    collecting::begin();
    current::with(|watcher| watcher.gc_begins(kind as u32));
}

unsafe extern "C" fn on_gc_completed(_isolate: *mut c_void, _kind: c_int, _flags: c_int, _data: *mut c_void) {
    current::with(|watcher| watcher.gc_ends());
    collecting::end();
}
