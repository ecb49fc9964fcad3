//! Arguments and help of `loopscope run`.

use crate::duration;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const RUN_HELP: &str = "\
Replaces itself with the command (exec), so pid, signals and exit code are the command's own. NODE_OPTIONS makes \
every Node process load the addon first: the command, the processes it starts, workers, clusters, and what `npm \
start` runs. npm, npx, yarn, pnpm and corepack themselves are not watched. Each process prints its live page's \
address.
The addon is looked up in LOOPSCOPE_NODE_ADDON; in the directory of this executable, as loopscope.node, \
libloopscope_node.so, ../lib/loopscope/loopscope.node or ../node/libloopscope_node.so; then as the package \
loopscope in node_modules of this directory and its parents.
If it cannot be loaded (unsupported system, or a process that may not load addons), a line says why, and the \
program runs without it.

Examples:
  loopscope run -- node app.js
  loopscope run -- npm start
  loopscope run --listen 127.0.0.1:9464 --warning 50ms -- node --import tsx app.ts

Exit codes:
  0    the exit code of the command itself, like any other
  1    the addon was not found
  2    invalid command line
  126  the command cannot be executed
  127  command not found";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub struct RunArguments {
    /// Address of each process's agent: 127.0.0.1:9464, unix:/path or off [default: next free port from 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Option<String>,
    /// Stall threshold: how long a loop may go without polling; critical is ten times this. Replaces LOOPSCOPE_THRESHOLDS [default: 100ms]
    #[arg(long, value_name = "DURATION", value_parser = parse_warning)]
    pub warning: Option<Duration>,
    /// Also write every incident to this directory, for `loopscope incidents --dir`
    #[arg(long, value_name = "DIRECTORY")]
    pub incidents_dir: Option<PathBuf>,
    /// Do not print the address of each live page
    #[arg(long)]
    pub quiet: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

pub(super) fn parse_listen(text: &str) -> Result<String, String> {
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(text.to_owned()),
        Some(path) => Err(format!("give the full path of a socket file: unix:/{path}")),
        None if text == "off" => Ok(text.to_owned()),
        None => super::demo::parse_address(text).map(|address| address.to_string()),
    }
}

/// As short as the agent takes it.
const WARNING_MIN: Duration = Duration::from_millis(2);

pub(super) fn parse_warning(text: &str) -> Result<Duration, String> {
    let warning = duration::parse(text)?;
    match warning >= WARNING_MIN {
        true => Ok(warning),
        false => Err("must be at least 2ms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_the_addon_takes() {
        for (text, read) in [
            ("9464", Ok("127.0.0.1:9464")),
            ("off", Ok("off")),
            ("unix:/run/a.sock", Ok("unix:/run/a.sock")),
            ("unix:a.sock", Err(())),
            ("somewhere", Err(())),
        ] {
            assert_eq!(parse_listen(text).as_deref().map_err(|_| ()), read, "{text}");
        }
    }
}
