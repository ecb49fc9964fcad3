//! Calling contexts with exact times: what a flamegraph of callbacks is drawn from.
//!
//! A path is a node of a tree: the loop, below it its phases, below them callback sites, below those the jobs that
//! were drained after the callback, and `tracing` spans that were entered inside it. Each node holds its own time
//! (without its children's) and its calls. Both only grow, so a flamegraph of any period is the difference of two
//! copies, exact and without a capture mode on the loop's thread.
//!
//! The tree is bounded: where it is full, further paths share one node per tree, "other".

use crate::limits::{DEPTH_MAX, count};
use crate::phase::Phase;
use crate::record::{frame_parent, frame_phase, frame_site};
use crate::shared_u64::{LoopOwned, SharedU64, WriteToken};
use crate::site::{SITES, SiteId};
use std::cell::Cell;

/// How many nodes a page has room for.
pub const PATHS: usize = 2048;

/// A node of the tree, by number. Phases have the numbers from 1 to [`Phase::COUNT`], each its own and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathId(pub u16);

impl PathId {
    /// The loop itself.
    pub const ROOT: PathId = PathId(0);
    /// The node that further paths share when the tree is full.
    pub const OTHER: PathId = PathId(Phase::COUNT as u16 + 1);

    /// Returns the node of a phase.
    #[inline(always)]
    pub fn of_phase(phase: Phase) -> PathId {
        PathId(phase.index() as u16 + 1)
    }

    fn index(self) -> usize {
        usize::from(self.0) & (PATHS - 1)
    }
}

const FIRST_FREE: u64 = PathId::OTHER.0 as u64 + 1;

/// One node: 40 bytes.
#[repr(C)]
#[derive(Debug, Default)]
pub struct PathWords {
    /// Parent in bits 0..16, site in 16..32.
    meta: SharedU64<LoopOwned>,
    calls: SharedU64<LoopOwned>,
    /// Own time in ticks.
    ticks: SharedU64<LoopOwned>,
    /// Longest single run of the even and of the odd epoch, as [`Epoch`] packs it.
    longest: [SharedU64<LoopOwned>; 2],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(PathWords, "path", meta, calls, ticks, longest);

/// How long an epoch is, in nanoseconds: a "recent maximum" is remembered for two.
pub const EPOCH_NS: u64 = 30_000_000_000;

/// A length of time within which maxima are kept; a "recent" maximum is that of this epoch and the one before.
///
/// A maximum and its epoch are one word, the epoch above. 20 bits of epochs of 30 s are 364 days: then their numbers
/// begin anew, so that one epoch is told from another and never compared with it. (A place where nothing ran for
/// exactly that long shows its old maximum for a minute.) 44 bits of ticks are 1.8 hours at 2.6 GHz, and longer runs
/// count as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    const TICKS_BITS: u32 = 44;
    const TICKS_MAX: u64 = (1 << Epoch::TICKS_BITS) - 1;
    const NUMBER_MAX: u64 = u64::MAX >> Epoch::TICKS_BITS;

    /// Returns the epoch with this number, of which there are 2^20.
    pub fn number(number: u64) -> Epoch {
        Epoch(number << Epoch::TICKS_BITS)
    }

    /// Raises one of a pair of maxima to `value`, forgetting what older epochs left in it.
    #[inline(always)]
    pub(crate) fn raise(self, pen: &WriteToken<LoopOwned>, pair: &[SharedU64<LoopOwned>; 2], value: u64) {
        let word = &pair[(self.0 >> Epoch::TICKS_BITS & 1) as usize];
        let (kept, value) = (word.get(), self.0 | value.min(Epoch::TICKS_MAX));
        // Replaces a smaller maximum of this epoch, and any of another: in one comparison, because the epochs of a
        // word are all even or all odd, so that only this one's own are less than an epoch below `kept`, or equal.
        let above = value.wrapping_sub(kept);
        if above.wrapping_sub(1) < !Epoch::TICKS_MAX {
            word.set(pen, value);
        }
    }

    /// Returns the maximum of this epoch and the one before; 0 where nothing was seen in them.
    pub(crate) fn recent(self, pair: &[SharedU64<LoopOwned>; 2]) -> u64 {
        let number = self.0 >> Epoch::TICKS_BITS;
        let age = |word: &u64| number.wrapping_sub(word >> Epoch::TICKS_BITS) & Epoch::NUMBER_MAX;
        let is_recent = |word: &u64| age(word) <= 1;
        pair.iter()
            .map(SharedU64::get)
            .filter(is_recent)
            .map(|word| word & Epoch::TICKS_MAX)
            .max()
            .unwrap_or(0)
    }
}

/// The tree in shared memory.
#[repr(C)]
#[derive(Debug)]
pub struct PathTable {
    length: SharedU64<LoopOwned>,
    overflow: SharedU64<LoopOwned>,
    nodes: [PathWords; PATHS],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(PathTable, "paths", length, overflow, nodes);

/// A copy of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// The node above; smaller than the node's own number. The root's is 0.
    pub parent: u16,
    /// The site; [`SiteId::NONE`] for the root and for phases.
    pub site: SiteId,
    /// Times it was entered.
    pub calls: u64,
    /// Own time in nanoseconds, children's excluded.
    pub self_ns: u64,
    /// Longest single run in nanoseconds within the present and the previous epoch of 30 s.
    pub longest_ns: u64,
}

impl PathTable {
    /// Bytes before the nodes.
    #[cfg(target_os = "linux")]
    pub(crate) const HEAD_BYTES: usize = std::mem::offset_of!(PathTable, nodes);

    /// Returns how many bytes of the table [`PathTable::read`] reads.
    #[cfg(target_os = "linux")]
    pub(crate) fn bytes_in_use(&self) -> usize {
        let in_use = (self.length.observe() as usize).min(PATHS);
        PathTable::HEAD_BYTES + in_use * size_of::<PathWords>()
    }

    /// Returns how many times a path was not found and the tree was full.
    pub fn overflow(&self) -> u64 {
        count(self.overflow.get())
    }

    /// Copies the nodes in use; the index is the node's number. A damaged parent reads as the root, and so does one that is
    /// [`DEPTH_MAX`] deep: the tree has no circle, and no long way to its root.
    pub fn read(&self, epoch: Epoch, to_ns: impl Fn(u64) -> u64) -> Vec<PathStat> {
        let length = (self.length.observe() as usize).min(PATHS);
        let mut depths = [0u8; PATHS];
        let read = |(number, node): (usize, &PathWords)| {
            let meta = node.meta.get();
            let is_sound = |parent: &usize| *parent < number && depths[*parent] < DEPTH_MAX;
            let parent = Some(usize::from(meta as u16)).filter(is_sound).unwrap_or(0);
            depths[number] = depths[parent] + 1;
            PathStat {
                parent: parent as u16,
                site: SiteId((meta >> 16) as u16),
                calls: count(node.calls.get()),
                self_ns: to_ns(node.ticks.get()),
                longest_ns: to_ns(epoch.recent(&node.longest)),
            }
        };
        self.nodes[..length].iter().enumerate().map(read).collect()
    }
}

const TABLE_SLOTS: usize = PATHS * 4;

/// A line of the cache.
const LATEST_FRAMES: usize = 4;

/// The writer's index over the tree: an open-addressed table from (parent, site) to node. Interior mutability,
/// because span layers and the loop share it on one thread.
#[derive(Debug)]
pub(crate) struct PathIndex {
    slots: Box<[Cell<u64>; TABLE_SLOTS]>,
    /// For each site, where it was found last: parent in bits 0..16, node in 16..32. A callback nearly always runs
    /// below the same parent, so this answers without the table.
    latest: Box<[Cell<u32>; SITES]>,
    /// Frames whose nodes were looked for last, and the nodes: those of a loop are often few.
    latest_frames: [Cell<(u64, PathId)>; LATEST_FRAMES],
    /// Nodes in use. Not asked of the page, which may be damaged: a search ends because the table never fills.
    length: Cell<u64>,
}

impl PathIndex {
    /// Writes the fixed nodes.
    pub(crate) fn new(pen: &WriteToken<LoopOwned>, table: &PathTable) -> Self {
        table.nodes[PathId::OTHER.index()].meta.set(pen, u64::from(SiteId::OTHER.0) << 16);
        table.length.publish(pen, FIRST_FREE);
        let slots = vec![Cell::new(0); TABLE_SLOTS].into_boxed_slice();
        let latest = vec![Cell::new(0); SITES].into_boxed_slice();
        PathIndex {
            slots: slots.try_into().expect("the slice was made with that length"),
            latest: latest.try_into().expect("the slice was made with that length"),
            latest_frames: Default::default(),
            length: Cell::new(FIRST_FREE),
        }
    }

    /// Finds the node of a frame: word 0 of a recorder entry, without its flag for spans.
    #[inline(always)]
    pub(crate) fn path_of_frame(&self, pen: &WriteToken<LoopOwned>, table: &PathTable, frame: u64) -> PathId {
        self.path(pen, table, frame_phase(frame), frame_parent(frame), frame_site(frame))
    }

    /// [`path_of_frame`](Self::path_of_frame) where it is often one of a few frames.
    #[inline(always)]
    pub(crate) fn path_again(&self, pen: &WriteToken<LoopOwned>, table: &PathTable, frame: u64) -> PathId {
        let place = frame.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let latest = &self.latest_frames[place as usize % LATEST_FRAMES];
        let (known, path) = latest.get();
        if known == frame { path } else { self.note_frame(pen, table, frame, latest) }
    }

    #[inline(never)]
    fn note_frame(
        &self,
        pen: &WriteToken<LoopOwned>,
        table: &PathTable,
        frame: u64,
        latest: &Cell<(u64, PathId)>,
    ) -> PathId {
        let path = self.path_of_frame(pen, table, frame);
        latest.set((frame, path));
        path
    }

    /// Finds the node of a callback, or of a job drained after the callback at `parent`.
    #[inline(always)]
    pub(crate) fn path(
        &self,
        pen: &WriteToken<LoopOwned>,
        table: &PathTable,
        phase: Phase,
        parent: SiteId,
        site: SiteId,
    ) -> PathId {
        let mut above = PathId::of_phase(phase);
        if parent != SiteId::NONE {
            above = self.child(pen, table, above, parent);
        }
        self.child(pen, table, above, site)
    }

    /// Finds the node of `site` below `parent`, or makes it. Usually one load and one comparison.
    #[inline(always)]
    pub(crate) fn child(
        &self,
        pen: &WriteToken<LoopOwned>,
        table: &PathTable,
        parent: PathId,
        site: SiteId,
    ) -> PathId {
        let latest = &self.latest[usize::from(site.0) & (SITES - 1)];
        let found = latest.get();
        // Node numbers are never 0, so a fresh entry matches no parent.
        if found as u16 == parent.0 && found >> 16 != 0 {
            return PathId((found >> 16) as u16);
        }
        let path = self.search(pen, table, parent, site);
        latest.set(u32::from(parent.0) | u32::from(path.0) << 16);
        path
    }

    /// One multiplication and usually one probe.
    fn search(&self, pen: &WriteToken<LoopOwned>, table: &PathTable, parent: PathId, site: SiteId) -> PathId {
        let key = u64::from(parent.0) | u64::from(site.0) << 16;
        let mut at = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51) as usize & (TABLE_SLOTS - 1);
        loop {
            // A slot holds the key below, and the node above bit 32; node numbers are never 0, so 0 is free.
            let slot = self.slots[at].get();
            if slot as u32 == key as u32 && slot != 0 {
                return PathId((slot >> 32) as u16);
            }
            if slot == 0 {
                return self.insert(pen, table, key, at);
            }
            at = (at + 1) & (TABLE_SLOTS - 1);
        }
    }

    #[cold]
    fn insert(&self, pen: &WriteToken<LoopOwned>, table: &PathTable, key: u64, at: usize) -> PathId {
        let length = self.length.get();
        if length >= PATHS as u64 {
            table.overflow.add(pen, 1);
            return PathId::OTHER;
        }
        table.nodes[length as usize].meta.set(pen, key);
        self.length.set(length + 1);
        table.length.publish(pen, length + 1);
        self.slots[at].set(key | length << 32);
        PathId(length as u16)
    }
}

impl PathTable {
    /// Adds calls, own time, and the longest whole run of them to the node.
    #[inline(always)]
    pub(crate) fn add_calls(
        &self,
        pen: &WriteToken<LoopOwned>,
        path: PathId,
        calls: u64,
        own_ticks: u64,
        longest: u64,
        epoch: Epoch,
    ) {
        let node = &self.nodes[path.index()];
        node.calls.add(pen, calls);
        node.ticks.add(pen, own_ticks);
        epoch.raise(pen, &node.longest, longest);
    }

    /// Counts one entry of a span's node.
    pub(crate) fn enter(&self, pen: &WriteToken<LoopOwned>, path: PathId) {
        self.nodes[path.index()].calls.add(pen, 1);
    }

    /// Adds own time to the node.
    pub(crate) fn charge(&self, pen: &WriteToken<LoopOwned>, path: PathId, ticks: u64) {
        self.nodes[path.index()].ticks.add(pen, ticks);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn table() -> Box<PathTable> {
        let nodes = std::array::from_fn(|_| PathWords::default());
        Box::new(PathTable { length: SharedU64::default(), overflow: SharedU64::default(), nodes })
    }

    #[test]
    fn a_path_is_found_again_and_its_time_is_its_own() {
        let (table, pen) = (table(), WriteToken::mint());
        let index = PathIndex::new(&pen, &table);
        let callback = index.child(&pen, &table, PathId::of_phase(Phase::POLL), SiteId(3));
        let span = index.child(&pen, &table, callback, SiteId(4));
        assert_eq!(index.child(&pen, &table, PathId::of_phase(Phase::POLL), SiteId(3)), callback);
        table.enter(&pen, callback);
        table.charge(&pen, callback, 10);
        table.charge(&pen, span, 90);
        let stats = table.read(Epoch::number(0), |ticks| ticks);
        assert_eq!((stats[usize::from(callback.0)].self_ns, stats[usize::from(callback.0)].calls), (10, 1));
        assert_eq!(stats[usize::from(span.0)].parent, callback.0);
        assert_eq!(stats[usize::from(callback.0)].parent, PathId::of_phase(Phase::POLL).0);
    }

    // Not under Miri, as the next one.
    #[cfg(not(miri))]
    #[test]
    fn a_tree_of_a_hostile_page_has_no_circle_and_no_long_chain() {
        let (table, pen) = (table(), WriteToken::mint());
        table.length.publish(&pen, u64::MAX);
        for (number, node) in table.nodes.iter().enumerate() {
            let parent = if number % 7 == 3 { number + 1 } else { number.saturating_sub(1) };
            node.meta.set(&pen, parent as u64);
            node.calls.set(&pen, u64::MAX);
        }
        for (number, node) in table.nodes.iter().enumerate().skip(1_000) {
            node.meta.set(&pen, number as u64 - 1);
        }
        let stats = table.read(Epoch::number(0), |ticks| ticks);
        assert_eq!((stats.len(), stats[5].calls), (PATHS, crate::limits::COUNT_MAX));
        for (number, stat) in stats.iter().enumerate().skip(1) {
            let above = |at: &usize| Some(usize::from(stats[*at].parent)).filter(|above| above < at);
            assert!(usize::from(stat.parent) < number);
            let depth = std::iter::successors(Some(number), above).take_while(|at| *at != 0).count();
            assert!(depth <= usize::from(DEPTH_MAX), "{number} is {depth} deep");
        }
    }

    // Not under Miri, which checks all ten thousand words of the tree again at each of four thousand calls.
    #[cfg(not(miri))]
    #[test]
    fn a_full_tree_shares_one_node_and_counts() {
        let (table, pen) = (table(), WriteToken::mint());
        let index = PathIndex::new(&pen, &table);
        let all = || {
            Phase::STANDARD.into_iter().flat_map(|phase| (1..500u16).map(move |site| (phase, SiteId(site))))
        };
        for (phase, site) in all() {
            index.child(&pen, &table, PathId::of_phase(phase), site);
        }
        let room = PATHS as u64 - FIRST_FREE;
        assert_eq!(table.overflow(), all().count() as u64 - room);
        assert_eq!(index.child(&pen, &table, PathId::of_phase(Phase::CLOSE), SiteId(499)), PathId::OTHER);
        let first = PathId(FIRST_FREE as u16);
        assert_eq!(index.child(&pen, &table, PathId::of_phase(Phase::MAIN), SiteId(1)), first);
    }

    #[test]
    fn the_longest_run_is_forgotten_after_two_epochs() {
        let (pair, pen) = (<[SharedU64<LoopOwned>; 2]>::default(), WriteToken::mint());
        Epoch::number(7).raise(&pen, &pair, 500);
        Epoch::number(7).raise(&pen, &pair, 90);
        assert_eq!(Epoch::number(7).recent(&pair), 500);
        Epoch::number(8).raise(&pen, &pair, 90);
        assert_eq!(Epoch::number(8).recent(&pair), 500);
        Epoch::number(9).raise(&pen, &pair, 80);
        assert_eq!(Epoch::number(9).recent(&pair), 90);
        assert_eq!(Epoch::number(20).recent(&pair), 0);
        Epoch::number(20).raise(&pen, &pair, u64::MAX);
        assert_eq!(Epoch::number(20).recent(&pair), (1 << 44) - 1);
    }

    #[test]
    fn maxima_are_kept_when_the_numbers_of_epochs_begin_anew() {
        let (pair, pen) = (<[SharedU64<LoopOwned>; 2]>::default(), WriteToken::mint());
        for number in (1 << 20) - 3..(1 << 20) + 3 {
            Epoch::number(number).raise(&pen, &pair, number);
            Epoch::number(number).raise(&pen, &pair, 1);
            assert_eq!(Epoch::number(number).recent(&pair), number);
            assert_eq!(Epoch::number(number + 1).recent(&pair), number);
            assert_eq!(Epoch::number(number + 7).recent(&pair), 0);
        }
    }
}
