//! The timers' order: one list per duration, the lists in a heap by expiry. Node's structure, without callbacks.
//!
//! All timers of one duration expire in the order they were started, so starting and clearing one is O(1): a link at
//! the end of its list, or out of it. Only lists are in the heap, by (expiry, id); an id is new each time the expiry
//! moves, so that of two lists with equal expiry the one armed first runs first. A list's expiry is a lower bound: it
//! is corrected when the list is looked at, not when its first timer is cleared.
//!
//! # Source
//! `lib/internal/timers.js` of Node v20: `insert`, `listOnTimeout`, `PriorityQueue`.

use crate::key::Key;
use slab::Slab;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const NIL: u32 = u32::MAX;

/// The number of a timer's node in [`TimerLists`]; valid until the node is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

/// A list that may have been removed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListRef {
    slot: u32,
    birth: u64,
}

#[derive(Debug)]
struct Node {
    key: Key,
    duration_ms: u64,
    start_ms: u64,
    list: u32,
    prev: u32,
    next: u32,
}

#[derive(Debug)]
struct List {
    duration_ms: u64,
    expiry_ms: u64,
    id: u64,
    birth: u64,
    head: u32,
    tail: u32,
    heap_at: usize,
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
#[derive(Debug, Default)]
pub(crate) struct TimerLists {
    nodes: Slab<Node>,
    lists: Slab<List>,
    by_duration: HashMap<u64, u32, BuildHasherDefault<DurationHasher>>,
    heap: Vec<u32>,
    id_next: u64,
    linked: usize,
}

impl TimerLists {
    /// Makes a node, in no list yet. Its key comes with [`TimerLists::set_key`].
    pub(crate) fn add(&mut self, duration_ms: u64) -> NodeId {
        let node = Node { key: Key::NOBODY, duration_ms, start_ms: 0, list: NIL, prev: NIL, next: NIL };
        NodeId(index(self.nodes.insert(node)))
    }

    pub(crate) fn set_key(&mut self, node: NodeId, key: Key) {
        self.nodes[node.0 as usize].key = key;
    }

    /// Removes a node for good, out of its list too.
    pub(crate) fn remove(&mut self, node: NodeId) {
        self.unlink(node);
        self.nodes.remove(node.0 as usize);
    }

    /// Returns how many timers are in lists.
    pub(crate) fn armed_count(&self) -> usize {
        self.linked
    }

    pub(crate) fn is_linked(&self, node: NodeId) -> bool {
        self.nodes[node.0 as usize].list != NIL
    }

    pub(crate) fn duration_ms(&self, node: NodeId) -> u64 {
        self.nodes[node.0 as usize].duration_ms
    }

    /// Puts a node at the end of the list of its duration, as started at `start_ms`; out of where it was before.
    /// Returns the expiry of the list where that had to be made.
    pub(crate) fn link(&mut self, node: NodeId, start_ms: u64) -> Option<u64> {
        let duration_ms = self.nodes[node.0 as usize].duration_ms;
        let (slot, expiry_of_new) = match self.by_duration.get(&duration_ms) {
            Some(slot) => (*slot, None),
            None => {
                let expiry_ms = start_ms.saturating_add(duration_ms);
                (self.make_list(duration_ms, expiry_ms), Some(expiry_ms))
            }
        };
        self.unlink(node);
        let list = &mut self.lists[slot as usize];
        let tail = std::mem::replace(&mut list.tail, node.0);
        match tail {
            NIL => list.head = node.0,
            tail => self.nodes[tail as usize].next = node.0,
        }
        let linked = &mut self.nodes[node.0 as usize];
        (linked.start_ms, linked.list, linked.prev, linked.next) = (start_ms, slot, tail, NIL);
        self.linked += 1;
        expiry_of_new
    }

    /// Takes a node out of its list. The list stays, even empty: see [`TimerLists::drop_list_if_empty`].
    pub(crate) fn unlink(&mut self, node: NodeId) {
        let Node { list, prev, next, .. } = self.nodes[node.0 as usize];
        if list == NIL {
            return;
        }
        match prev {
            NIL => self.lists[list as usize].head = next,
            prev => self.nodes[prev as usize].next = next,
        }
        match next {
            NIL => self.lists[list as usize].tail = prev,
            next => self.nodes[next as usize].prev = prev,
        }
        let unlinked = &mut self.nodes[node.0 as usize];
        (unlinked.list, unlinked.prev, unlinked.next) = (NIL, NIL, NIL);
        self.linked -= 1;
    }

    /// Returns the list that expires first, with its expiry.
    pub(crate) fn first(&self) -> Option<(ListRef, u64)> {
        let slot = *self.heap.first()?;
        let list = &self.lists[slot as usize];
        Some((ListRef { slot, birth: list.birth }, list.expiry_ms))
    }

    /// Returns the first timer of a list; `None` where the list is empty or gone.
    pub(crate) fn front(&self, list: ListRef) -> Option<Armed> {
        let head = self.list(list)?.head;
        if head == NIL {
            return None;
        }
        let Node { key, start_ms, duration_ms, .. } = self.nodes[head as usize];
        Some(Armed { node: NodeId(head), key, start_ms, duration_ms })
    }

    /// Moves a list to a later expiry, behind all lists that have it already.
    pub(crate) fn postpone(&mut self, list: ListRef, expiry_ms: u64) {
        if self.list(list).is_none() {
            return;
        }
        let id = self.take_id();
        let moved = &mut self.lists[list.slot as usize];
        (moved.expiry_ms, moved.id) = (expiry_ms, id);
        let at = moved.heap_at;
        self.sift_down(at);
    }

    /// Removes an empty list; does nothing where it is gone.
    pub(crate) fn drop_list(&mut self, list: ListRef) {
        if self.list(list).is_some_and(|list| list.head == NIL) {
            self.remove_list(list.slot);
        }
    }

    /// Removes the list of a duration if no timer is in it.
    pub(crate) fn drop_list_if_empty(&mut self, duration_ms: u64) {
        if let Some(slot) = self.by_duration.get(&duration_ms).copied()
            && self.lists[slot as usize].head == NIL
        {
            self.remove_list(slot);
        }
    }

    fn list(&self, list: ListRef) -> Option<&List> {
        self.lists.get(list.slot as usize).filter(|found| found.birth == list.birth)
    }

    fn take_id(&mut self) -> u64 {
        self.id_next += 1;
        self.id_next
    }

    fn make_list(&mut self, duration_ms: u64, expiry_ms: u64) -> u32 {
        let id = self.take_id();
        let heap_at = self.heap.len();
        let list = List { duration_ms, expiry_ms, id, birth: id, head: NIL, tail: NIL, heap_at };
        let slot = index(self.lists.insert(list));
        self.by_duration.insert(duration_ms, slot);
        self.heap.push(slot);
        self.sift_up(heap_at);
        slot
    }

    fn remove_list(&mut self, slot: u32) {
        let list = self.lists.remove(slot as usize);
        self.by_duration.remove(&list.duration_ms);
        let last = self.heap.pop().expect("the heap holds at least the list that is removed");
        if last != slot {
            self.place(list.heap_at, last);
            self.sift_up(list.heap_at);
            self.sift_down(self.lists[last as usize].heap_at);
        }
    }

    fn rank(&self, slot: u32) -> (u64, u64) {
        let list = &self.lists[slot as usize];
        (list.expiry_ms, list.id)
    }

    fn place(&mut self, at: usize, slot: u32) {
        self.heap[at] = slot;
        self.lists[slot as usize].heap_at = at;
    }

    fn sift_up(&mut self, mut at: usize) {
        let slot = self.heap[at];
        let rank = self.rank(slot);
        while at > 0 {
            let parent = (at - 1) / 2;
            let above = self.heap[parent];
            if self.rank(above) <= rank {
                break;
            }
            self.place(at, above);
            at = parent;
        }
        self.place(at, slot);
    }

    fn sift_down(&mut self, mut at: usize) {
        let slot = self.heap[at];
        let rank = self.rank(slot);
        loop {
            let left = 2 * at + 1;
            let children = left..(left + 2).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.rank(self.heap[*child])) else { break };
            let below = self.heap[least];
            if rank <= self.rank(below) {
                break;
            }
            self.place(at, below);
            at = least;
        }
        self.place(at, slot);
    }
}

/// Converts a slab index, which memory bounds well below 2^32.
fn index(slot: usize) -> u32 {
    u32::try_from(slot).expect("memory ends before four thousand million timers")
}

/// Hashes one `u64` by a multiplication: durations come from the program, not from its clients.
#[derive(Debug, Default)]
struct DurationHasher(u64);

impl Hasher for DurationHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
#[path = "timer_lists_tests.rs"]
mod tests;
