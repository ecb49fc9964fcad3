//! The processor's time-stamp counter: reading it, and telling whether it may be trusted.
//!
//! A counter is trusted when the processor says that it runs at a constant rate in all power states *and* the kernel
//! still offers it as a clock source: the kernel withdraws it when it catches cores disagreeing.

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::x86_64::{__cpuid, _rdtsc, CpuidResult};

    /// Reads the counter; not ordered against neighbouring instructions, which costs less and is exact enough.
    #[inline(always)]
    pub fn read() -> u64 {
        // SAFETY: every x86-64 processor has RDTSC, and user code may run it unless the kernel forbade it by
        // prctl(PR_SET_TSC), which ends such a process at its first vDSO clock read already.
        unsafe { _rdtsc() }
    }

    /// Tells whether the counter runs at one rate always: CPUID 8000_0007h, EDX bit 8 ("invariant TSC").
    pub fn is_invariant() -> bool {
        let has_leaf = cpuid(0x8000_0000).eax >= 0x8000_0007;
        has_leaf && cpuid(0x8000_0007).edx & (1 << 8) != 0
    }

    /// Reads a leaf of what the processor says of itself.
    // Newer releases of Rust have it as a safe function, and then the block is not needed.
    #[allow(unused_unsafe)]
    fn cpuid(leaf: u32) -> CpuidResult {
        // SAFETY: every x86-64 processor has CPUID, and a leaf that it does not have reads as some other one.
        unsafe { __cpuid(leaf) }
    }

    /// The rate is not told reliably (leaf 15h is often empty, and virtual machines lie): measure it.
    pub fn known_hz() -> Option<u64> {
        None
    }

    /// The name under which Linux offers this counter as a clock source.
    pub const CLOCKSOURCE: &str = "tsc";
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    /// Reads the generic timer's virtual count.
    #[inline(always)]
    pub fn read() -> u64 {
        let count: u64;
        // SAFETY: CNTVCT_EL0 is readable from user code on Linux, macOS and Windows; it has no side effect.
        unsafe { asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags)) };
        count
    }

    /// The architecture requires a constant rate.
    pub fn is_invariant() -> bool {
        true
    }

    /// Returns the rate that the firmware wrote, or `None` where it left 0.
    pub fn known_hz() -> Option<u64> {
        let hz: u64;
        // SAFETY: CNTFRQ_EL0 is readable from user code; it has no side effect.
        unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, preserves_flags)) };
        (hz != 0).then_some(hz)
    }

    /// The name under which Linux offers this counter as a clock source.
    pub const CLOCKSOURCE: &str = "arch_sys_counter";
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    /// No counter is known for this processor.
    pub fn read() -> u64 {
        0
    }

    /// No counter is known for this processor.
    pub fn is_invariant() -> bool {
        false
    }

    /// No counter is known for this processor.
    pub fn known_hz() -> Option<u64> {
        None
    }

    /// No counter is known for this processor.
    pub const CLOCKSOURCE: &str = "";
}

pub(crate) use arch::{known_hz, read};

/// Tells whether stamps may be taken from the counter on this machine.
pub(crate) fn is_reliable() -> bool {
    // Miri has no counter, and a simulated clock would not move with it.
    !cfg!(miri) && arch::is_invariant() && kernel_offers(arch::CLOCKSOURCE)
}

/// Linux lists the counter only while its own watchdog finds it stable on all cores.
#[cfg(target_os = "linux")]
fn kernel_offers(name: &str) -> bool {
    let path = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
    // Without sysfs (some containers) the processor's own word must do.
    std::fs::read_to_string(path).map_or(true, |list| list.split_whitespace().any(|source| source == name))
}

/// Elsewhere the processor's own word must do.
#[cfg(not(target_os = "linux"))]
fn kernel_offers(_name: &str) -> bool {
    true
}

/// Returns `CLOCK_MONOTONIC` in nanoseconds.
#[cfg(unix)]
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec for the call to fill; CLOCK_MONOTONIC exists on every supported system, so the
    // call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    #[test]
    fn a_reliable_counter_advances() {
        if super::is_reliable() {
            let first = super::read();
            assert!((0..1_000_000).any(|_| super::read() > first));
        }
    }
}
