//! Slots: where the handler leaves what it found. Made once, never freed, lent to one capturer at a time.
//!
//! ```text
//!   Free --ask--> Asked --handler--> Filling --handler--> Ready --take--> Free
//! ```
//!
//! The asking side owns a slot in `Free` and `Ready`, the target's handler in `Filling`. In `Asked` nobody does: a signal
//! is on its way, and may arrive as late as the thread unblocks it. So a slot is never asked again in `Asked`, and one
//! that was given back in that state is lent again only when it became `Ready`, or when its thread is gone: the kernel
//! drops what is queued at a thread that ends. In a forked child all slots are free: none of the threads is there that
//! were asked.

use crate::per_process::PerProcess;
use crate::registers::Registers;
use crate::sampler::{self, SAMPLER_WORDS};
use crate::target::{DoneWord, TAG_WORDS, TagSource, Target};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is copied of a stack, from its top. A stack of 209 frames took 33 kB; what is cut off is lost from the root.
pub(crate) const STACK_BYTES: usize = 128 * 1024;

/// More would make the handler's search of the table longer; a process has a few loops, each with two or three captures.
const SLOTS: usize = 64;

const FREE: u32 = 0;
const ASKED: u32 = 1;
const FILLING: u32 = 2;
const READY: u32 = 3;

/// In place of a count of words: no sampler was called.
const NOT_SAMPLED: usize = usize::MAX;

/// One slot. All but `state` is written by the owner that the state names, relaxed; the state's release store and acquire
/// load hand it over.
pub(crate) struct Slot {
    state: AtomicU32,
    // Whom, and what to copy: written by the asking side in `Free`, read by the handler.
    tid: AtomicU32,
    handle: AtomicUsize,
    done_word: AtomicPtr<AtomicU32>,
    done_kept_bits: AtomicU32,
    stack_begin: AtomicUsize,
    stack_end: AtomicUsize,
    tag_words: [AtomicPtr<AtomicU64>; TAG_WORDS],
    /// Whether the stack that the handler runs on has room for the process's sampler.
    may_sample: AtomicBool,
    // What was found: written by the handler in `Filling`, read by the asking side in `Ready`.
    at_ns: AtomicU64,
    handler_ns: AtomicU64,
    registers: [AtomicU64; 4],
    tags: [AtomicU64; TAG_WORDS],
    /// What the process's sampler wrote, and how many words; [`NOT_SAMPLED`] where it was not called.
    foreign: [AtomicU64; SAMPLER_WORDS],
    foreign_count: AtomicUsize,
    is_off_stack: AtomicBool,
    is_cut: AtomicBool,
    copied: AtomicUsize,
    stack: UnsafeCell<Box<[u8; STACK_BYTES]>>,
}

// SAFETY: everything is atomic but `stack`, whose owner the state names: see the two methods that touch it.
unsafe impl Sync for Slot {}

// SAFETY: the buffer is plain memory, and the tag pointers are only followed by the handler, see `set_target`.
unsafe impl Send for Slot {}

/// What the handler found.
pub(crate) struct Found {
    pub at_ns: u64,
    pub handler_ns: u64,
    pub registers: Registers,
    pub tags: Vec<u64>,
    pub foreign: Option<Vec<u64>>,
    pub is_off_stack: bool,
    pub is_cut: bool,
    pub stack: Vec<u8>,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            state: AtomicU32::new(FREE),
            tid: AtomicU32::new(0),
            handle: AtomicUsize::new(0),
            done_word: AtomicPtr::default(),
            done_kept_bits: AtomicU32::new(0),
            stack_begin: AtomicUsize::new(0),
            stack_end: AtomicUsize::new(0),
            tag_words: Default::default(),
            may_sample: AtomicBool::new(false),
            at_ns: AtomicU64::new(0),
            handler_ns: AtomicU64::new(0),
            registers: Default::default(),
            tags: Default::default(),
            foreign: [const { AtomicU64::new(0) }; SAMPLER_WORDS],
            foreign_count: AtomicUsize::new(NOT_SAMPLED),
            is_off_stack: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            copied: AtomicUsize::new(0),
            stack: UnsafeCell::new(touched()),
        }
    }

    /// Says what the next samples are of. Only for a slot in `Free`, so that no handler reads it meanwhile.
    fn set_target(&self, target: &Target, words: &[*const AtomicU64], done: Option<DoneWord>) {
        let stack = &target.stack;
        self.tid.store(target.tid, Ordering::Relaxed);
        self.handle.store(target.handle, Ordering::Relaxed);
        let done_word = done.map_or(std::ptr::null_mut(), |done| done.word.cast_mut());
        self.done_word.store(done_word, Ordering::Relaxed);
        self.done_kept_bits.store(done.map_or(0, |done| done.kept_bits), Ordering::Relaxed);
        self.stack_begin.store(stack.start, Ordering::Relaxed);
        self.stack_end.store(stack.end, Ordering::Relaxed);
        let words = words.iter().map(|word| word.cast_mut()).chain(std::iter::repeat(std::ptr::null_mut()));
        for (kept, word) in self.tag_words.iter().zip(words) {
            kept.store(word, Ordering::Relaxed);
        }
    }

    /// Says whether the stack that the handler will run on has room for the process's sampler. In any state.
    pub fn set_may_sample(&self, may_sample: bool) {
        self.may_sample.store(may_sample, Ordering::Relaxed);
    }

    /// `Free` or `Ready` to `Asked`; a sample nobody took is dropped. False when a signal is still on its way.
    pub fn try_ask(&self) -> bool {
        let is_ours = matches!(self.state.load(Ordering::Acquire), FREE | READY);
        if is_ours {
            self.state.store(ASKED, Ordering::Release);
        }
        is_ours
    }

    /// Back to `Free`, of a slot that is being lent: no handler fills it, or its thread is gone.
    pub fn unask(&self) {
        self.state.store(FREE, Ordering::Release);
    }

    /// `Asked` to `Free`: the signal was not sent, or is known to be lost. False where its handler has run, or runs.
    pub fn recall(&self) -> bool {
        self.state.compare_exchange(ASKED, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether a signal is on its way, or being handled.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.state.load(Ordering::Acquire), ASKED | FILLING)
    }

    /// Handler only. `Asked` of this thread to `Filling`; false when nothing was asked. The thread is told by both of its
    /// names: one that was given an ended thread's number has another handle, or the very stack that the bounds are of.
    pub fn try_fill(&self, tid: u32, handle: usize) -> bool {
        self.state.load(Ordering::Acquire) == ASKED
            && self.tid.load(Ordering::Relaxed) == tid
            && self.handle.load(Ordering::Relaxed) == handle
            && self.state.compare_exchange(ASKED, FILLING, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Handler only, in `Filling`. Returns the bounds that nothing is read outside of.
    pub fn stack_bounds(&self) -> Range<usize> {
        self.stack_begin.load(Ordering::Relaxed)..self.stack_end.load(Ordering::Relaxed)
    }

    /// Handler only, in `Filling`. Copies the tag words.
    pub fn copy_tags(&self) {
        for (word, tag) in self.tag_words.iter().zip(&self.tags) {
            let word = word.load(Ordering::Relaxed);
            if word.is_null() {
                break;
            }
            // SAFETY: the source promises that its words can be read while it lives, and it is kept alive by the capturer,
            // or by the list of spare slots, for as long as the slot may be filled.
            let word = unsafe { &*word };
            tag.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Handler only, in `Filling`. Lets the process's sampler look.
    pub fn sample_foreign(&self, registers: &Registers) {
        let may_sample = self.may_sample.load(Ordering::Relaxed);
        let count = if may_sample { sampler::sample(registers, &self.foreign) } else { None };
        self.foreign_count.store(count.unwrap_or(NOT_SAMPLED), Ordering::Relaxed);
    }

    /// Handler only, in `Filling`. Copies `bytes` bytes of the stack, at most [`STACK_BYTES`].
    ///
    /// # Safety
    /// `bytes` bytes from `from` on are mapped, and do not change meanwhile.
    #[inline]
    pub unsafe fn copy_stack(&self, from: *const u8, bytes: usize) {
        let bytes = bytes.min(STACK_BYTES);
        // SAFETY: in `Filling` the handler alone owns the buffer, and its one run owns it once (`try_fill`).
        let buffer: &mut [u8; STACK_BYTES] = unsafe { &mut *self.stack.get() };
        // SAFETY: the caller vouches for the source, `bytes` is at most the buffer's length, and the buffer lies on the
        // heap, not on the stack that is copied.
        unsafe { std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), bytes) };
        self.copied.store(bytes, Ordering::Relaxed);
    }

    /// Handler only, in `Filling`. There is no stack to copy.
    pub fn copy_no_stack(&self) {
        self.copied.store(0, Ordering::Relaxed);
    }

    /// Handler only, in `Filling`, and last but for [`finish`](Self::finish), after which the word may be gone: tells whoever
    /// waits for this handler that it has run. The thread itself, for which that matters, is in the handler until the end.
    pub fn tell_done(&self) {
        let word = self.done_word.load(Ordering::Relaxed);
        if word.is_null() {
            return;
        }
        // SAFETY: the source promises that its word can be used while it lives, and it is kept alive by the capturer, or by
        // the list of spare slots, for as long as the slot may be filled.
        let word = unsafe { &*word };
        word.fetch_and(self.done_kept_bits.load(Ordering::Relaxed), Ordering::AcqRel);
    }

    /// Handler only: the rest of what was found, and `Filling` to `Ready`.
    pub fn finish(
        &self,
        registers: Registers,
        at_ns: u64,
        handler_ns: u64,
        is_off_stack: bool,
        is_cut: bool,
    ) {
        let values = [registers.ip, registers.sp, registers.fp, registers.lr];
        for (kept, value) in self.registers.iter().zip(values) {
            kept.store(value, Ordering::Relaxed);
        }
        self.at_ns.store(at_ns, Ordering::Relaxed);
        self.handler_ns.store(handler_ns, Ordering::Relaxed);
        self.is_off_stack.store(is_off_stack, Ordering::Relaxed);
        self.is_cut.store(is_cut, Ordering::Relaxed);
        self.state.store(READY, Ordering::Release);
    }

    /// `Ready` to `Free`, with what was found; `None` in any other state.
    pub fn take(&self) -> Option<Found> {
        if self.state.load(Ordering::Acquire) != READY {
            return None;
        }
        let tags = self.tag_words.iter().zip(&self.tags);
        let tags = tags.take_while(|(word, _)| !word.load(Ordering::Relaxed).is_null());
        // SAFETY: in `Ready` the asking side alone owns the buffer; a slot is lent to one capturer, which is borrowed
        // mutably for this.
        let buffer: &[u8; STACK_BYTES] = unsafe { &*self.stack.get() };
        let [ip, sp, fp, lr] = [0, 1, 2, 3].map(|index: usize| self.registers[index].load(Ordering::Relaxed));
        let found = Found {
            at_ns: self.at_ns.load(Ordering::Relaxed),
            handler_ns: self.handler_ns.load(Ordering::Relaxed),
            registers: Registers { ip, sp, fp, lr },
            tags: tags.map(|(_, tag)| tag.load(Ordering::Relaxed)).collect(),
            foreign: self.foreign(),
            is_off_stack: self.is_off_stack.load(Ordering::Relaxed),
            is_cut: self.is_cut.load(Ordering::Relaxed),
            stack: buffer[..self.copied.load(Ordering::Relaxed).min(STACK_BYTES)].to_vec(),
        };
        self.state.store(FREE, Ordering::Release);
        Some(found)
    }

    /// In `Ready`: what the sampler wrote, `None` where it was not called.
    fn foreign(&self) -> Option<Vec<u64>> {
        let count = Some(self.foreign_count.load(Ordering::Relaxed)).filter(|count| *count != NOT_SAMPLED)?;
        Some(self.foreign.iter().take(count).map(|word| word.load(Ordering::Relaxed)).collect())
    }
}

/// A buffer that was written, not just reserved, so that the handler meets no page fault.
fn touched() -> Box<[u8; STACK_BYTES]> {
    let bytes = vec![1_u8; STACK_BYTES].into_boxed_slice();
    bytes.try_into().unwrap_or_else(|_| unreachable!("the vector has the array's length"))
}

/// The only pointers that the handler believes. Entries are set once, from the first on.
static TABLE: [AtomicPtr<Slot>; SLOTS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; SLOTS];

/// Slots that were given back; `None` before the first one of a process is lent.
static SPARE: PerProcess<Mutex<Option<Vec<Spare>>>> = PerProcess::new(|| Mutex::new(None));

fn spare() -> MutexGuard<'static, Option<Vec<Spare>>> {
    SPARE.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the spare slots of a process that has lent none yet: those that its parent made, whoever had them there.
fn inherited() -> Vec<Spare> {
    all()
        .map(|slot| {
            slot.unask();
            Spare { slot, tid: 0, tags: None }
        })
        .collect()
}

struct Spare {
    slot: &'static Slot,
    tid: u32,
    /// Kept alive while a signal may still make the handler read them, and no longer: they are a page of the caller's.
    tags: Option<Arc<dyn TagSource>>,
}

impl Spare {
    /// Whether no handler fills the slot any more.
    fn is_free(&self) -> bool {
        !self.slot.is_in_flight() || is_gone(self.tid)
    }
}

/// Takes the tags that no handler reads any more, to be dropped without the lock: that runs the caller's code.
#[must_use]
fn unread_tags(spare: &mut [Spare]) -> Vec<Arc<dyn TagSource>> {
    let unread = spare.iter_mut().filter(|spare| spare.tags.is_some() && spare.is_free());
    unread.filter_map(|spare| spare.tags.take()).collect()
}

/// Handler only. Returns the slot whose address a signal brought, `None` where it is not one of ours.
pub(crate) fn find(address: usize) -> Option<&'static Slot> {
    all().find(|slot| std::ptr::from_ref(*slot).addr() == address)
}

/// Handler only. Returns all slots.
pub(crate) fn all() -> impl Iterator<Item = &'static Slot> {
    let known = TABLE.iter().map(|entry| entry.load(Ordering::Acquire)).take_while(|slot| !slot.is_null());
    // SAFETY: the table holds only slots that were leaked, so they live for ever.
    known.map(|slot| unsafe { &*slot })
}

/// Lends a slot for captures of `target`; `None` when all are lent or in flight. `may_sample` tells whether the stack that the
/// handler will run on has room for the process's sampler.
pub(crate) fn lend(
    target: &Target,
    words: &[*const AtomicU64],
    done: Option<DoneWord>,
    may_sample: bool,
) -> Option<&'static Slot> {
    let mut locked = spare();
    let spare = locked.get_or_insert_with(inherited);
    let unread = unread_tags(spare);
    let slot = match spare.iter().position(Spare::is_free) {
        Some(index) => Some(spare.swap_remove(index).slot),
        // The lock makes this the only one that looks for an empty place.
        None => TABLE.iter().find(|entry| entry.load(Ordering::Relaxed).is_null()).map(|place| {
            let slot: &'static Slot = Box::leak(Box::new(Slot::new()));
            place.store((&raw const *slot).cast_mut(), Ordering::Release);
            slot
        }),
    };
    drop(locked);
    drop(unread);
    let slot = slot?;
    slot.unask();
    slot.set_target(target, words, done);
    slot.set_may_sample(may_sample);
    Some(slot)
}

/// Takes a slot back, in whatever state.
pub(crate) fn give_back(slot: &'static Slot, target: &Target) {
    let mut locked = spare();
    let spare = locked.get_or_insert_with(inherited);
    spare.push(Spare { slot, tid: target.tid, tags: target.tags.clone() });
    let unread = unread_tags(spare);
    drop(locked);
    drop(unread);
}

/// Whether a thread of this process has ended. An id that was given to a new thread counts as alive: that errs on the
/// safe side here.
pub(crate) fn is_gone(tid: u32) -> bool {
    !Path::new(&format!("/proc/self/task/{tid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_in_flight_is_not_asked_again_and_not_lent_again() {
        let target = Target::this_thread();
        let slot = lend(&target, &[], None, true).unwrap();
        assert!(slot.try_ask());
        assert!(!slot.try_ask(), "a signal is on its way");
        assert!(slot.take().is_none());
        give_back(slot, &target);
        let other = lend(&target, &[], None, true).unwrap();
        assert!(!std::ptr::eq(slot, other), "the signal may still arrive");
        // The signal arrives late.
        assert!(!slot.try_fill(target.tid + 1, target.handle), "another thread's");
        assert!(!slot.try_fill(target.tid, target.handle + 1), "of a thread that was given the number");
        assert!(slot.try_fill(target.tid, target.handle));
        assert!(!slot.try_fill(target.tid, target.handle), "the handler runs once");
        slot.copy_no_stack();
        slot.finish(Registers { ip: 1, sp: 2, fp: 3, lr: 4 }, 5, 6, true, false);
        assert!(slot.try_ask(), "what nobody took is dropped");
        slot.unask();
        give_back(other, &target);
    }

    struct Tags(AtomicU64);

    // SAFETY: the word is the source's own.
    unsafe impl TagSource for Tags {
        fn words(&self) -> Vec<*const AtomicU64> {
            vec![&raw const self.0]
        }
    }

    #[test]
    fn the_words_of_a_slot_that_was_given_back_are_kept_only_while_a_handler_may_read_them() {
        let words = Arc::new(Tags(AtomicU64::new(7)));
        let target = Target { tags: Some(words.clone()), ..Target::this_thread() };
        let lend = || lend(&target, &words.words(), None, true).unwrap();
        let held = Arc::strong_count(&words);
        give_back(lend(), &target);
        assert_eq!(Arc::strong_count(&words), held, "nothing is on its way");
        let slot = lend();
        assert!(slot.try_ask());
        give_back(slot, &target);
        let other = lend();
        assert_eq!(Arc::strong_count(&words), held + 1, "a signal is");
        assert!(slot.try_fill(target.tid, target.handle));
        slot.copy_tags();
        slot.copy_no_stack();
        slot.finish(Registers { ip: 1, sp: 2, fp: 3, lr: 4 }, 5, 6, true, false);
        give_back(other, &target);
        assert_eq!(Arc::strong_count(&words), held, "it has arrived");
    }

    #[test]
    fn the_handler_believes_only_known_addresses() {
        let slot = lend(&Target::this_thread(), &[], None, true).unwrap();
        let address = (&raw const *slot).addr();
        assert!(std::ptr::eq(find(address).unwrap(), slot));
        assert!(find(address + 8).is_none());
        assert!(find(0).is_none());
    }
}
