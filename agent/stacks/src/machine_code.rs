//! What instructions tell of frames: whether one is a call, what it calls, and how far a function's frame pointer is
//! from its stack pointer.

/// Bytes of a function's beginning that are enough for what sets up its frame.
pub(crate) const PROLOGUE_BYTES: u64 = 96;

/// Whom a call instruction calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// The function at this address.
    Address(u64),
    /// The function whose address is stored here.
    #[cfg_attr(target_arch = "aarch64", expect(dead_code, reason = "its calls go by registers"))]
    Stored(u64),
    /// Known only when it ran.
    Unknown,
}

/// Returns whom the call at the end of eight bytes of code calls; `None` where they do not end with a call. `address` is
/// that of the next instruction.
#[cfg(target_arch = "x86_64")]
pub(crate) fn callee(code: &[u8; 8], address: u64) -> Option<Callee> {
    // Of the byte after 0xff, bits 3 to 5 are 2 for a near call.
    let is_indirect = |at: usize| code[at] == 0xff && code[at + 1] & 0x38 == 0x10;
    let distance = i32::from_le_bytes([code[4], code[5], code[6], code[7]]);
    let place = address.wrapping_add_signed(i64::from(distance));
    // call rel32; call [rip + 32 bits]; call register; call [register + 8 bits]; call [register + 32 bits].
    if code[3] == 0xe8 {
        Some(Callee::Address(place))
    } else if code[2] == 0xff && code[3] == 0x15 {
        Some(Callee::Stored(place))
    } else if is_indirect(6) || is_indirect(5) || is_indirect(2) {
        Some(Callee::Unknown)
    } else {
        None
    }
}

/// Returns whom the call at the end of eight bytes of code calls; `None` where they do not end with a call. `address` is
/// that of the next instruction.
#[cfg(target_arch = "aarch64")]
pub(crate) fn callee(code: &[u8; 8], address: u64) -> Option<Callee> {
    let word = u32::from_le_bytes([code[4], code[5], code[6], code[7]]);
    if address % 4 != 0 {
        return None;
    }
    // bl: 26 bits of a signed distance in words.
    if word >> 26 == 0b100101 {
        let distance = i64::from((word << 6) as i32 >> 6) * 4;
        return Some(Callee::Address((address - 4).wrapping_add_signed(distance)));
    }
    // blr.
    (word & 0xffff_fc1f == 0xd63f_0000).then_some(Callee::Unknown)
}

/// Returns where the jumps lead that stand in code, and what only looks like one. `address` is the code's.
#[cfg(target_arch = "x86_64")]
pub(crate) fn jumps(code: &[u8], address: u64) -> impl Iterator<Item = Callee> {
    let words = code.windows(6).enumerate();
    words.filter_map(move |(index, bytes)| {
        let distance =
            |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let place = |length: usize, distance: i32| {
            address.wrapping_add((index + length) as u64).wrapping_add_signed(i64::from(distance))
        };
        match bytes {
            // jmp rel32; jmp [rip + 32 bits].
            [0xe9, ..] => Some(Callee::Address(place(5, distance(1)))),
            [0xff, 0x25, ..] => Some(Callee::Stored(place(6, distance(2)))),
            _ => None,
        }
    })
}

/// Returns where the jumps lead that stand in code; not those to an address in a register. `address` is the code's.
#[cfg(target_arch = "aarch64")]
pub(crate) fn jumps(code: &[u8], address: u64) -> impl Iterator<Item = Callee> {
    let words = code.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).enumerate();
    words.filter_map(move |(index, word)| match word >> 26 {
        // b: 26 bits of a signed distance in words.
        0b000101 => {
            let distance = i64::from((word << 6) as i32 >> 6) * 4;
            Some(Callee::Address(address.wrapping_add(index as u64 * 4).wrapping_add_signed(distance)))
        }
        // br, as stubs that lead to another module end with.
        _ if word & 0xffff_fc1f == 0xd61f_0000 => Some(Callee::Unknown),
        _ => None,
    })
}

/// Returns how many bytes the frame pointer is above the stack pointer, when a function's first instructions ran to the
/// end of `code`; `None` where they do not say. Wrong where arguments are on the stack, or where something else stands
/// between the instructions that set up the frame: so whoever uses it looks for a return address there.
///
/// # Source
/// Prologues as LLVM 21 and GCC 12 write them with frame pointers.
#[cfg(target_arch = "x86_64")]
pub(crate) fn frame_bytes(code: &[u8]) -> Option<u64> {
    // endbr64.
    let code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    // push rbp; mov rbp, rsp, in either of its two forms.
    let forms: [&[u8]; 2] = [&[0x55, 0x48, 0x89, 0xe5], &[0x55, 0x48, 0x8b, 0xec]];
    let mut rest = forms.into_iter().find_map(|form| code.strip_prefix(form))?;
    let mut bytes = 0;
    loop {
        let (length, more) = match rest {
            // push, of the older and of the newer registers.
            [0x50..=0x57, ..] => (1, 8),
            [0x41, 0x50..=0x57, ..] => (2, 8),
            // sub rsp, with 8 and with 32 bits.
            [0x48, 0x83, 0xec, count @ 0..=0x7f, ..] => (4, u64::from(*count)),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => (7, u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
            // mov qword [rsp], 0: a large frame's pages are touched one by one.
            [0x48, 0xc7, 0x04, 0x24, 0, 0, 0, 0, ..] => (8, 0),
            // and rsp: the distance depends on where the stack was.
            [0x48, 0x83 | 0x81, 0xe4, ..] => return None,
            _ => return Some(bytes),
        };
        bytes += more;
        rest = &rest[length..];
    }
}

/// Returns how many bytes the frame pointer is above the stack pointer, when a function's first instructions ran to the
/// end of `code`; `None` where they do not say. Wrong where something else stands between the instructions that set up the
/// frame: so whoever uses it looks for a return address there.
///
/// # Source
/// Prologues as LLVM 21 and GCC 12 write them with frame pointers.
#[cfg(target_arch = "aarch64")]
pub(crate) fn frame_bytes(code: &[u8]) -> Option<u64> {
    /// `add` and `sub` of a constant: 12 bits of it, and a bit that shifts it by as many.
    const CONSTANT: u32 = 0x007f_fc00;
    let constant = |word: u32| {
        let bits = u64::from(word >> 10 & 0xfff);
        if word >> 22 & 1 == 1 { bits << 12 } else { bits }
    };
    let mut words = code.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    // add x29, sp, constant, also written mov x29, sp.
    let set = words.find(|word| word & !CONSTANT == 0x9100_03fd)?;
    // sub sp, sp, constant.
    let lowered = words.take_while(|word| word & !CONSTANT == 0xd100_03ff).map(constant);
    Some(constant(set) + lowered.sum::<u64>())
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_other_instructions() {
        for (code, called) in [
            ([0x90, 0x90, 0x90, 0xe8, 1, 2, 0, 0], Some(Callee::Address(0x1201))),
            ([0x90, 0x90, 0x90, 0xe8, 0xff, 0xff, 0xff, 0xff], Some(Callee::Address(0xfff))),
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0], Some(Callee::Unknown)),
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x50, 0x18], Some(Callee::Unknown)),
            ([0x90, 0x90, 0xff, 0x15, 1, 2, 0, 0], Some(Callee::Stored(0x1201))),
            ([0x90, 0x90, 0x90, 0xe9, 1, 2, 3, 4], None),
            ([0x90; 8], None),
        ] {
            assert_eq!(callee(&code, 0x1000), called, "{code:x?}");
        }
    }

    #[test]
    fn a_prologue_tells_how_large_the_frame_is_as_far_as_it_ran() {
        // push rbp; mov rbp, rsp; push r15; push rbx; sub rsp, 0x128; mov rbx, rdi.
        let code =
            [0x55, 0x48, 0x89, 0xe5, 0x41, 0x57, 0x53, 0x48, 0x81, 0xec, 0x28, 1, 0, 0, 0x48, 0x89, 0xfb];
        for (ran, bytes) in [
            (0, None),
            (1, None),
            (4, Some(0)),
            (6, Some(8)),
            (7, Some(16)),
            (14, Some(16 + 0x128)),
            (17, Some(16 + 0x128)),
        ] {
            assert_eq!(frame_bytes(&code[..ran]), bytes, "{ran} bytes");
        }
        let touched = [
            &[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, 0, 0x10, 0, 0][..],
            &[0x48, 0xc7, 0x04, 0x24, 0, 0, 0, 0, 0x48, 0x83, 0xec, 0x10, 0xe8],
        ];
        assert_eq!(frame_bytes(&touched.concat()), Some(0x1010));
        assert_eq!(frame_bytes(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xe0]), None, "aligned");
    }
}

#[cfg(all(test, target_arch = "aarch64"))]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn calls_are_told_from_other_instructions() {
        for (word, called) in [
            // bl +0x10, bl -4, blr x8, b +0x10, nop.
            (0x9400_0004_u32, Some(Callee::Address(0x100c))),
            (0x97ff_ffff, Some(Callee::Address(0xff8))),
            (0xd63f_0100, Some(Callee::Unknown)),
            (0x1400_0004, None),
            (0xd503_201f, None),
        ] {
            let code: [u8; 8] = bytes(&[0xd503_201f, word]).try_into().unwrap();
            assert_eq!(callee(&code, 0x1000), called, "{word:x}");
            assert_eq!(callee(&code, 0x1002), None);
        }
    }

    #[test]
    fn a_prologue_tells_how_large_the_frame_is_as_far_as_it_ran() {
        // sub sp, sp, 0x60; stp x29, x30, [sp, 0x40]; add x29, sp, 0x40; mov x19, x0.
        let code = bytes(&[0xd101_83ff, 0xa904_7bfd, 0x9101_03fd, 0xaa00_03f3]);
        for (ran, expected) in [(0, None), (8, None), (12, Some(0x40)), (16, Some(0x40))] {
            assert_eq!(frame_bytes(&code[..ran]), expected, "{ran} bytes");
        }
        // stp x29, x30, [sp, -0x20]!; mov x29, sp; sub sp, sp, 0x1000; sub sp, sp, 0x10.
        let code = bytes(&[0xa9be_7bfd, 0x9100_03fd, 0xd140_07ff, 0xd100_43ff]);
        assert_eq!(frame_bytes(&code), Some(0x1010));
    }
}
