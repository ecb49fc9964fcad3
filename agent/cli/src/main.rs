//! The command `loopscope`: what every event loop of this machine is doing, and which line of code is guilty.

mod args;
mod demo;
mod duration;
mod error;
mod flame;
mod http;
mod interrupt;
mod ls;
mod output;
mod pages;
mod target;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match args::Arguments::parse().command {
        args::Command::Ls(options) => ls::run(&options),
        args::Command::Flame(options) => flame::run(&options),
        args::Command::Demo(options) => demo::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("loopscope: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
