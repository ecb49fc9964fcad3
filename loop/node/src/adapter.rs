//! One loop of Node that is watched: what is hooked in it, and what each event does beside what the page is told.

use crate::ablation::Ablation;
use crate::counts;
use crate::entries::{Entries, Runtime};
use crate::gc::{Collections, GcKind};
use crate::heap::{self, HeapGauges};
use crate::log;
use crate::poll_metrics::{CheckedGrowth, CheckedWord};
use crate::pool::waits::PoolWaits;
use crate::recording::Recording;
use crate::sys::{
    AsyncIdPlace, EntryWatcher, Event, Handles, HookCounts, Isolate, MetricsPlace, MicrotaskCount, Running,
    TraceEvent, TraceSink, UvLoop, Watcher,
};
use loopscope_probe::Site;
use loopscope_probe::gauges::{GaugeId, GaugeType, GaugeUnit};
use loopscope_probe::spans::SpanGuard;
use loopscope_probe::{ExpectedBlock, GaugeWriter, Kind, Snapshot, Ticks, Writer};
use std::path::PathBuf;

/// Asks libuv and Node.
// In this order: what every entry asks comes first, and what every turn asks next.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct NodeRuntime {
    /// Where the id is read, once it is sure that it is there.
    known_id: Option<AsyncIdPlace>,
    idle: CheckedWord,
    events: CheckedWord,
    place: MetricsPlace,
    has_events: bool,
    uv_loop: UvLoop,
    isolate: Isolate,
    id: CheckedWord,
    id_place: Option<AsyncIdPlace>,
    microtasks: CheckedGrowth,
    microtask_count: Option<MicrotaskCount>,
}

impl NodeRuntime {
    fn new(uv_loop: UvLoop, isolate: Isolate) -> NodeRuntime {
        let (place, has_events) = (uv_loop.metrics_place(), uv_loop.events().is_some());
        let (idle, events, id) = <(CheckedWord, CheckedWord, CheckedWord)>::default();
        let (id_place, microtask_count) = (AsyncIdPlace::find(&isolate), MicrotaskCount::find(&isolate));
        let microtasks = CheckedGrowth::default();
        NodeRuntime {
            uv_loop,
            isolate,
            place,
            has_events,
            idle,
            events,
            known_id: None,
            id_place,
            id,
            microtasks,
            microtask_count,
        }
    }

    /// Asks Node's function for the id, and compares it with what is in memory.
    #[cold]
    #[inline(never)]
    fn asked_id(&mut self) -> Option<u64> {
        let id = self.isolate.async_id()?;
        if let Some(place) = &self.id_place {
            self.id.read(|| place.read(), || id);
            self.known_id = self.id_place.filter(|_| self.id.is_sure());
        }
        Some(id)
    }

    /// Has captures say which job runs.
    #[cold]
    fn publish_jobs(&self) {
        self.microtask_count.iter().for_each(MicrotaskCount::publish);
        self.id_place.iter().for_each(AsyncIdPlace::publish);
    }
}

impl Runtime for NodeRuntime {
    #[inline]
    fn idle_ns(&mut self) -> u64 {
        let (place, uv_loop) = (&self.place, &self.uv_loop);
        self.idle.read(|| place.idle_ns(), || uv_loop.idle_ns())
    }

    #[inline]
    fn events(&mut self) -> Option<u64> {
        let (place, uv_loop) = (&self.place, &self.uv_loop);
        let function = || uv_loop.events().unwrap_or(0);
        self.has_events.then(|| self.events.read(|| place.events(), function))
    }

    #[inline]
    fn async_id(&mut self) -> Option<u64> {
        match &self.known_id {
            Some(place) => Some(place.read()),
            None => self.asked_id(),
        }
    }

    #[inline]
    fn drain_begins(&mut self) {
        if !self.microtasks.is_settled()
            && let Some(count) = &self.microtask_count
        {
            self.microtasks.begins(count.read());
        }
    }

    #[inline]
    fn drain_ended(&mut self, count: u64) {
        if !self.microtasks.is_settled()
            && let Some(place) = &self.microtask_count
            && self.microtasks.ended(place.read(), count)
        {
            self.publish_jobs();
        }
    }

    #[inline]
    fn time_ms(&mut self) -> u64 {
        self.uv_loop.time_ms()
    }

    fn read_in_place(&self) -> usize {
        [self.id, self.idle, self.events].iter().filter(|word| word.is_sure()).count()
    }

    fn time_age_ns(&mut self) -> Option<u64> {
        Some(self.uv_loop.time_age_ns())
    }
}

/// What is hooked, so that it can be unhooked.
#[derive(Clone, Copy, Debug, Default)]
struct Hooked {
    entries: bool,
    gc: bool,
    trace: Option<&'static TraceSink>,
}

/// Parts of a loop that an adapter watches.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) uv_loop: UvLoop,
    pub(crate) isolate: Isolate,
    pub(crate) writer: Writer,
    pub(crate) trace: Option<&'static TraceSink>,
    /// The limit of the heap as `v8.getHeapStatistics()` tells it.
    pub(crate) heap_limit: u64,
    /// Names and versions of what it is made of: `node 24.1.0`.
    pub(crate) versions: Vec<String>,
    /// Where to write down what was told, for whoever wants to look at it.
    pub(crate) record_to: Option<PathBuf>,
    /// The loop has turned before, and what runs is not its main script.
    pub(crate) is_attached: bool,
    /// Where jobs of ours tell of the pool.
    pub(crate) pool_waits: Option<PoolWaits>,
    /// The loop is the main thread's.
    pub(crate) is_main: bool,
}

/// One loop that is watched.
// In this order: what every entry needs comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Adapter {
    entries: Entries<NodeRuntime>,
    hooked: Hooked,
    isolate: Isolate,
    uv_loop: UvLoop,
    handles: Handles,
    gauges: Option<GaugeWriter>,
    collections: Option<Collections>,
    heap: Option<HeapGauges>,
    /// Active hooks of `async_hooks`, and where they are told.
    hooks: Option<(HookCounts, GaugeId)>,
    pool_waits: Option<PoolWaits>,
    record_to: Option<PathBuf>,
    /// Lets pauses be frames; given back before the writer goes.
    installed: Option<SpanGuard>,
    /// Blocks that the program has announced, the innermost last.
    expected: Vec<ExpectedBlock>,
    /// The loop is the main thread's.
    is_main: bool,
    is_paused: bool,
    left_out: Ablation,
}

impl Adapter {
    /// Begins to watch the loop of this thread, inside its main script. What cannot be hooked is said, and left out.
    pub(crate) fn start(parts: Parts) -> Adapter {
        let Parts { uv_loop, isolate, mut writer, trace, heap_limit, versions, .. } = parts;
        let Parts { record_to, is_attached, pool_waits, is_main, .. } = parts;
        let mut gauges = writer.take_gauges();
        if let Some(gauges) = &mut gauges {
            tell_versions(gauges, &versions);
        }
        let collections = gauges.as_mut().map(|gauges| Collections::new(&mut writer, gauges));
        let heap = match isolate.heap().map_err(|missing| missing.to_string()) {
            Ok(figures) => heap::check(&figures, heap_limit),
            Err(why) => Err(why),
        };
        let heap = match heap {
            Ok(()) => gauges.as_mut().map(HeapGauges::new),
            Err(why) => {
                log::off("heap statistics", &why);
                None
            }
        };
        let installed = writer.install_spans();
        let recording = record_to.as_ref().map(|_| Recording::new(writer.clock().now()));
        let runtime = NodeRuntime::new(uv_loop, isolate);
        let mut entries = Entries::begin(writer, runtime, trace.is_some(), recording);
        if is_attached {
            entries.attached();
        }
        let hooked = Hooked { trace, ..Hooked::default() };
        let mut adapter = Adapter {
            entries,
            uv_loop,
            isolate,
            handles: Handles::start(uv_loop),
            hooked,
            gauges,
            collections,
            heap,
            hooks: None,
            pool_waits,
            record_to,
            installed: Some(installed),
            expected: Vec::new(),
            is_main,
            is_paused: false,
            left_out: Ablation::default(),
        };
        if let Some(why) = &adapter.handles.no_check_end {
            log::off("telling closing callbacks from immediates", &why.to_string());
        }
        adapter.hook();
        // The main script may run for long, and what is not known yet is told as 0.
        adapter.before_poll();
        adapter
    }

    fn hook(&mut self) {
        self.hooked.entries = !self.left_out.entries && self.isolate.hook_entries::<Adapter>().is_ok();
        if !self.left_out.checkpoints && self.can_hook_checkpoints() {
            self.entries.checkpoint_hook.enable();
        }
        self.hooked.gc = !self.left_out.gc
            && match self.isolate.hook_gc() {
                Ok(()) => true,
                Err(why) => {
                    log::off("garbage collection pauses", &why.to_string());
                    false
                }
            };
    }

    fn can_hook_checkpoints(&mut self) -> bool {
        match self.isolate.can_hook_checkpoints::<Adapter>() {
            Ok(()) => {
                self.entries.tells_checkpoints();
                true
            }
            Err(why) => {
                log::off("timers and immediates apart from each other", &why.to_string());
                false
            }
        }
    }

    fn unhook(&mut self) {
        if std::mem::take(&mut self.hooked.entries) {
            self.isolate.unhook_entries::<Adapter>();
        }
        if self.entries.checkpoint_hook.disable() {
            self.change_checkpoints();
        }
        if std::mem::take(&mut self.hooked.gc) {
            self.isolate.unhook_gc();
        }
    }

    /// Hooks V8's checkpoints where they part what runs, or takes the hook away: see `checkpoint_hook`.
    #[inline]
    fn follow_checkpoints(&mut self) {
        if self.entries.checkpoint_hook.is_to_change(self.entries.needs_checkpoints()) {
            self.change_checkpoints();
        }
    }

    #[inline(never)]
    fn change_checkpoints(&mut self) {
        match self.entries.checkpoint_hook.change() {
            true => self.isolate.hook_checkpoints::<Adapter>(),
            false => self.isolate.unhook_checkpoints::<Adapter>(),
        }
    }

    /// Tells what the loop is about to wait with. Before its poll and not after it, because a loop may wait for hours.
    fn before_poll(&mut self) {
        let pool_jobs = self.entries.pool_jobs();
        let writer = self.entries.writer();
        let (referenced, requests) = self.uv_loop.counts();
        writer.gauges(referenced, requests, 0);
        let now = writer.last();
        if let Some(waits) = &mut self.pool_waits {
            waits.look(now, pool_jobs, requests, &self.uv_loop);
        }
        if self.heap.as_ref().is_some_and(|heap| heap.are_due(now)) {
            self.look_at_heap(now);
        }
    }

    /// Sets our bits again where a trace of the program's has cleared them. In the check phase Node's own events of it are not
    /// needed where its end is told, and Node has had no immediates of its own; workers leave them as they are.
    #[inline]
    fn listen_in_check(&mut self, sink: &TraceSink) {
        let listened = self.left_out.listened;
        match self.tells_check_end() && !self.entries.listens_to_natives() {
            true if sink.check_begins(listened) => self.entries.tell(Event::Immediates),
            true => {}
            false => sink.arm(listened),
        }
    }

    #[inline]
    fn tells_check_end(&self) -> bool {
        self.is_main && self.handles.no_check_end.is_none()
    }

    #[cold]
    fn look_at_heap(&mut self, now: Ticks) {
        if let (Some(heap), Some(gauges), Ok(figures)) =
            (&mut self.heap, &mut self.gauges, self.isolate.heap())
        {
            heap.set(gauges, now, &figures);
        }
        self.look_at_hooks();
    }

    fn look_at_hooks(&mut self) {
        if let (Some((counts, gauge)), Some(gauges)) = (&self.hooks, &mut self.gauges) {
            gauges.set(*gauge, counts.active());
        }
    }
}

fn tell_versions(gauges: &mut GaugeWriter, versions: &[String]) {
    for version in versions {
        if let Some(gauge) = gauges.add("version", version, GaugeType::Gauge, GaugeUnit::Count) {
            gauges.set(gauge, 1);
        }
    }
}

impl Watcher for Adapter {
    fn tell(&mut self, event: Event) -> bool {
        match event {
            // Told to the entries' watcher.
            Event::EntryBegins | Event::EntryEnds | Event::Trace(_) | Event::Checkpoint => {
                return self.entries.is_in_entry();
            }
            Event::PollBegins => self.before_poll(),
            _ => {}
        }
        self.entries.tell(event);
        self.follow_checkpoints();
        match (event, self.hooked.trace) {
            (Event::CheckBegins, Some(sink)) => self.listen_in_check(sink),
            (Event::CheckEnds, Some(sink)) if self.is_main => sink.check_ends(self.left_out.listened),
            _ => {}
        }
        self.entries.is_in_entry()
    }

    fn gc_begins(&mut self, kind: u32) {
        if let Some(collections) = &mut self.collections {
            collections.begins(GcKind::of_bits(kind), self.entries.clock());
        }
    }

    fn gc_ends(&mut self) {
        if let (Some(collections), Some(gauges)) = (&mut self.collections, &mut self.gauges) {
            collections.ends(gauges);
        }
    }

    fn label(&mut self, name: &str) -> bool {
        self.entries.label(name)
    }

    fn main_is_module(&mut self) {
        self.entries.main_is_module();
    }

    fn running(&self) -> Running {
        match (self.entries.is_in_ticks(), self.entries.is_in_callback()) {
            (true, _) => Running::Ticks,
            (_, true) => Running::Callback,
            _ => Running::Other,
        }
    }

    fn part_what_blocks(&mut self) {
        self.entries.part_what_blocks();
    }

    fn set_hook_counts(&mut self, counts: HookCounts) {
        let gauges = self.gauges.as_mut();
        let gauge =
            gauges.and_then(|gauges| gauges.add("operation_hooks", "", GaugeType::Gauge, GaugeUnit::Count));
        self.hooks = gauge.map(|gauge| (counts, gauge));
        self.look_at_hooks();
    }

    fn code_was_mapped(&mut self, ns: u64) {
        // Only who has made one has this number.
        if let Some(gauges) = &mut self.gauges
            && let Some(gauge) = gauges.add("code_map", "", GaugeType::Gauge, GaugeUnit::Nanoseconds)
        {
            gauges.set(gauge, ns);
        }
    }

    fn threw(&mut self) {
        self.entries.threw();
    }

    fn counts(&mut self) -> String {
        counts::counts(&mut self.entries)
    }

    fn snapshot(&mut self) -> Box<Snapshot> {
        let writer = &*self.entries.writer();
        Box::new(writer.page().snapshot(writer.clock()))
    }

    fn expect(&mut self, reason: &str) {
        let (name, file, line, column) = (reason.to_owned(), String::new(), 0, 0);
        let writer = self.entries.writer();
        let site = writer.foreign_site(Site { kind: Kind::Span, name, file, line, column });
        let expected = writer.expect_block(site);
        self.expected.push(expected);
    }

    fn expected(&mut self) {
        self.expected.pop();
    }

    fn busy_since(&self) -> Ticks {
        self.entries.busy_since()
    }

    fn set_paused(&mut self, is_paused: bool, left_out: &str) {
        if is_paused == self.is_paused {
            return;
        }
        self.is_paused = is_paused;
        if is_paused {
            self.handles.stop();
            self.unhook();
            self.hooked.trace.inspect(|sink| sink.disarm());
            return self.entries.pause();
        }
        self.left_out = Ablation::parse(left_out);
        if !self.left_out.handles {
            self.handles.run();
        }
        let listened = self.left_out.listened;
        self.hooked.trace.inspect(|sink| sink.arm(listened));
        self.entries.resume();
        self.hook();
    }

    fn end(mut self: Box<Self>) {
        self.unhook();
        self.hooked.trace.inspect(|sink| sink.release());
        let recording = self.entries.take_recording();
        if let (Some(path), Some(recording)) = (&self.record_to, recording)
            && let Err(error) = std::fs::write(path, recording.to_string())
        {
            log::line(&format!("cannot write {}: {error}", path.display()));
        }
        self.expected.clear();
        self.installed = None;
        drop(self.entries.end());
    }
}

// Each is called in one place only, and a part of that.
impl EntryWatcher for Adapter {
    #[inline(always)]
    fn entry_begins(&mut self) -> bool {
        self.entries.tell(Event::EntryBegins);
        if self.entries.checkpoint_hook.is_missing(self.entries.needs_checkpoints()) {
            self.change_checkpoints();
        }
        self.entries.is_in_entry()
    }

    #[inline(always)]
    fn entry_ends(&mut self) -> bool {
        self.entries.tell(Event::EntryEnds);
        if self.entries.checkpoint_hook.is_to_go() {
            self.change_checkpoints();
        }
        self.entries.is_in_entry()
    }

    #[inline(always)]
    fn trace(&mut self, event: &TraceEvent) -> bool {
        self.entries.tell(Event::Trace(*event));
        self.entries.is_in_entry()
    }

    #[inline(always)]
    fn checkpoint(&mut self) -> bool {
        let is_in_ticks = self.entries.is_in_ticks();
        self.entries.checkpoint_hook.came(self.entries.needs_checkpoints(), is_in_ticks);
        self.entries.tell(Event::Checkpoint);
        self.follow_checkpoints();
        self.entries.is_in_entry()
    }
}
