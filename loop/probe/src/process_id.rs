//! Which process, for good: also after it ended, after its pid was used again, and among containers that share a directory.
//!
//! A pid is used again, and every container has a pid 1. With the start time it is one process of its pid namespace, with
//! the namespace one of the machine as it runs, and with the boot one for ever. Not everybody knows all four: a page's file
//! name tells the first two, an old file of an incident the first. What is not known is 0 and written nowhere.
//!
//! ```text
//!   4711                                                             a pid alone
//!   4711-123456                                                      and when it started, in clock ticks since boot
//!   4711-123456-4026531836                                           and its pid namespace's inode
//!   4711-123456-4026531836-0f3c9a5d2b7e4c8196a0d5e1f2b3c4d5          and the machine's boot
//! ```

use crate::snapshot::Facts;
use std::fmt;
use std::str::FromStr;

/// A process. Its text is read back as the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    pid: u32,
    start: u64,
    namespace: u64,
    boot: u128,
}

impl ProcessId {
    /// Names a process: by its pid, when it started in clock ticks since boot, the inode of its pid namespace, and the boot
    /// that it ran in. 0 stands for what is not known.
    pub const fn new(pid: u32, start: u64, namespace: u64, boot: u128) -> ProcessId {
        ProcessId { pid, start, namespace, boot }
    }

    /// Returns the process that wrote a page.
    pub fn of_page(facts: &Facts) -> ProcessId {
        ProcessId::new(facts.pid, facts.pid_start, facts.pid_namespace, facts.boot)
    }

    /// Returns this process.
    #[cfg(target_os = "linux")]
    pub fn this_process() -> ProcessId {
        use crate::page_file_name::{Owner, pid_namespace};
        let Owner { pid, start } = Owner::this_process();
        ProcessId::new(pid, start, pid_namespace(), this_boot())
    }

    /// Returns its pid, which means something in its own namespace.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Returns when it started, in clock ticks since boot; 0 where that is not known.
    pub fn start(self) -> u64 {
        self.start
    }

    /// Tells whether both may be the same process: nothing that is known of both differs.
    pub fn agrees_with(self, other: ProcessId) -> bool {
        let agree = |one: u128, two: u128| one == 0 || two == 0 || one == two;
        self.pid == other.pid
            && agree(self.start.into(), other.start.into())
            && agree(self.namespace.into(), other.namespace.into())
            && agree(self.boot, other.boot)
    }

    /// Returns the process with only so many parts after the pid: 0 leaves the pid alone, 3 or more keep all.
    #[must_use]
    pub(crate) fn with_parts(self, count: usize) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start: if count > 0 { self.start } else { 0 },
            namespace: if count > 1 { self.namespace } else { 0 },
            boot: if count > 2 { self.boot } else { 0 },
        }
    }

    /// Returns the text that follows the pid, with `first` before the first part and a dash before the others.
    pub(crate) fn parts(self, first: char) -> String {
        match self {
            ProcessId { start: 0, namespace: 0, boot: 0, .. } => String::new(),
            ProcessId { start, namespace: 0, boot: 0, .. } => format!("{first}{start}"),
            ProcessId { start, namespace, boot: 0, .. } => format!("{first}{start}-{namespace}"),
            ProcessId { start, namespace, boot, .. } => format!("{first}{start}-{namespace}-{boot:032x}"),
        }
    }

    /// Reads what [`ProcessId::parts`] wrote, without the character before it.
    pub(crate) fn parse_parts(pid: u32, text: &str) -> Option<ProcessId> {
        let mut parts = text.split('-');
        let start = decimal(parts.next()?)?;
        let namespace = parts.next().map_or(Some(0), decimal)?;
        let boot = parts.next().map_or(Some(0), boot_of_hex)?;
        parts.next().is_none().then_some(ProcessId { pid, start, namespace, boot })
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.pid, self.parts('-'))
    }
}

impl FromStr for ProcessId {
    type Err = ProcessIdError;

    fn from_str(text: &str) -> Result<ProcessId, ProcessIdError> {
        let (pid, parts) = text.split_once('-').map_or((text, None), |(pid, parts)| (pid, Some(parts)));
        let pid = decimal(pid).and_then(|pid| u32::try_from(pid).ok());
        let read = pid.and_then(|pid| match parts {
            None => Some(ProcessId { pid, ..ProcessId::default() }),
            Some(parts) => ProcessId::parse_parts(pid, parts),
        });
        read.ok_or_else(|| ProcessIdError(text.to_owned()))
    }
}

/// Reads digits and nothing else: no sign.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads the 32 digits of a boot, with or without the dashes that the kernel writes.
fn boot_of_hex(text: &str) -> Option<u128> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Returns what tells this boot of the machine from all others, 0 where the kernel does not tell.
pub fn this_boot() -> u128 {
    use std::sync::OnceLock;
    static BOOT: OnceLock<u128> = OnceLock::new();
    // random(4): a new UUID at every boot.
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    *BOOT.get_or_init(|| boot_of_hex(&read().trim().replace('-', "")).unwrap_or(0))
}

/// Why a text names no process: it is not `PID`, `PID-START`, `PID-START-NAMESPACE` or `PID-START-NAMESPACE-BOOT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdError(String);

impl fmt::Display for ProcessIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a process id: write it as PID or PID-START-NAMESPACE-BOOT", self.0)
    }
}

impl std::error::Error for ProcessIdError {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn processes() -> impl Strategy<Value = ProcessId> {
        let known = prop_oneof![Just(0_u64), Just(1), any::<u64>()];
        let boot = prop_oneof![Just(0_u128), any::<u128>()];
        (any::<u32>(), known.clone(), known, boot)
            .prop_map(|(pid, start, namespace, boot)| ProcessId::new(pid, start, namespace, boot))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
        #[test]
        fn a_process_is_read_back_from_its_text(process in processes()) {
            prop_assert_eq!(process.to_string().parse(), Ok(process));
        }

        #[test]
        fn what_is_not_known_of_a_process_may_be_any(process in processes(), other in processes()) {
            for parts in 0..4 {
                prop_assert!(process.with_parts(parts).agrees_with(process));
            }
            prop_assert_eq!(process.agrees_with(other), other.agrees_with(process));
            let is_other_start = process.start != other.start && process.start * other.start.min(1) != 0;
            prop_assert!(!(is_other_start && process.agrees_with(other)));
        }

        #[test]
        fn any_text_is_read_as_one_process_or_refused(text in "[0-9a-f-]{0,60}|.{0,20}") {
            if let Ok(process) = text.parse::<ProcessId>() {
                prop_assert_eq!(process.to_string().parse(), Ok(process));
            }
        }
    }

    #[test]
    fn only_what_is_known_is_written() {
        let boot = 0x0f3c_9a5d_2b7e_4c81_96a0_d5e1_f2b3_c4d5;
        for (process, text) in [
            (ProcessId::new(1, 0, 0, 0), "1"),
            (ProcessId::new(4711, 12, 0, 0), "4711-12"),
            (ProcessId::new(4711, 12, 7, 0), "4711-12-7"),
            (ProcessId::new(4711, 0, 7, 0), "4711-0-7"),
            (ProcessId::new(4711, 12, 7, boot), "4711-12-7-0f3c9a5d2b7e4c8196a0d5e1f2b3c4d5"),
        ] {
            assert_eq!((process.to_string().as_str(), text.parse()), (text, Ok(process)));
        }
        for text in ["", "-", "x", "1-", "1-+2", "4294967296", "1-2-3-4", "1-2-3-4-5"] {
            assert!(text.parse::<ProcessId>().unwrap_err().to_string().contains("PID-START"), "{text}");
        }
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn this_process_is_the_one_that_its_pages_tell() {
        let writer = crate::Writer::builder("own").build();
        let process = ProcessId::this_process();
        assert_eq!(ProcessId::of_page(&writer.page().facts()), process);
        assert_eq!(process.pid(), std::process::id());
        assert_ne!((process.start(), process.namespace), (0, 0));
    }
}
