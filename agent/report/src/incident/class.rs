//! How an incident is classed: how bad, what happened, and what the time went to.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad an incident is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Longer than the warning threshold.
    #[default]
    Warning,
    /// Longer than the critical threshold.
    Critical,
}

impl Severity {
    /// Returns the severity of a stall that has lasted `age_ns` nanoseconds, longer than the warning threshold, where
    /// `critical_ns` is the critical one.
    pub fn of_stall(age_ns: u64, critical_ns: u64) -> Severity {
        if age_ns > critical_ns { Severity::Critical } else { Severity::Warning }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IncidentKind {
    /// One callback, or code outside any, took most of a busy period that was too long.
    #[default]
    Stall,
    /// Many short callbacks kept the loop from polling.
    Starvation,
    /// All threads of the loop's pool were busy with jobs waiting.
    Pool,
}

/// What the time of an incident went to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Class {
    /// The loop's thread used the processor for half of the time or more: code to make faster or to move away.
    Computing,
    /// It was asleep in the kernel: a blocking call, a lock, a page fault.
    Waiting,
    /// It was ready to run and had no processor: the machine, the container's quota or the hypervisor is to blame.
    StarvedOfCpu,
    /// The process was stopped or frozen: SIGSTOP, the cgroup freezer, a hypervisor that took all processors away. Nobody's
    /// code is to blame.
    Stopped,
    /// The machine was suspended. Nobody's code is to blame.
    Suspended,
    /// A debugger held the process. Nobody's code is to blame.
    Debugger,
    /// Not known: the kernel did not tell, or it was over before anybody looked.
    #[default]
    Unknown,
}

impl Severity {
    /// Returns the word that stands for it in JSON and in the `severity` label.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl IncidentKind {
    /// How many kinds there are.
    pub const COUNT: usize = 3;

    /// All of them.
    pub const ALL: [IncidentKind; IncidentKind::COUNT] =
        [IncidentKind::Stall, IncidentKind::Starvation, IncidentKind::Pool];

    /// Returns the word that stands for it in JSON and in the `kind` label.
    pub fn name(self) -> &'static str {
        match self {
            IncidentKind::Stall => "stall",
            IncidentKind::Starvation => "starvation",
            IncidentKind::Pool => "pool",
        }
    }
}

impl Class {
    /// Returns the word that stands for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Class::Computing => "computing",
            Class::Waiting => "waiting",
            Class::StarvedOfCpu => "starved_of_cpu",
            Class::Stopped => "stopped",
            Class::Suspended => "suspended",
            Class::Debugger => "debugger",
            Class::Unknown => "unknown",
        }
    }

    /// Tells whether the program's own code may be to blame: false where the process or the machine stood still.
    pub fn may_be_code(self) -> bool {
        !matches!(self, Class::Stopped | Class::Suspended | Class::Debugger)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
