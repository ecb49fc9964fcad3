//! The program that writes the rules, alerts and dashboards, or tells whether the committed ones are up to date.

use loopscope_dashboards::output::{self, RUNBOOKS};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Writes loopscope's Prometheus rules, alerts and Grafana dashboards from the catalogue of metrics.

  loopscope-dashboards                        lists the committed files that are out of date (exit code 1 if any)
  loopscope-dashboards --write                writes them into the repository
  loopscope-dashboards --to DIR               writes them to another folder
  loopscope-dashboards --to DIR --runbooks URL
                                              the same, with links to runbooks that begin with URL";

/// What the command line asks for.
struct Arguments {
    folder: PathBuf,
    is_writing: bool,
    runbooks: String,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let outputs = output::files(&arguments.runbooks);
    if arguments.is_writing {
        return match output::write(&outputs, &arguments.folder) {
            Ok(()) => {
                println!("{} files written to {}", outputs.len(), arguments.folder.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let stale = output::stale(&outputs, &arguments.folder);
    for line in &stale {
        eprintln!("{line}");
    }
    match stale.is_empty() {
        true => {
            println!("{} files are up to date", outputs.len());
            ExitCode::SUCCESS
        }
        false => {
            eprintln!("write them with --write");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line; `None` asks for help.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut arguments = Arguments { folder: repository, is_writing: false, runbooks: RUNBOOKS.to_owned() };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--write" => arguments.is_writing = true,
            "--to" => {
                arguments.folder = PathBuf::from(value()?);
                arguments.is_writing = true;
            }
            "--runbooks" => arguments.runbooks = value()?,
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("unknown argument: `{other}`")),
        }
    }
    Ok(Some(arguments))
}
