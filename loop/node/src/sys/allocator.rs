//! Memory of this addon: large pieces are the kernel's own, and go back to it when they are freed.
//!
//! The C library of a program that has freed something large keeps what is freed later: its limits grow with that. Node frees
//! large pieces all the time, so what symbols of a program of 120 MB took, for one stack, would stay. Trimming the C library's
//! memory instead would stop threads of the program that allocate meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;

/// What has so many bytes is large.
const LARGE: usize = 128 << 10;
/// Pages of the kernel begin at multiples of this, or of more.
const PAGE: usize = 4096;

struct LargeByKernel;

#[global_allocator]
static ALLOCATOR: LargeByKernel = LargeByKernel;

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// Returns zeroed pages; null where the kernel has none.
fn map(bytes: usize) -> *mut u8 {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: it makes a new mapping, and touches none that is there.
    let pages = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
    if pages == libc::MAP_FAILED { null_mut() } else { pages.cast() }
}

// SAFETY: a layout decides alone whether a piece is the kernel's or the C library's, so each is freed where it was made; both
// give memory of the size and alignment that was asked for.
unsafe impl GlobalAlloc for LargeByKernel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: `map` made these pages, of this size, and the caller has no more use for them.
            unsafe { libc::munmap(pointer.cast(), layout.size()) };
            return;
        }
        // SAFETY: the caller's duties are the same; it was `System` that made it.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller gives a size that is valid with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        match (is_large(layout), is_large(new)) {
            (false, false) => {
                // SAFETY: the caller's duties are the same; it was `System` that made it.
                unsafe { System.realloc(pointer, layout, bytes) }
            }
            (true, true) => {
                // SAFETY: as in `dealloc`; where the pages are moved, nobody uses the old place any more.
                let moved =
                    unsafe { libc::mremap(pointer.cast(), layout.size(), bytes, libc::MREMAP_MAYMOVE) };
                if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() }
            }
            _ => {
                // SAFETY: the size is not 0: one of the two is large, and the caller gives no other for the new one.
                let copy = unsafe { self.alloc(new) };
                if !copy.is_null() {
                    let common = layout.size().min(bytes);
                    // SAFETY: both have so many bytes, and the new one was made just now.
                    unsafe { copy.copy_from_nonoverlapping(pointer, common) };
                    // SAFETY: the caller gave it up.
                    unsafe { self.dealloc(pointer, layout) };
                }
                copy
            }
        }
    }
}

#[cfg(test)]
mod tests {
    /// Bytes of this process that are in memory, by the kernel's figures.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * super::PAGE
    }

    #[test]
    fn what_is_large_goes_back_when_it_is_freed_and_keeps_its_content_when_it_grows() {
        const PIECES: usize = 64;
        let before = resident();
        let pieces: Vec<Vec<u8>> = (0..PIECES).map(|number| vec![number as u8 + 1; 1 << 20]).collect();
        // What comes after keeps the C library from giving back its top.
        let after = vec![1u8; 1 << 10];
        assert!(resident() - before >= (PIECES - 1) << 20);
        drop(pieces);
        assert!(resident().saturating_sub(before) < 8 << 20, "{} of {before}", resident());
        drop(after);
        // From small to large, on and back.
        let mut text: Vec<u32> = (0..1000).collect();
        for grown in [100_000, 1_000_000] {
            text.resize(grown, 7);
            text.shrink_to_fit();
            assert!(text[..1000].iter().copied().eq(0..1000) && text[1000..].iter().all(|word| *word == 7));
        }
        text.truncate(1000);
        text.shrink_to_fit();
        assert!(text.iter().copied().eq(0..1000));
    }
}
