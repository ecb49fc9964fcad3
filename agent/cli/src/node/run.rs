//! `loopscope run`: becomes a command, with the addon preloaded into every Node that it is, or starts.

use crate::args::RunArguments;
use crate::error::Failure;
use crate::node::addon::{ADDON_VARIABLE, Preload};
use crate::node::options::{self, Preloading};
use crate::node::{permission, preload};
use crate::output::tell;
use loopscope_probe::raw::switch;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Has a program say where it can be looked at.
const ANNOUNCE_VARIABLE: &str = "LOOPSCOPE_ANNOUNCE";

/// As shells have it: what was found cannot be started, and nothing was found.
const NOT_STARTED: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Becomes the command: pid, signals, terminal and exit code are its own. Returns only where that fails.
///
/// # Errors
/// The addon is not there; or there is no place for what preloads it.
pub fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let [program, rest @ ..] = &arguments.command[..] else {
        return Err(Failure::Usage("no command given; for example: loopscope run -- node app.js".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(rest);
    if !switch::is_off() {
        let found = Preload::find()?;
        let set = std::env::var_os(options::VARIABLE);
        match permission::lacking(program, rest, set.as_deref(), &found.scripts) {
            Some(lacking) => tell(&format!("loopscope: off, this process may not load addons: {lacking}\n")),
            None => set_environment(&mut command, arguments, &found, set.as_deref()),
        }
    }
    let error = command.exec();
    let (because, code) = match error.kind() {
        ErrorKind::NotFound => ("command not found".to_owned(), NOT_FOUND),
        _ => (error.to_string(), NOT_STARTED),
    };
    tell(&format!("loopscope: cannot run {}: {because}\n", program.display()));
    Ok(ExitCode::from(code))
}

fn set_environment(command: &mut Command, arguments: &RunArguments, found: &Preload, set: Option<&OsStr>) {
    let script = found.scripts.join(preload::SCRIPT);
    let (program, rest) = (command.get_program().to_owned(), &arguments.command[1..]);
    let current = std::env::current_dir().ok();
    let preloading = match permission::may_be_restricted(&program, rest, set, current.as_deref()) {
        true => Preloading::Permitted,
        false => Preloading::Plain,
    };
    command.env(options::VARIABLE, options::with_preload(set, &script, preloading));
    if let Some(addon) = &found.addon {
        command.env(ADDON_VARIABLE, addon);
    }
    if !arguments.quiet {
        command.env(ANNOUNCE_VARIABLE, "1");
    }
    if let Some(listen) = &arguments.listen {
        command.env("LOOPSCOPE_LISTEN", listen);
    }
    if let Some(warning) = arguments.warning {
        command.env("LOOPSCOPE_THRESHOLDS", format!("{}ms", warning.as_millis()));
    }
    if let Some(directory) = &arguments.incidents_dir {
        // The program may change its directory before it writes one.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        command.env("LOOPSCOPE_INCIDENTS_DIR", directory);
    }
}
