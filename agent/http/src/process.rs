//! What the kernel says about this process and the agent's thread: `/proc`, read when a page of metrics is asked for.

use loopscope_probe::boottime::boot_ns;
use loopscope_probe::clock::unix_ns;
use loopscope_report::metrics::view::ProcessView;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Nanoseconds per clock tick of `/proc`: the kernel shows 100 a second to programs on all its platforms.
const CLOCK_TICK_NS: u64 = 10_000_000;

/// Bytes of a page, read once: the auxiliary vector has it, but `smaps` tells it without unsafe code.
fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let smaps = read_lossy("/proc/self/smaps").unwrap_or_default();
        let line = smaps.lines().find_map(|line| line.strip_prefix("KernelPageSize:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map_or(4096, |kib| kib * 1024)
    })
}

/// Reads what `/proc` tells; `None` where it is not mounted.
pub fn read() -> Option<ProcessView> {
    let mut view = parse_stat(&read_lossy("/proc/self/stat")?, page_bytes())?;
    view.start_unix_ns = view.start_unix_ns.saturating_add(boot_unix_ns());
    view.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    view.max_fds =
        fs::read_to_string("/proc/self/limits").ok().and_then(|text| parse_limit(&text)).unwrap_or(0);
    Some(view)
}

/// Reads a file that holds names: of mapped files, which may be any bytes, or of the process, which the kernel cuts off at
/// 15 bytes and so may end in half a letter.
fn read_lossy(path: &str) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Takes the fields of proc(5)'s `stat`; the start time is since boot still.
fn parse_stat(stat: &str, page_bytes: u64) -> Option<ProcessView> {
    // The second field is the name in parentheses and may hold anything, so count from the last one.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split_whitespace().collect();
    // Field n of the manual is at n - 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(ProcessView {
        cpu_ns: field(14)?.saturating_add(field(15)?).saturating_mul(CLOCK_TICK_NS),
        threads: field(20)?,
        start_unix_ns: field(22)?.saturating_mul(CLOCK_TICK_NS),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.saturating_mul(page_bytes),
        open_fds: 0,
        max_fds: 0,
    })
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

/// Where the processor time of the calling thread can be read, from any thread.
pub fn thread_cpu_path() -> Option<PathBuf> {
    let thread = fs::read_link("/proc/thread-self").ok()?;
    Some(PathBuf::from("/proc").join(thread).join("schedstat"))
}

/// Returns processor time in nanoseconds from a file of [`thread_cpu_path`].
pub fn thread_cpu_ns(path: &std::path::Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_any_name() {
        let stat =
            "42 (a) b) (c) S 1 42 42 0 -1 4194560 1000 0 1 0 250 50 0 0 20 0 7 0 12345 8192000 300 1844";
        let view = parse_stat(stat, 4096).unwrap();
        assert_eq!((view.cpu_ns, view.threads), (3_000_000_000, 7));
        assert_eq!((view.virtual_bytes, view.resident_bytes), (8_192_000, 300 * 4096));
        assert_eq!(view.start_unix_ns, 123_450_000_000);
        assert_eq!(parse_stat("42 (short) S 1", 4096), None);
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
        assert!(thread_cpu_ns(&thread_cpu_path().unwrap()).unwrap() > 0);
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
