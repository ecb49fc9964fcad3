//! Where the frames of this thread stand on its stack: V8's code and Node's C++ lead from each to the one outside by its address.

use libc::c_void;
use std::ptr::null;

/// Frames that are followed.
const FRAMES: usize = 512;

/// Returns the addresses of the frames from `first` on, innermost first, on this thread's stack, which ends at `end`. Those of code
/// that does not keep the chain are not there, and it may end early.
pub(super) fn frame_pointers(first: *const c_void, end: usize) -> Vec<u64> {
    let here = null::<u64>();
    let mut last = (&raw const here).addr();
    let (mut frame, mut frames) = (first.addr(), Vec::new());
    // Both words of a frame are on the stack, and further out than the frame before.
    while frame > last && frame % 8 == 0 && frame.saturating_add(16) <= end && frames.len() < FRAMES {
        frames.push(frame as u64);
        last = frame;
        // SAFETY: the place is aligned, and between a variable of this function and the end of this thread's stack, all of which is
        // mapped, and changed by nobody while this runs.
        frame = unsafe { std::ptr::with_exposed_provenance::<usize>(frame).read() };
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_followed_outwards_and_not_beyond_the_stack() {
        // As frames that a function has on its stack: each has the address of the one outside.
        let mut words = [0usize; 8];
        let address = |words: &[usize; 8], index: usize| (&raw const words[index]).expose_provenance();
        for (index, outer) in [(0, 2), (2, 4), (4, 1)] {
            words[index] = address(&words, outer);
        }
        let frames = |words: &[usize; 8], end| {
            let first = std::ptr::without_provenance(address(words, 0));
            frame_pointers(first, address(words, end))
        };
        let expected = [0, 2, 4].map(|index| address(&words, index) as u64);
        assert_eq!(frames(&words, 7), expected, "the third leads inwards");
        assert_eq!(frames(&words, 4), expected[..2], "the stack ends");
        assert!(frame_pointers(null(), usize::MAX).is_empty());
    }
}
