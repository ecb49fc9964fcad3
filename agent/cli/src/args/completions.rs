//! Arguments and help of `loopscope completions`.

use clap::{Args, ValueEnum};

const COMPLETIONS_HELP: &str = "\
Prints a script that completes the subcommands, options and values of loopscope in a shell.

Examples:
  loopscope completions bash > ~/.local/share/bash-completion/completions/loopscope
  loopscope completions zsh > ~/.zfunc/_loopscope      ~/.zfunc must be in $fpath before compinit runs
  loopscope completions fish > ~/.config/fish/completions/loopscope.fish

Exit codes:
  0  printed
  1  stdout cannot be written
  2  invalid command line";

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct CompletionsArguments {
    /// Shell to print the script for
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash 4.4 or later
    Bash,
    /// zsh 5 or later
    Zsh,
    /// fish 3 or later
    Fish,
}
