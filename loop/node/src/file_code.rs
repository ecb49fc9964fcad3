//! Which code is that of a file: the program's, a library's, and V8's built-in functions, which are in the program's file and are
//! mapped once more, beside the code that V8 makes (Node 20 and later).

use crate::sys;
use std::cell::OnceCell;
use std::ops::Range;

/// Tells it at one moment.
#[derive(Debug, Default)]
pub(crate) struct FileCode {
    /// What is mapped from files to be run; read where an address is in no file that was loaded.
    mapped: OnceCell<Vec<Range<u64>>>,
}

impl FileCode {
    pub(crate) fn has(&self, address: u64) -> bool {
        let mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
            ranges(&maps)
        };
        sys::is_in_file(address)
            || self.mapped.get_or_init(mapped).iter().any(|range| range.contains(&address))
    }
}

/// Reads the kernel's list of what is mapped: `7f9069d80000-7f9069f85000 r-xp 01653000 fe:00 534 /usr/bin/node`.
fn ranges(maps: &str) -> Vec<Range<u64>> {
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (begin, end) = words.next()?.split_once('-')?;
        words.next()?.contains('x').then_some(())?;
        let path = words.nth(3)?;
        let is_file = path.starts_with('/') && !path.starts_with("/memfd:");
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        is_file.then_some(number(begin)?..number(end)?)
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_is_mapped_from_a_file_is_told_from_code_that_was_made() {
        let maps = "\
00400000-0074d000 r--p 00000000 fe:00 5349420    /usr/bin/node
0074d000-03081000 r-xp 0034d000 fe:00 5349420    /usr/bin/node
7f904a000000-7f9069d80000 rwxp 00000000 00:00 0
7f9069d80000-7f9069f85000 r-xp 01653000 fe:00 5349420    /opt/my node/bin/node
7f9069f85000-7f9069fc0000 r-xp 00000000 00:01 7    /memfd:made (deleted)
7f9089618000-7f908961a000 r-xp 00000000 00:00 0    [vdso]
";
        assert_eq!(ranges(maps), [0x74d000..0x308_1000, 0x7f90_69d8_0000..0x7f90_69f8_5000]);
        assert!(FileCode::default().has(ranges as fn(&str) -> _ as usize as u64));
        assert!(!FileCode::default().has((&raw const maps).addr() as u64));
    }
}
