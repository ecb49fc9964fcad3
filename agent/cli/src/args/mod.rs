//! The command line: subcommands, options, and the text of `--help`.

mod access;
mod attach;
mod completions;
mod demo;
mod doctor;
mod flame;
mod healthy;
mod incidents;
mod ls;
mod man;
mod run;
mod serve;
mod threshold;
mod top;

pub use access::AccessArguments;
pub use attach::AttachArguments;
pub use completions::{CompletionsArguments, Shell};
#[cfg(test)]
pub use demo::DEMO_HELP;
pub use demo::{DemoArguments, Trouble};
pub use doctor::{DoctorArguments, FailOn};
pub use flame::FlameArguments;
pub use healthy::HealthyArguments;
pub use incidents::{IncidentsArguments, list_word};
pub use ls::LsArguments;
pub use man::ManArguments;
pub use run::RunArguments;
pub use serve::ServeArguments;
pub use threshold::ThresholdArguments;
pub use top::TopArguments;

use clap::{Parser, Subcommand};
use loopscope_report::settings;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the message on stderr says what, and how to fix it
  2  invalid command line
  3  target not found, or nothing to capture
  4  doctor, flame --fail-above: a problem was found";

/// What follows the list of commands.
fn after_help() -> String {
    format!("{EXIT_CODES}\n\n{}", settings::help())
}

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "loopscope",
    version,
    about = "See what an event loop is doing now, what blocks it, and which line is guilty",
    long_about = "See what an event loop is doing now, what blocks it, and which line is guilty.\n\n\
        Programs with loopscope's probe in their event loop are found automatically: no port, no restart, no flag.\n\
        To see it at work, run `loopscope demo --trouble block` in one terminal and `loopscope ls` in another.",
    after_help = after_help(),
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub access: AccessArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List instrumented processes, and what their loops are doing now
    Ls(LsArguments),
    /// Live view of loops in the terminal: lag, utilization, running callback, sites, pool, incidents
    Top(TopArguments),
    /// Diagnose a process: what is wrong with its loops, the evidence, and how to fix it
    Doctor(DoctorArguments),
    /// List incidents, or show one in full, including those of killed processes
    Incidents(IncidentsArguments),
    /// Write a flamegraph: time by loop, phase, callback site and span
    Flame(FlameArguments),
    /// Serve all loops of this host over HTTP: metrics, service discovery, incidents, captures
    Serve(ServeArguments),
    /// Show or change the stall thresholds of a running program
    Threshold(ThresholdArguments),
    /// Exit 0 if the agent is healthy (for health checks)
    Healthy(HealthyArguments),
    /// Run a Node program with loopscope: `loopscope run -- node app.js`
    Run(RunArguments),
    /// Attach loopscope to a running Node program, even one that hangs
    Attach(AttachArguments),
    /// Run a demo HTTP service under load, with faults on request
    Demo(DemoArguments),
    /// Print a completion script for bash, zsh or fish
    Completions(CompletionsArguments),
    /// Print a manual page, or write all of them to a directory
    Man(ManArguments),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_arguments_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_commands_in_the_readme_can_be_parsed() {
        let lines = include_str!("../../README.md").lines().filter(|line| line.starts_with("loopscope "));
        let commands: Vec<&str> = lines.map(|line| line.split(" # ").next().unwrap().trim()).collect();
        assert!(commands.len() >= 5, "{commands:?}");
        for command in commands {
            let parsed = Arguments::try_parse_from(command.split_whitespace());
            assert!(parsed.is_ok(), "{command}: {parsed:?}");
        }
    }
}
