//! `loopscope completions`: completion scripts for shells, from the definition that `--help` is made of.

use crate::args::{Arguments, CompletionsArguments, Shell};
use crate::error::Failure;
use crate::output::print_bytes;
use clap::CommandFactory;

/// Prints the script.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(options: &CompletionsArguments) -> Result<(), Failure> {
    let shell = match options.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "loopscope", &mut script);
    print_bytes(&script)
}
