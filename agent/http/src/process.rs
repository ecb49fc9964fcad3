//! What the kernel says about this process: `/proc`, read when a page of metrics is asked for.

use loopscope_probe::raw::boottime::boot_ns;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::proc::{CLOCK_TICK_NS, Stat};
use loopscope_report::metrics::loop_metrics::ProcessMetrics;
use std::fs;
use std::sync::OnceLock;

/// Bytes of a page, read once: the auxiliary vector has it, but `smaps` tells it without unsafe code.
fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        // The names of mapped files in it may be any bytes.
        let smaps = fs::read("/proc/self/smaps").unwrap_or_default();
        let smaps = String::from_utf8_lossy(&smaps);
        let line = smaps.lines().find_map(|line| line.strip_prefix("KernelPageSize:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map_or(4096, |kib| kib * 1024)
    })
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
