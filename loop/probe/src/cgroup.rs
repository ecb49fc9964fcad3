//! How often a cgroup's CPU quota held its processes back: `cpu.stat` of cgroups, both versions.
//!
//! A process is in one cgroup, and all those above it limit it, too. Where `/proc` shows a path that is not mounted here, as in a
//! container, what is mounted is the container's own: the part of the path that is there counts.
//!
//! # Source
//! The kernel's `Documentation/admin-guide/cgroup-v2.rst` and `Documentation/scheduler/sched-bwc.rst`.

use std::fs;
use std::path::{Path, PathBuf};

/// Where cgroups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// What the quotas of a process's cgroups have done since these were made, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuQuota {
    /// Periods in which there was a quota and something ran.
    pub periods: u64,
    /// Those of them in which the quota was used up.
    pub throttled_periods: u64,
    /// Time in which all were held back for that, in nanoseconds, in sum over the processors.
    pub throttled_ns: u64,
}

impl CpuQuota {
    /// Reads what is said of a process; `None` where it has no quota, or the kernel does not tell.
    pub fn of_process(pid: u32) -> Option<CpuQuota> {
        CpuQuota::under(Path::new(MOUNT), &fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
    }

    /// Reads what is said of this process, as [`CpuQuota::of_process`] does.
    pub fn own() -> Option<CpuQuota> {
        CpuQuota::under(Path::new(MOUNT), &fs::read_to_string("/proc/self/cgroup").ok()?)
    }

    /// Returns what happened since `earlier`, a reading of the same process.
    pub fn since(self, earlier: CpuQuota) -> CpuQuota {
        CpuQuota {
            periods: self.periods.saturating_sub(earlier.periods),
            throttled_periods: self.throttled_periods.saturating_sub(earlier.throttled_periods),
            throttled_ns: self.throttled_ns.saturating_sub(earlier.throttled_ns),
        }
    }

    /// Reads the cgroups that `memberships`, the text of `/proc/PID/cgroup`, names.
    fn under(mount: &Path, memberships: &str) -> Option<CpuQuota> {
        let stats = memberships.lines().flat_map(|line| stat_files(mount, line));
        let told = stats.filter_map(|path| CpuQuota::parse(&fs::read_to_string(path).ok()?));
        told.reduce(|sum, more| CpuQuota {
            periods: sum.periods.saturating_add(more.periods),
            throttled_periods: sum.throttled_periods.saturating_add(more.throttled_periods),
            throttled_ns: sum.throttled_ns.saturating_add(more.throttled_ns),
        })
    }

    /// Reads a `cpu.stat`; `None` where it tells of no quota, or none was ever in force.
    fn parse(stat: &str) -> Option<CpuQuota> {
        let value = |name: &str| -> Option<u64> {
            stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
        };
        let periods = value("nr_periods").filter(|periods| *periods > 0)?;
        let throttled_ns = value("throttled_usec")
            .map(|us| us.saturating_mul(1_000))
            .or_else(|| value("throttled_time"))
            .unwrap_or(0);
        Some(CpuQuota { periods, throttled_periods: value("nr_throttled").unwrap_or(0), throttled_ns })
    }
}

/// Returns where the statistics may be of one line, `4:cpu,cpuacct:/a/b` or `0::/a/b`: of the cgroup and of all above it.
fn stat_files(mount: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let folders = match (number, controllers) {
        ("0", "") => vec![mount.to_owned(), mount.join("unified")],
        (_, controllers) if controllers.split(',').any(|controller| controller == "cpu") => {
            vec![mount.join(controllers), mount.join("cpu")]
        }
        _ => return Vec::new(),
    };
    let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) else { return Vec::new() };
    let path = Path::new(path.trim_start_matches('/'));
    // A path out of the namespace of this process begins so.
    if path.components().any(|part| part.as_os_str() == "..") {
        return Vec::new();
    }
    path.ancestors().map(|above| folder.join(above).join("cpu.stat")).collect()
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn write(mount: &Path, path: &str, stat: &str) {
        let path = mount.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, stat).unwrap();
    }

    fn quota(periods: u64, throttled_periods: u64, throttled_ns: u64) -> Option<CpuQuota> {
        Some(CpuQuota { periods, throttled_periods, throttled_ns })
    }

    #[test]
    fn both_versions_are_read_with_the_cgroups_above() {
        let scratch = Scratch::made();
        let mount = &*scratch.0;
        write(mount, "v2/cpu.stat", "usage_usec 7\nuser_usec 5\nsystem_usec 2\n");
        write(
            mount,
            "v2/pod/cpu.stat",
            "usage_usec 7\nnr_periods 100\nnr_throttled 90\nthrottled_usec 8000\n",
        );
        write(mount, "v2/pod/app/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_usec 0\n");
        let v2 = mount.join("v2");
        assert_eq!(CpuQuota::under(&v2, "0::/pod/app\n"), quota(100, 90, 8_000_000));
        assert_eq!(CpuQuota::under(&v2, "0::/\n"), None, "no quota");
        // What is mounted is the container's own.
        assert_eq!(CpuQuota::under(&v2.join("pod"), "0::/kubepods/x\n"), quota(100, 90, 8_000_000));
        write(
            mount,
            "v1/cpu,cpuacct/app/cpu.stat",
            "nr_periods 10\nnr_throttled 4\nthrottled_time 350000000\n",
        );
        write(mount, "v1/cpu,cpuacct/cpu.stat", "nr_periods 5\nnr_throttled 1\nthrottled_time 1\n");
        let v1 = mount.join("v1");
        let memberships = "9:name=systemd:/app\n4:cpuset:/app\n2:cpu,cpuacct:/app\n0::/app\n";
        assert_eq!(CpuQuota::under(&v1, memberships), quota(15, 5, 350_000_001));
        for nothing in ["", "x", "2:cpu", "2:cpuset:/app", "2:cpu,cpuacct:/../../app", "3:memory:/app"] {
            assert_eq!(CpuQuota::under(&v1, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn damaged_statistics_tell_nothing() {
        for text in ["", "nr_periods", "nr_periods x", "nr_throttled 4", "nr_periods -1", "nr_periods 0"] {
            assert_eq!(CpuQuota::parse(text), None, "{text}");
        }
        assert_eq!(
            CpuQuota::parse("nr_periods 3\nthrottled_usec 18446744073709551615"),
            quota(3, 0, u64::MAX)
        );
        let later = CpuQuota { periods: 9, throttled_periods: 5, throttled_ns: 100 };
        assert_eq!(
            later.since(CpuQuota { periods: 4, throttled_periods: 9, throttled_ns: 40 }).throttled_ns,
            60
        );
    }
}
