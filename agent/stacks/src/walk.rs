//! Walking a copy of a stack from frame to frame, by the modules' unwind tables.
//!
//! framehop does not say which of its answers rest on what: without a table it follows the frame pointer, and a frame
//! pointer of zero ends the walk like a thread's first function does. A [`Chain`] keeps these apart.

use crate::modules::{self, Module};
use crate::registers::Registers;
use crate::unwinder::Unwinder;
use framehop::{FrameAddress, Unwinder as _};

/// A stack deeper than this ends here: nobody reads more.
pub(crate) const FRAMES: usize = 1024;

/// Stands for a register that is not known. No address of a program, so a walk that needs it ends; odd, so no return
/// address either, also without the bits that aarch64 signs.
const UNKNOWN: u64 = 0xffff_8000_0000_0001;

/// Registers as framehop takes them, on either processor.
pub(crate) type Regs = framehop::UnwindRegsNative;

/// The bytes of a stack, from the stack pointer on.
pub(crate) struct Copied<'a> {
    pub sp: u64,
    pub bytes: &'a [u8],
    /// Whether the stack went on.
    pub is_cut: bool,
}

impl Copied<'_> {
    /// Returns the word at an address.
    pub fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.sp)?).ok()?;
        let word = self.bytes.get(offset..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*word))
    }
}

/// How a walk ended. The later, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// It could not go on, or left all modules, or came to a zero in a function that the tables do not call a thread's
    /// first.
    Broken,
    /// In code without tables, where the first function of a thread may be, as with musl's C library.
    Tableless,
    /// The tables say that the last function has no caller: it is a thread's first.
    Root,
}

/// A frame whose caller the tables do not lead to: none covers it, or it holds its return address in a register that is
/// not known.
#[derive(Clone, Copy)]
pub(crate) struct Gap {
    /// Which frame of the chain.
    pub index: usize,
    /// The registers in it.
    pub regs: Regs,
}

/// The frames that one walk found.
#[derive(Clone)]
pub(crate) struct Chain {
    /// Leaf first; never empty.
    pub addresses: Vec<u64>,
    /// The frame pointer in each frame; 0 where it is not known.
    pub frame_pointers: Vec<u64>,
    pub end: End,
    /// It ended at a frame pointer or a return address of zero.
    pub is_at_zero: bool,
    /// The registers in the last frame.
    pub last: Regs,
    /// The first frame without a table.
    pub gap: Option<Gap>,
    /// Some frame was searched for.
    pub is_searched: bool,
}

impl Chain {
    fn new(regs: Regs) -> Chain {
        Chain {
            addresses: Vec::new(),
            frame_pointers: Vec::new(),
            end: End::Broken,
            is_at_zero: false,
            last: regs,
            gap: None,
            is_searched: false,
        }
    }

    /// Whether it ended at a thread's first function, as far as that can be known.
    pub fn is_complete(&self) -> bool {
        match self.end {
            End::Root => true,
            End::Tableless => self.is_at_zero,
            // A search meets zeros by chance.
            End::Broken => self.is_at_zero && !self.is_searched,
        }
    }

    /// Whether the walk needs the frame pointer in its last frame, by that one's table, and does not have it.
    pub fn lacks_frame_pointer(&self) -> bool {
        self.end == End::Broken && self.gap.is_none() && is_unknown_frame_pointer(&self.last)
    }

    /// Puts another chain in the place of the frames from `index` on.
    pub fn join(&mut self, index: usize, tail: Chain) {
        self.addresses.truncate(index);
        self.addresses.extend(tail.addresses);
        self.frame_pointers.truncate(index);
        self.frame_pointers.extend(tail.frame_pointers);
        let tails = tail.gap.map(|gap| Gap { index: gap.index + index, ..gap });
        self.gap = self.gap.filter(|gap| gap.index < index).or(tails);
        (self.end, self.is_at_zero, self.last) = (tail.end, tail.is_at_zero, tail.last);
        self.is_searched |= tail.is_searched;
    }
}

impl Unwinder {
    /// Walks from a frame to its callers as far as tables, and frame pointers where there are none, lead.
    pub(crate) fn walk(&mut self, from: FrameAddress, mut regs: Regs, copied: &Copied<'_>) -> Chain {
        let mut read = |address: u64| copied.word(address).ok_or(());
        let mut chain = Chain::new(regs);
        let (mut at, mut covered) = (from, false);
        loop {
            chain.last = regs;
            match self.is_covered(at.address_for_lookup()) {
                true => covered = true,
                false => {
                    chain.gap = chain.gap.or(Some(Gap { index: chain.addresses.len(), regs }));
                }
            }
            chain.addresses.push(at.address());
            let is_known = !is_unknown_frame_pointer(&regs);
            chain.frame_pointers.push(if is_known { frame_pointer(&regs) } else { 0 });
            if chain.addresses.len() >= FRAMES {
                break;
            }
            let next = self.engine.unwind_frame(at, &mut regs, &mut self.cache, &mut read);
            self.steps += 1;
            match next {
                Ok(None) => {
                    chain.is_at_zero = true;
                    break;
                }
                Ok(Some(_)) if is_unknown_return(&regs) => {
                    // No better than without a table: its caller is searched for.
                    chain.gap =
                        chain.gap.or(Some(Gap { index: chain.addresses.len() - 1, regs: chain.last }));
                    break;
                }
                Ok(Some(address)) => {
                    let Some(next) = FrameAddress::from_return_address(address) else { break };
                    at = next;
                }
                Err(_) => break,
            }
        }
        chain.end = self.end(at, chain.last);
        // A chain of frame pointers can end in a zero by chance: without any table that is no root.
        chain.is_at_zero &= covered;
        chain
    }

    /// Tells where a walk ended. Where the tables say that a function has no caller, it ends without reading anything.
    fn end(&mut self, at: FrameAddress, regs: Regs) -> End {
        let address = at.address_for_lookup();
        if !self.is_covered(address) {
            return if self.module_with_code(address).is_some() { End::Tableless } else { End::Broken };
        }
        let mut regs = with_frame_pointer(regs, UNKNOWN);
        let end = self.engine.unwind_frame(at, &mut regs, &mut self.cache, &mut |_| Err(()));
        if end == Ok(None) { End::Root } else { End::Broken }
    }

    /// Whether the tables cover an address.
    pub(crate) fn is_covered(&mut self, address: u64) -> bool {
        self.function_begin(address).is_some()
    }

    /// Returns where the function that an address lies in begins, by the tables.
    pub(crate) fn function_begin(&mut self, address: u64) -> Option<u64> {
        let modules = &self.modules;
        let look = || modules::find(modules, address)?.function_begin(address);
        *self.begins.entry(address).or_insert_with(look)
    }

    /// Returns the module that has code at an address.
    pub(crate) fn module_with_code(&self, address: u64) -> Option<&Module> {
        modules::find(&self.modules, address).filter(|module| module.has_code(address))
    }
}

/// Returns the registers of a sample that has all of them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn known(registers: &Registers) -> Regs {
    Regs::new(registers.ip, registers.sp, registers.fp)
}

/// Returns the registers of a sample that has all of them.
#[cfg(target_arch = "aarch64")]
pub(crate) fn known(registers: &Registers) -> Regs {
    // Signed return addresses carry their signature above bit 47, the highest of a program's addresses.
    let mask = framehop::aarch64::PtrAuthMask(u64::MAX >> 16);
    Regs::new_with_ptr_auth_mask(mask, registers.lr, registers.sp, registers.fp)
}

/// Returns the registers of a sample that has the stack pointer and the place only.
pub(crate) fn partly_known(registers: &Registers) -> Regs {
    known(&Registers { fp: UNKNOWN, lr: UNKNOWN, ..*registers })
}

/// Returns the registers of the caller of code without tables, which is known by its return address and by where that
/// stands. `is_kept`: the code has not changed the frame pointer. Where it has, or the frame pointer was not known, it may
/// have stored that below the return address, as on aarch64 it does.
pub(crate) fn of_caller(mut regs: Regs, place: u64, copied: &Copied<'_>, is_kept: bool) -> Regs {
    let return_address = copied.word(place).unwrap_or(0);
    regs.set_sp(place + 8);
    #[cfg(target_arch = "x86_64")]
    regs.set_ip(return_address);
    #[cfg(target_arch = "aarch64")]
    regs.set_lr(return_address);
    if is_kept {
        return regs;
    }
    let stored = copied.word(place.wrapping_sub(8)).filter(|stored| *stored > place);
    let stored = stored.filter(|_| cfg!(target_arch = "aarch64"));
    with_frame_pointer(regs, stored.unwrap_or(UNKNOWN))
}

/// Returns a return address as it stands on the stack, without its signature.
pub(crate) fn unsigned(word: u64) -> u64 {
    if cfg!(target_arch = "aarch64") { word & u64::MAX >> 16 } else { word }
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn with_frame_pointer(mut regs: Regs, frame_pointer: u64) -> Regs {
    regs.set_bp(frame_pointer);
    regs
}

#[cfg(target_arch = "aarch64")]
pub(crate) fn with_frame_pointer(mut regs: Regs, frame_pointer: u64) -> Regs {
    regs.set_fp(frame_pointer);
    regs
}

pub(crate) fn is_unknown_frame_pointer(regs: &Regs) -> bool {
    frame_pointer(regs) == UNKNOWN
}

fn frame_pointer(regs: &Regs) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return regs.bp();
    #[cfg(target_arch = "aarch64")]
    return regs.fp();
}

/// Whether the last step took its return address from the link register, which is not known.
fn is_unknown_return(regs: &Regs) -> bool {
    #[cfg(target_arch = "aarch64")]
    return regs.lr() == unsigned(UNKNOWN);
    #[cfg(target_arch = "x86_64")]
    return {
        let _ = regs;
        false
    };
}
