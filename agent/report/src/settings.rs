//! The environment variables that loopscope reads: one table, from which `docs/settings.md` and `--help` are made.
//!
//! They are the operator's: a program is started with them, and needs no rebuild. The environment wins over what the
//! program's code chose, and loses to what the code declared fixed (`AgentBuilder::fixed`). Reading and applying is
//! the agent's and the command's part; this module only names them.

use std::fmt::Write;

/// One variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// `LOOPSCOPE`: turns everything off.
    Switch,
    /// `LOOPSCOPE_LISTEN`: where the agent answers.
    Listen,
    /// `LOOPSCOPE_THRESHOLDS`: from which length on a busy period is a stall.
    Thresholds,
    /// `LOOPSCOPE_INCIDENTS_DIR`: where incidents are written.
    IncidentsDir,
    /// `LOOPSCOPE_KEEP_INCIDENTS`: whether the last incidents outlive the process.
    KeepIncidents,
    /// `LOOPSCOPE_CAPTURES`: whether stacks are captured.
    Captures,
    /// `LOOPSCOPE_TOKEN_FILE`: the token of an agent, and of the command that asks it.
    TokenFile,
    /// `LOOPSCOPE_WEB_CONFIG`: TLS and users.
    WebConfig,
    /// `LOOPSCOPE_STDERR`: whether the first stall is printed where nobody logs.
    Stderr,
    /// `LOOPSCOPE_RUNTIME_DIR`: where pages are.
    RuntimeDir,
    /// `LOOPSCOPE_CA_FILE`: the authority that the command trusts.
    CaFile,
}

/// Who reads a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reader {
    /// A program with an agent or a probe in it.
    Program,
    /// The command `loopscope`.
    Command,
    /// Both.
    Both,
}

/// What the table says of a variable.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SettingDescription {
    /// Its name.
    pub variable: &'static str,
    /// A value, as it is written in help.
    pub example: &'static str,
    /// What it may be.
    pub values: &'static str,
    /// What holds where it is not set, or empty.
    pub default: &'static str,
    /// What it does, as a phrase that begins with a verb; of a switch, what `off` does.
    pub about: &'static str,
    /// Who reads it.
    pub reader: Reader,
}

const TABLE: [(Setting, SettingDescription); 11] = [
    (
        Setting::Switch,
        SettingDescription {
            variable: "LOOPSCOPE",
            example: "off",
            values: "`off`, `0` or `false`",
            default: "on",
            about: "`off`: no page, no agent, no thread, no signal",
            reader: Reader::Program,
        },
    ),
    (
        Setting::Listen,
        SettingDescription {
            variable: "LOOPSCOPE_LISTEN",
            example: "127.0.0.1:9464",
            values: "`ADDRESS:PORT`, `PORT` (on 127.0.0.1), port 0 for any; `unix:/PATH`; `off`",
            default: "the first free port from 127.0.0.1:9464",
            about: "address the agent listens on; it is an error if that is not available",
            reader: Reader::Program,
        },
    ),
    (
        Setting::Thresholds,
        SettingDescription {
            variable: "LOOPSCOPE_THRESHOLDS",
            example: "50ms/1s,web=20ms",
            values: "`WARNING` or `WARNING/CRITICAL`, and `LOOP=WARNING/CRITICAL`, separated by commas; critical \
                     defaults to ten times warning",
            default: "`100ms/1s`",
            about: "sets stall thresholds, for all loops or for one",
            reader: Reader::Program,
        },
    ),
    (
        Setting::IncidentsDir,
        SettingDescription {
            variable: "LOOPSCOPE_INCIDENTS_DIR",
            example: "/var/lib/app/incidents",
            values: "a directory",
            default: "none, or as set by the program",
            about: "also writes every incident to a directory, one JSON file each",
            reader: Reader::Program,
        },
    ),
    (
        Setting::KeepIncidents,
        SettingDescription {
            variable: "LOOPSCOPE_KEEP_INCIDENTS",
            example: "off",
            values: "`off`, `0` or `false`; `on` does not override the program",
            default: "on",
            about: "`off`: incidents are not kept for `loopscope incidents` after the process exits",
            reader: Reader::Program,
        },
    ),
    (
        Setting::Captures,
        SettingDescription {
            variable: "LOOPSCOPE_CAPTURES",
            example: "off",
            values: "`off`, `0` or `false`; `on` does not override the program",
            default: "on",
            about: "`off`: no stacks are captured, and no signals sent",
            reader: Reader::Program,
        },
    ),
    (
        Setting::TokenFile,
        SettingDescription {
            variable: "LOOPSCOPE_TOKEN_FILE",
            example: "/run/secrets/loopscope",
            values: "a file that only its owner can read",
            default: "no token",
            about: "bearer token required for incidents, captures and thresholds; the command sends it",
            reader: Reader::Both,
        },
    ),
    (
        Setting::WebConfig,
        SettingDescription {
            variable: "LOOPSCOPE_WEB_CONFIG",
            example: "/etc/app/web.yml",
            values: "a file in the format of Prometheus's `--web.config.file`",
            default: "no TLS, no users",
            about: "sets TLS, users and headers of the agent's server (feature `web-config`)",
            reader: Reader::Program,
        },
    ),
    (
        Setting::Stderr,
        SettingDescription {
            variable: "LOOPSCOPE_STDERR",
            example: "off",
            values: "`off`, `0` or `false`",
            default: "on",
            about: "`off`: the first stall is not printed on stderr where there is no `tracing` subscriber and no logger",
            reader: Reader::Program,
        },
    ),
    (
        Setting::RuntimeDir,
        SettingDescription {
            variable: "LOOPSCOPE_RUNTIME_DIR",
            example: "/run/user/1000/loopscope",
            values: "a directory in memory, private to its user",
            default: "`$XDG_RUNTIME_DIR/loopscope`, else `/dev/shm/loopscope-UID`",
            about: "directory of pages and of the agent's socket file; must be the same for programs and the command",
            reader: Reader::Both,
        },
    ),
    (
        Setting::CaFile,
        SettingDescription {
            variable: "LOOPSCOPE_CA_FILE",
            example: "/etc/app/ca.pem",
            values: "a certificate file (PEM)",
            default: "none: agents with TLS are refused (system CAs are not used)",
            about: "CA to trust for agents with TLS",
            reader: Reader::Command,
        },
    ),
];

impl Setting {
    /// Every variable, in the order of the table.
    pub fn all() -> impl Iterator<Item = Setting> {
        TABLE.into_iter().map(|(setting, _)| setting)
    }

    /// Returns what the table says of it.
    pub fn description(self) -> SettingDescription {
        let found = TABLE.into_iter().find(|(setting, _)| *setting == self);
        found.map(|(_, description)| description).expect("every setting is in the table: a test looks")
    }

    /// Returns the variable's name.
    pub fn variable(self) -> &'static str {
        self.description().variable
    }
}

/// Returns the lines of `--help`: the variables that programs with loopscope in them read, and those of the command alone.
pub fn help() -> String {
    let block = |title: &str, is_in: fn(Reader) -> bool| {
        let mut out = title.to_owned();
        for (_, row) in TABLE.iter().filter(|(_, row)| is_in(row.reader)) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\n  {}={}\n      {}", row.variable, row.example, row.about.replace('`', ""));
        }
        out
    };
    let of_programs = block("Environment of an instrumented program (docs/settings.md):", |reader| {
        reader != Reader::Command
    });
    let of_command = block("Environment of this command alone:", |reader| reader == Reader::Command);
    format!("{of_programs}\n\n{of_command}")
}

/// Returns the table of `docs/settings.md`.
pub fn markdown() -> String {
    let mut out =
        String::from("| variable | values | default | what it does | read by |\n|---|---|---|---|---|\n");
    for (_, row) in &TABLE {
        let reader = match row.reader {
            Reader::Program => "programs",
            Reader::Command => "the command",
            Reader::Both => "both",
        };
        let SettingDescription { variable, values, default, about, .. } = row;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{variable}` | {values} | {default} | {about} | {reader} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described_once() {
        for setting in [Setting::Switch, Setting::Listen, Setting::Stderr, Setting::CaFile] {
            assert_eq!(Setting::all().filter(|other| *other == setting).count(), 1, "{setting:?}");
        }
        let mut names: Vec<&str> = Setting::all().map(Setting::variable).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn help_names_what_programs_read_and_then_what_the_command_reads() {
        let help = help();
        let (of_programs, of_command) = help.split_once("\n\n").unwrap();
        assert!(of_programs.contains("LOOPSCOPE_LISTEN=127.0.0.1:9464"), "{help}");
        assert!(!of_programs.contains("LOOPSCOPE_CA_FILE"), "{help}");
        assert!(of_command.contains("LOOPSCOPE_CA_FILE=/etc/app/ca.pem"), "{help}");
        assert!(help.lines().all(|line| line.len() <= 110), "{help}");
    }
}
