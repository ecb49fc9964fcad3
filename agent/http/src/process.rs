//! What the kernel says about this process: `/proc`, read when a page of metrics is asked for.

use loopscope_probe::raw::boottime::boot_ns;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::proc::{CLOCK_TICK_NS, Stat};
use loopscope_report::metrics::loop_metrics::ProcessMetrics;
use std::fs;
use std::sync::OnceLock;

/// Bytes of a page, read once. Not from `smaps`: for that the kernel goes through all of the program's memory, which then can map none.
fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| page_bytes_of(&fs::read("/proc/self/auxv").unwrap_or_default()).unwrap_or(4096))
}

/// Returns the size of a page, as the auxiliary vector of a process has it: pairs of words, a type and its value.
fn page_bytes_of(auxiliary_vector: &[u8]) -> Option<u64> {
    /// `AT_PAGESZ` of `linux/auxvec.h`.
    const PAGE_SIZE: usize = 6;
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| Some(usize::from_ne_bytes(bytes.try_into().ok()?));
    let pairs = auxiliary_vector.chunks_exact(2 * WORD).map(|pair| pair.split_at(WORD));
    let sizes = pairs.filter(|(kind, _)| word(kind) == Some(PAGE_SIZE));
    sizes.filter_map(|(_, value)| word(value)).next().map(|bytes| bytes as u64).filter(|bytes| *bytes > 0)
}

/// Reads what `/proc` tells; `None` where it is not mounted.
pub fn read() -> Option<ProcessMetrics> {
    let mut view = view_of(&Stat::own()?);
    view.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    view.max_fds =
        fs::read_to_string("/proc/self/limits").ok().and_then(|text| parse_limit(&text)).unwrap_or(0);
    Some(view)
}

fn view_of(stat: &Stat) -> ProcessMetrics {
    ProcessMetrics {
        cpu_ns: stat.cpu_ns,
        threads: stat.threads,
        start_unix_ns: stat.start_ticks.saturating_mul(CLOCK_TICK_NS).saturating_add(boot_unix_ns()),
        virtual_bytes: stat.virtual_bytes,
        resident_bytes: stat.resident_pages.saturating_mul(page_bytes()),
        open_fds: 0,
        max_fds: 0,
    }
}

fn parse_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// When the machine started, in nanoseconds since 1970, as of the first call: two clocks tell it where `/proc` shows
/// processes only (`ProcSubset=pid`) and has no `stat`.
fn boot_unix_ns() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| unix_ns().saturating_sub(boot_ns()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_is_what_the_kernel_told_the_process_at_its_start() {
        let vector = |words: &[usize]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        assert_eq!(page_bytes_of(&vector(&[33, 6, 6, 65_536, 0, 0])), Some(65_536));
        for unknown in [&[][..], &[33, 6, 0, 0], &[6, 0], &[6]] {
            assert_eq!(page_bytes_of(&vector(unknown)), None, "{unknown:?}");
        }
        let own = page_bytes_of(&fs::read("/proc/self/auxv").unwrap()).unwrap();
        assert!(own.is_power_of_two() && own >= 4096, "{own}");
    }

    #[test]
    fn the_start_of_the_machine_is_the_kernel_s_without_its_file() {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let seconds = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
        let kernel_s: u64 = seconds.trim().parse().unwrap();
        // In whole seconds there, and the wall clock may have been set a little since.
        assert!((boot_unix_ns() / 1_000_000_000).abs_diff(kernel_s) <= 2, "{} {kernel_s}", boot_unix_ns());
    }

    #[test]
    fn this_process_can_be_read() {
        let view = read().unwrap();
        assert!(view.resident_bytes > 100_000 && view.virtual_bytes >= view.resident_bytes);
        assert!(
            view.open_fds > 2
                && view.max_fds > 2
                && view.threads > 0
                && view.start_unix_ns > 1_600_000_000_000_000_000
        );
    }

    #[test]
    fn this_process_can_be_read_whatever_its_name_is() {
        let before = fs::read("/proc/self/comm").unwrap();
        // What the kernel makes of eight letters of two bytes each: it cuts the last one in half.
        fs::write("/proc/self/comm", "é".repeat(8)).unwrap();
        let (is_no_text, view) = (fs::read_to_string("/proc/self/comm").is_err(), read());
        fs::write("/proc/self/comm", before.trim_ascii_end()).unwrap();
        assert!(is_no_text && view.is_some_and(|view| view.threads > 0));
    }
}
