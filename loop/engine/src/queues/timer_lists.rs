//! The timers' order: one list per duration, the lists in a heap by expiry. Node's structure, whatever a timer does.
//!
//! All timers of one duration expire in the order they were started, so starting and clearing one is O(1): a link at
//! the end of its list, or out of it. Only lists are in the heap, by (expiry, id); an id is new each time the expiry
//! moves, so that of two lists with equal expiry the one armed first runs first. A list's expiry is a lower bound: it
//! is corrected when the list is looked at, not when its first timer is cleared.
//!
//! A program may have a million timers, and what they cost then is memory that is not in the cache. So a timer is one
//! node with all there is to it, 48 bytes in the loop's case, and the heap compares without looking at the lists. The
//! last node of a list links back to the one before it, which learns of it only when that is needed: a timer that is
//! started and cleared again touches its own node and its list, and no neighbour.
//!
//! # Source
//! `lib/internal/timers.js` of Node v20: `insert`, `listOnTimeout`, `PriorityQueue`.
use crate::key::Key;
use crate::queues::durations::Durations;
use slab::Slab;
use std::num::NonZeroU64;

const NIL: u32 = u32::MAX;

/// Children of a place in the heap: half as many levels as with two, and siblings lie side by side.
const ARITY: usize = 4;

/// The number of a timer's node in [`TimerLists`]; valid until the node is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

/// A list that may have been removed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListRef {
    slot: u32,
    birth: NonZeroU64,
}

#[derive(Debug)]
struct Node<T> {
    timer: T,
    /// When it was started; of one that is in no list, its duration.
    start_or_duration_ms: u64,
    list: u32,
    prev: u32,
    /// Holds before [`List::forward`]; of that one and the last, anything.
    next: u32,
    generation: u32,
}

/// 32 bytes, so that none lies on two lines of the cache.
#[derive(Debug)]
struct List {
    duration_ms: u64,
    birth: NonZeroU64,
    head: u32,
    tail: u32,
    /// The last node that can be reached forward from the head: the tail, or the one before it.
    forward: u32,
    heap_at: u32,
}

/// When a list expires. Ordered as the heap is: by expiry, and then by when that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expiry {
    at_ms: u64,
    id: u64,
    list: u32,
}

/// A timer as the pass sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Armed {
    pub(crate) node: NodeId,
    pub(crate) key: Key,
    pub(crate) start_ms: u64,
    pub(crate) duration_ms: u64,
}

/// The lists and the heap.
#[derive(Debug)]
pub(crate) struct TimerLists<T> {
    nodes: Slab<Node<T>>,
    lists: Slab<List>,
    by_duration: Durations,
    heap: Vec<Expiry>,
    id_next: NonZeroU64,
    generation: u32,
    linked: usize,
}

impl<T> TimerLists<T> {
    pub(crate) fn new() -> Self {
        let (nodes, lists, by_duration, heap) = (Slab::new(), Slab::new(), Durations::new(), Vec::new());
        TimerLists { nodes, lists, by_duration, heap, id_next: NonZeroU64::MIN, generation: 0, linked: 0 }
    }

    /// Makes a node, in no list yet.
    #[inline]
    pub(crate) fn add(&mut self, duration_ms: u64, timer: T) -> NodeId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let (list, prev, next) = (NIL, NIL, NIL);
        let node = Node { timer, start_or_duration_ms: duration_ms, list, prev, next, generation };
        NodeId(index(self.nodes.insert(node)))
    }

    /// Returns the key of a node.
    #[inline]
    pub(crate) fn key(&self, node: NodeId) -> Key {
        Key::of_timer(node.0, self.nodes[node.0 as usize].generation)
    }

    /// Returns the node of a key; `None` where it was removed, or the key is not a timer's.
    #[inline]
    pub(crate) fn find(&self, key: Key) -> Option<NodeId> {
        let (slot, generation) = key.timer()?;
        let node = self.nodes.get(slot as usize)?;
        (node.generation == generation).then_some(NodeId(slot))
    }

    #[inline]
    pub(crate) fn timer(&self, node: NodeId) -> &T {
        &self.nodes[node.0 as usize].timer
    }

    #[inline]
    pub(crate) fn timer_mut(&mut self, node: NodeId) -> &mut T {
        &mut self.nodes[node.0 as usize].timer
    }

    /// Removes a node for good, out of its list too.
    #[inline]
    pub(crate) fn remove(&mut self, node: NodeId) -> T {
        self.unlink(node);
        self.nodes.remove(node.0 as usize).timer
    }

    /// Removes a node as [`TimerLists::remove`] does, and the list of its duration where nothing is left in that.
    pub(crate) fn remove_with_list(&mut self, node: NodeId) -> T {
        let linked = self.unlink(node);
        let duration_ms = self.nodes[node.0 as usize].start_or_duration_ms;
        if let Some(slot) = linked.or_else(|| self.by_duration.get(duration_ms))
            && self.lists[slot as usize].head == NIL
        {
            self.remove_list(slot);
        }
        self.nodes.remove(node.0 as usize).timer
    }

    /// Returns how many timers are in lists.
    #[inline]
    pub(crate) fn armed_count(&self) -> usize {
        self.linked
    }

    pub(crate) fn is_linked(&self, node: NodeId) -> bool {
        self.nodes[node.0 as usize].list != NIL
    }

    /// Puts a node at the end of the list of its duration, as started at `start_ms`; out of where it was before.
    /// Returns the list's duration and expiry where the list had to be made.
    #[inline]
    pub(crate) fn link(&mut self, node: NodeId, start_ms: u64) -> Option<(u64, u64)> {
        let Node { list, start_or_duration_ms, .. } = self.nodes[node.0 as usize];
        if list != NIL {
            self.take_out(node);
            self.put_last(node, list, start_ms);
            return None;
        }
        let duration_ms = start_or_duration_ms;
        let (slot, made) = self.list_of(duration_ms, start_ms);
        self.put_last(node, slot, start_ms);
        self.linked += 1;
        made.map(|expiry_ms| (duration_ms, expiry_ms))
    }

    /// Takes a node out of its list, and returns that. The list stays, even empty.
    #[inline]
    pub(crate) fn unlink(&mut self, node: NodeId) -> Option<u32> {
        let list = self.nodes[node.0 as usize].list;
        if list == NIL {
            return None;
        }
        self.take_out(node);
        let unlinked = &mut self.nodes[node.0 as usize];
        unlinked.list = NIL;
        unlinked.start_or_duration_ms = self.lists[list as usize].duration_ms;
        self.linked -= 1;
        Some(list)
    }

    /// Joins the neighbours of a node that is in a list.
    #[inline]
    fn take_out(&mut self, node: NodeId) {
        let Node { list: slot, prev, .. } = self.nodes[node.0 as usize];
        let list = &mut self.lists[slot as usize];
        if list.tail == node.0 {
            // The one before it is not looked at: nobody goes on from the last.
            (list.tail, list.forward) = (prev, prev);
            if prev == NIL {
                list.head = NIL;
            }
            return;
        }
        if list.forward != list.tail {
            let before = std::mem::replace(&mut list.forward, list.tail);
            self.nodes[before as usize].next = list.tail;
        }
        let next = self.nodes[node.0 as usize].next;
        self.nodes[next as usize].prev = prev;
        match prev {
            NIL => self.lists[slot as usize].head = next,
            prev => self.nodes[prev as usize].next = next,
        }
    }

    /// Puts a node that is in no list at the end of one.
    #[inline]
    fn put_last(&mut self, node: NodeId, slot: u32, start_ms: u64) {
        let list = &mut self.lists[slot as usize];
        let tail = std::mem::replace(&mut list.tail, node.0);
        if tail == NIL {
            (list.head, list.forward) = (node.0, node.0);
        } else if list.forward != tail {
            let before = std::mem::replace(&mut list.forward, tail);
            self.nodes[before as usize].next = tail;
        }
        let linked = &mut self.nodes[node.0 as usize];
        (linked.list, linked.prev, linked.next) = (slot, tail, NIL);
        linked.start_or_duration_ms = start_ms;
    }

    /// Returns the list that expires first, with its expiry.
    pub(crate) fn first(&self) -> Option<(ListRef, u64)> {
        let Expiry { at_ms, list, .. } = *self.heap.first()?;
        Some((ListRef { slot: list, birth: self.lists[list as usize].birth }, at_ms))
    }

    /// Returns the first timer of a list; `None` where the list is empty or gone.
    #[inline]
    pub(crate) fn front(&self, list: ListRef) -> Option<Armed> {
        let List { head, duration_ms, .. } = *self.list(list)?;
        if head == NIL {
            return None;
        }
        let Node { generation, start_or_duration_ms: start_ms, .. } = self.nodes[head as usize];
        Some(Armed { node: NodeId(head), key: Key::of_timer(head, generation), start_ms, duration_ms })
    }

    /// Moves a list to a later expiry, behind all lists that have it already.
    pub(crate) fn postpone(&mut self, list: ListRef, expiry_ms: u64) {
        if let Some(List { heap_at, .. }) = self.list(list) {
            let at = *heap_at as usize;
            self.heap[at] = Expiry { at_ms: expiry_ms, id: self.take_id().get(), list: list.slot };
            self.sift_down(at);
        }
    }

    /// Removes an empty list; does nothing where it is gone.
    pub(crate) fn drop_list(&mut self, list: ListRef) {
        if self.list(list).is_some_and(|list| list.head == NIL) {
            self.remove_list(list.slot);
        }
    }

    #[inline]
    fn list(&self, list: ListRef) -> Option<&List> {
        self.lists.get(list.slot as usize).filter(|found| found.birth == list.birth)
    }

    /// Finds the list of a duration, or makes it; then also returns when it expires.
    #[inline]
    fn list_of(&mut self, duration_ms: u64, start_ms: u64) -> (u32, Option<u64>) {
        match self.by_duration.get(duration_ms) {
            Some(known) => (known, None),
            None => {
                let at_ms = start_ms.saturating_add(duration_ms);
                (self.make_list(duration_ms, at_ms), Some(at_ms))
            }
        }
    }

    /// Makes the list of a duration that has none.
    fn make_list(&mut self, duration_ms: u64, at_ms: u64) -> u32 {
        let (id, heap_at) = (self.take_id(), self.heap.len());
        let [head, tail, forward] = [NIL; 3];
        let list = List { duration_ms, birth: id, head, tail, forward, heap_at: index(heap_at) };
        let slot = index(self.lists.insert(list));
        self.by_duration.insert(duration_ms, slot);
        self.heap.push(Expiry { at_ms, id: id.get(), list: slot });
        self.sift_up(heap_at);
        slot
    }

    fn take_id(&mut self) -> NonZeroU64 {
        self.id_next = self.id_next.checked_add(1).expect("time ends before 2^64 lists were made");
        self.id_next
    }

    fn remove_list(&mut self, slot: u32) {
        let list = self.lists.remove(slot as usize);
        self.by_duration.remove(list.duration_ms);
        let last = self.heap.pop().expect("the heap holds at least the list that is removed");
        if last.list != slot {
            let heap_at = list.heap_at as usize;
            self.place(heap_at, last);
            self.sift_up(heap_at);
            self.sift_down(self.lists[last.list as usize].heap_at as usize);
        }
    }

    fn place(&mut self, at: usize, expiry: Expiry) {
        self.heap[at] = expiry;
        self.lists[expiry.list as usize].heap_at = index(at);
    }

    fn sift_up(&mut self, mut at: usize) {
        let moved = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            let above = self.heap[parent];
            if above <= moved {
                break;
            }
            self.place(at, above);
            at = parent;
        }
        self.place(at, moved);
    }

    fn sift_down(&mut self, mut at: usize) {
        let moved = self.heap[at];
        loop {
            let first = ARITY * at + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.heap[*child]) else { break };
            let below = self.heap[least];
            if moved <= below {
                break;
            }
            self.place(at, below);
            at = least;
        }
        self.place(at, moved);
    }
}

/// Converts a slab index, which memory bounds well below 2^30: 48 GB of timers.
fn index(slot: usize) -> u32 {
    u32::try_from(slot)
        .ok()
        .filter(|slot| *slot <= Key::TIMERS_MAX)
        .expect("memory ends before a thousand million timers")
}

#[cfg(test)]
#[path = "timer_lists_tests.rs"]
mod tests;
