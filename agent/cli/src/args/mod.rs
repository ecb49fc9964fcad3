//! The command line: what each subcommand shows, with examples, so that `--help` teaches.

mod access;
mod attach;
mod demo;
mod doctor;
mod flame;
mod healthy;
mod incidents;
mod ls;
mod run;
mod serve;
mod threshold;
mod top;

pub use access::AccessArguments;
pub use attach::AttachArguments;
pub use demo::{DemoArguments, Trouble};
pub use doctor::DoctorArguments;
pub use flame::FlameArguments;
pub use healthy::HealthyArguments;
pub use incidents::IncidentsArguments;
pub use ls::LsArguments;
pub use run::RunArguments;
pub use serve::ServeArguments;
pub use threshold::ThresholdArguments;
pub use top::TopArguments;

use clap::{Parser, Subcommand};
use loopscope_report::settings;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the message on stderr names the thing and the remedy
  2  the command line cannot be used
  3  the target was not found, or there was nothing to capture
  4  doctor, flame --fail-above: something is wrong";

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
        Programs with loopscope's probe in their event loop are found by themselves: no port, no restart, no flag.\n\
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
    /// List every instrumented process of this machine, and what its loops are doing now
    Ls(LsArguments),
    /// Watch the loops of this machine on a terminal, as they are now
    Top(TopArguments),
    /// Say in words what is wrong with the loops of a process, and what to do about it
    Doctor(DoctorArguments),
    /// List what went wrong, or tell one incident in full; also of processes that were killed
    Incidents(IncidentsArguments),
    /// Draw where a loop's time goes: by loop, phase, callback site and span
    Flame(FlameArguments),
    /// Serve every loop of this host over HTTP: metrics, service discovery, incidents, captures
    Serve(ServeArguments),
    /// Show from which age on a busy stretch is a stall, or change it while the program runs
    Threshold(ThresholdArguments),
    /// Tell by the exit code whether an agent answers, for health checks
    Healthy(HealthyArguments),
    /// Start a Node program with loopscope in it: `loopscope run -- node app.js`
    Run(RunArguments),
    /// Load loopscope into a Node program that runs, also into one that hangs
    Attach(AttachArguments),
    /// Run a real HTTP service on our loop, under load and with trouble on request
    Demo(DemoArguments),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_arguments_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
