//! The command `loopscope`: what every event loop of this machine is doing, and which line of code is guilty.

#[cfg(test)]
mod adapters_tests;
mod agent;
mod args;
mod completions;
mod demo;
mod doctor;
mod duration;
mod endpoint;
mod error;
mod flame;
mod healthy;
mod http;
mod incidents;
mod interrupt;
mod ls;
mod man;
mod node;
mod output;
mod pages;
mod paint;
mod serve;
mod socket_file;
mod target;
mod threshold;
mod top;
mod view;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    http::set_access(arguments.access.or_environment());
    let done = output::survive_file_limit().and_then(|()| run(arguments.command));
    match done {
        Ok(code) => code,
        Err(failure) => {
            output::tell(&format!("loopscope: {failure}\n"));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: args::Command) -> Result<ExitCode, error::Failure> {
    let success = |()| ExitCode::SUCCESS;
    match command {
        args::Command::Ls(options) => ls::run(&options).map(success),
        args::Command::Top(options) => top::run(&options).map(success),
        args::Command::Doctor(options) => doctor::run(&options),
        args::Command::Incidents(options) => incidents::run(&options).map(success),
        args::Command::Flame(options) => flame::run(&options).map(success),
        args::Command::Serve(options) => serve::run(&options).map(success),
        args::Command::Threshold(options) => threshold::run(&options).map(success),
        args::Command::Healthy(options) => healthy::run(&options).map(success),
        args::Command::Run(options) => node::run::run(&options),
        args::Command::Attach(options) => node::attach::run(&options).map(success),
        args::Command::Demo(options) if options.node => node::demo::run(&options),
        args::Command::Demo(options) => demo::run(&options).map(success),
        args::Command::Completions(options) => completions::run(&options).map(success),
        args::Command::Man(options) => man::run(&options).map(success),
    }
}
