//! Reading the pages of other processes, whole or in part, from their files.

use crate::page::{COUNTER_RANGES, Page, PageFault, VITAL_RANGES};
use crate::page_file_name::open_page_file;
use std::fs::File;
use std::io;
use std::path::Path;

/// Reads a page file into this process's own memory. The file is read, not mapped: its writer may truncate it at any
/// moment, and a mapping would then answer with SIGBUS.
///
/// # Errors
/// The file cannot be read, is no regular file, or is not a page of this version; the message names what is wrong.
pub fn read_page(path: &Path) -> io::Result<Box<Page>> {
    read_page_from(&open_page_file(path)?)
}

/// Returns a page of zeros to read others into.
pub fn blank_page() -> Box<Page> {
    crate::memory::zeroed_page()
}

/// Reads a page from an open page file, as [`read_page`] does.
///
/// # Errors
/// As [`read_page`].
pub fn read_page_from(file: &File) -> io::Result<Box<Page>> {
    let mut page = blank_page();
    read_page_into(file, &mut page)?;
    Ok(page)
}

/// Reads a page over another one: who reads hundreds of them a second needs no memory for each.
///
/// # Errors
/// As [`read_page`]; `page` then holds parts of both.
pub fn read_page_into(file: &File, page: &mut Page) -> io::Result<()> {
    read_ranges(file, page, &[(0, size_of::<Page>())])
}

/// Reads over `page` what [`Page::vitals_at`] and the page's checks need, and the numbers of the next record and
/// iteration: some 5 of its 540 KiB. All else in `page` is left as it was.
///
/// # Errors
/// As [`read_page`].
pub fn read_vitals_into(file: &File, page: &mut Page) -> io::Result<()> {
    read_ranges(file, page, &VITAL_RANGES)
}

/// Reads over `page` what [`Page::snapshot_at`] and the page's checks need: no records, iterations or jobs, and of the
/// tables what is in use. All else in `page` is left as it was.
///
/// # Errors
/// As [`read_page`].
pub fn read_counters_into(file: &File, page: &mut Page) -> io::Result<()> {
    read_ranges(file, page, &COUNTER_RANGES)?;
    // The lengths were published after the entries they count, so these are complete now.
    let in_use = page.ranges_in_use();
    read_ranges(file, page, &in_use)
}

/// Reads these parts, from and to, of a page file over `page`, and checks what `page` is then.
fn read_ranges(file: &File, page: &mut Page, ranges: &[(usize, usize)]) -> io::Result<()> {
    for (begin, end) in ranges.iter().copied() {
        let filled = begin + fill(file, &mut page.as_bytes_mut()[begin..end], begin as u64)?;
        if filled < end {
            // Magic and version, if it is even that long.
            let head = if filled < 16 { Err(PageFault::NotAPage) } else { page.check_head() };
            head.map_err(damaged)?;
            return Err(damaged(PageFault::Length(filled as u64)));
        }
    }
    page.check().map_err(damaged)
}

/// Says what is wrong with a page: an error of kind `InvalidData` around the [`PageFault`].
fn damaged(fault: PageFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// Reads until `bytes` is full or the file ends; returns how many were read.
fn fill(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}
