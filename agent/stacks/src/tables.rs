//! A module's unwind tables (`.eh_frame_hdr` and `.eh_frame`): which functions they cover.
//!
//! framehop does not say when it had no table and guessed by the frame pointer, so the index is searched here, too.

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, ParsedEhFrameHdr, UnwindSection};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of a table: in a mapping that lasts as long as the process, or a copy.
#[derive(Clone)]
pub(crate) enum Bytes {
    Mapped(&'static [u8]),
    Copied(Arc<[u8]>),
}

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes::Mapped(&[])
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Copied(bytes) => bytes,
        }
    }
}

/// The tables, and where they are mapped.
#[derive(Clone)]
pub(crate) struct Tables {
    pub index: Bytes,
    pub index_at: u64,
    pub frames: Bytes,
    pub frames_at: u64,
}

type Slice<'a> = EndianSlice<'a, NativeEndian>;

impl Tables {
    /// Returns the addresses of the function that an address lies in, by the tables.
    pub fn function(&self, address: u64) -> Option<Range<u64>> {
        let bases = BaseAddresses::default().set_eh_frame_hdr(self.index_at).set_eh_frame(self.frames_at);
        let header = parse(&self.index, &bases)?;
        let frames = EhFrame::new(&self.frames, NativeEndian);
        let entry = header.table()?.fde_for_address(&frames, &bases, address, |section, bases, offset| {
            section.cie_from_offset(bases, offset)
        });
        let entry = entry.ok()?;
        Some(entry.initial_address()..entry.end_address())
    }
}

fn parse<'a>(index: &'a [u8], bases: &BaseAddresses) -> Option<ParsedEhFrameHdr<Slice<'a>>> {
    EhFrameHdr::new(index, NativeEndian).parse(bases, size_of::<usize>() as u8).ok()
}

/// Returns where `.eh_frame` begins, by its index.
pub(crate) fn frames_begin(index: &[u8], index_at: u64) -> Option<u64> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(index_at);
    match parse(index, &bases)?.eh_frame_ptr() {
        gimli::Pointer::Direct(address) => Some(address),
        gimli::Pointer::Indirect(_) => None,
    }
}
