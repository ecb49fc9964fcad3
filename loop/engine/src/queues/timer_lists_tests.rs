//! The timer lists against a plain model: a list of all timers that is searched and sorted anew each time.

use crate::queues::timer_lists::{ListRef, NodeId, TimerLists};
use proptest::prelude::*;

/// What Node's structure is, without links, slots or a heap.
#[derive(Default)]
struct Model {
    lists: Vec<ModelList>,
    id_next: u64,
}

struct ModelList {
    duration_ms: u64,
    expiry_ms: u64,
    id: u64,
    timers: Vec<(usize, u64)>,
}

impl Model {
    fn take_id(&mut self) -> u64 {
        self.id_next += 1;
        self.id_next
    }

    fn link(&mut self, timer: usize, duration_ms: u64, start_ms: u64) -> Option<u64> {
        let is_new = !self.lists.iter().any(|list| list.duration_ms == duration_ms);
        if is_new {
            let (id, expiry_ms) = (self.take_id(), start_ms + duration_ms);
            self.lists.push(ModelList { duration_ms, expiry_ms, id, timers: Vec::new() });
        }
        self.unlink(timer);
        let list = self.lists.iter_mut().find(|list| list.duration_ms == duration_ms).unwrap();
        list.timers.push((timer, start_ms));
        is_new.then_some(start_ms + duration_ms)
    }

    fn unlink(&mut self, timer: usize) {
        for list in &mut self.lists {
            list.timers.retain(|(other, _)| *other != timer);
        }
    }

    fn drop_if_empty(&mut self, duration_ms: u64) {
        self.lists.retain(|list| list.duration_ms != duration_ms || !list.timers.is_empty());
    }

    fn first(&mut self) -> Option<&mut ModelList> {
        self.lists.iter_mut().min_by_key(|list| (list.expiry_ms, list.id))
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// Starts a timer, or starts it anew.
    Link {
        timer: usize,
        at_ms: u64,
    },
    Unlink {
        timer: usize,
    },
    /// Clears a timer, and makes another in its place.
    Clear {
        timer: usize,
    },
    /// What a pass does to the first list: runs the first timer, or moves the list to a later expiry.
    Pass {
        now_ms: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let timer = 0..30_usize;
    prop_oneof![
        4 => (timer.clone(), 0..50_u64).prop_map(|(timer, at_ms)| Act::Link { timer, at_ms }),
        1 => timer.clone().prop_map(|timer| Act::Unlink { timer }),
        1 => timer.prop_map(|timer| Act::Clear { timer }),
        3 => (0..80_u64).prop_map(|now_ms| Act::Pass { now_ms }),
    ]
}

/// Five durations for thirty timers, one of them so long that no pass reaches it.
fn duration_ms(timer: usize) -> u64 {
    [1, 2, 10, 33, 200_000][timer % 5]
}

fn pass(lists: &mut TimerLists<usize>, first: ListRef, nodes: &[NodeId], model: &mut Model, now_ms: u64) {
    let id_next = model.id_next + 1;
    let expected = model.first().unwrap();
    let Some((timer, start_ms)) = expected.timers.first().copied() else {
        let duration_ms = expected.duration_ms;
        assert_eq!(lists.front(first), None);
        lists.drop_list(first);
        return model.drop_if_empty(duration_ms);
    };
    let armed = lists.front(first).unwrap();
    assert_eq!((armed.node, armed.start_ms, armed.duration_ms), (nodes[timer], start_ms, duration_ms(timer)));
    if start_ms + armed.duration_ms <= now_ms {
        lists.unlink(armed.node);
        model.unlink(timer);
    } else {
        // Time never goes back: an expiry only grows.
        let expiry_ms = (start_ms + armed.duration_ms).max(now_ms + 1).max(expected.expiry_ms);
        (expected.expiry_ms, expected.id) = (expiry_ms, id_next);
        model.id_next = id_next;
        lists.postpone(first, expiry_ms);
    }
}

proptest! {
    #[test]
    fn lists_and_heap_agree_with_the_plain_model(acts in prop::collection::vec(act(), 1..200)) {
        let (mut lists, mut model) = (TimerLists::new(), Model::default());
        let mut nodes: Vec<_> = (0..30).map(|timer| lists.add(duration_ms(timer), timer)).collect();
        for act in acts {
            match act {
                Act::Link { timer, at_ms } => {
                    let made = model.link(timer, duration_ms(timer), at_ms);
                    let made = made.map(|expiry_ms| (duration_ms(timer), expiry_ms));
                    prop_assert_eq!(lists.link(nodes[timer], at_ms), made);
                }
                Act::Unlink { timer } => {
                    lists.unlink(nodes[timer]);
                    model.unlink(timer);
                }
                Act::Clear { timer } => {
                    let key = lists.key(nodes[timer]);
                    prop_assert_eq!(lists.remove_with_list(nodes[timer]), timer);
                    prop_assert_eq!(lists.find(key), None);
                    nodes[timer] = lists.add(duration_ms(timer), timer);
                    model.unlink(timer);
                    model.drop_if_empty(duration_ms(timer));
                }
                Act::Pass { now_ms } => {
                    if let Some((first, _)) = lists.first() {
                        pass(&mut lists, first, &nodes, &mut model, now_ms);
                    }
                }
            }
            let linked: usize = model.lists.iter().map(|list| list.timers.len()).sum();
            prop_assert_eq!(lists.armed_count(), linked);
            let first = lists.first().map(|(_, expiry_ms)| expiry_ms);
            prop_assert_eq!(first, model.first().map(|list| list.expiry_ms));
            let front = lists.first().and_then(|(list, _)| lists.front(list)).map(|armed| armed.node);
            let expected = model.first().and_then(|list| list.timers.first()).map(|(timer, _)| nodes[*timer]);
            prop_assert_eq!(front, expected);
        }
    }
}

#[test]
fn a_list_that_was_made_again_is_not_the_one_that_was_removed() {
    let mut lists = TimerLists::new();
    let node = lists.add(5, "first");
    assert_eq!(lists.link(node, 0), Some((5, 5)));
    let (removed, _) = lists.first().unwrap();
    assert_eq!(lists.remove_with_list(node), "first");
    let node = lists.add(5, "second");
    assert_eq!(lists.link(node, 1), Some((5, 6)));
    assert_eq!(lists.front(removed), None, "the pass over the removed list ends");
    lists.postpone(removed, 100);
    assert_eq!(lists.first().map(|(_, expiry_ms)| expiry_ms), Some(6));
}
