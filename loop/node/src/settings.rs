//! What a program's own `start` asks of the agent. The agent reads the environment itself, which wins.

use loopscope_agent::{AgentBuilder, Listen};
use std::time::Duration;

/// Where the agent answers, as `LOOPSCOPE_LISTEN` has it; the first free port from 9464 on otherwise.
pub const LISTEN: &str = "listen";
/// Where incidents are written; nowhere otherwise.
pub const INCIDENTS_DIRECTORY: &str = "incidents_dir";
/// From when on a loop that does not poll is told, in milliseconds: 100 otherwise.
pub const WARNING_MS: &str = "warning_ms";

/// What the program's own `start` says, and what is known of the process: a line each, `name=value`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    lines: String,
    /// What the process is called.
    pub process: String,
    /// The loop has turned before: loopscope came later.
    pub is_attached: bool,
    /// Nothing of the program has run before.
    pub is_preloaded: bool,
    /// Say where the agent answers.
    pub is_announced: bool,
}

impl Options {
    /// Reads what JavaScript gave.
    pub fn read(lines: &str, process: &str) -> Options {
        let has = |line: &str| lines.lines().any(|own| own == line);
        Options {
            is_attached: has("attached=true"),
            is_preloaded: has("preloaded=true"),
            is_announced: has("announce=true"),
            process: process.to_owned(),
            lines: lines.to_owned(),
        }
    }

    /// Returns what it says of an option.
    pub fn option(&self, name: &str) -> Option<String> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        self.lines.lines().find_map(value)
    }
}

/// Returns the line that says where to look at a process.
pub fn announcement(process: &str, pid: u32, url: Option<&str>) -> String {
    let commands = format!("loopscope top {pid}, loopscope incidents {pid}");
    match url.filter(|url| !url.is_empty()) {
        Some(url) => format!("watching {process}, pid {pid}: {url}/ in a browser, or {commands}"),
        None => format!("watching {process}, pid {pid}: {commands}"),
    }
}

/// How much longer than the warning a critical stall is.
const CRITICAL_FACTOR: u32 = 10;

/// Applies what the program says. Returns the lines about what of it means nothing.
pub fn apply(
    mut builder: AgentBuilder,
    option: impl Fn(&str) -> Option<String>,
) -> (AgentBuilder, Vec<String>) {
    let mut unknown = Vec::new();
    if let Some(text) = option(LISTEN) {
        match text.parse::<Listen>() {
            Ok(listen) => builder = builder.listen(listen),
            Err(error) => unknown.push(format!("{LISTEN}={text} is no address: {error}")),
        }
    }
    if let Some(text) = option(WARNING_MS) {
        match text.parse().ok().filter(|ms| *ms >= 2) {
            Some(ms) => {
                let warning = Duration::from_millis(ms);
                builder = builder.thresholds(warning, warning.saturating_mul(CRITICAL_FACTOR));
            }
            None => unknown.push(format!("{WARNING_MS}={text} is not a number of milliseconds, at least 2")),
        }
    }
    if let Some(directory) = option(INCIDENTS_DIRECTORY).filter(|directory| !directory.is_empty()) {
        builder = builder.incidents_dir(directory);
    }
    (builder, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of an address.
    fn said_of(address: &str) -> Vec<String> {
        let option = |name: &str| (name == LISTEN).then(|| address.to_owned());
        apply(loopscope_agent::Agent::builder(), option).1
    }

    #[test]
    fn an_address_is_what_it_is_in_the_environment() {
        for address in
            ["127.0.0.1:7000", "7000", ":7000", "localhost:7000", "unix:/run/app.sock", "off", "OFF"]
        {
            assert_eq!(said_of(address), Vec::<String>::new(), "{address}");
        }
        let said = said_of("unix:app.sock");
        assert_eq!(
            said,
            ["listen=unix:app.sock is no address: write it as 127.0.0.1:9464, 9464, unix:/path or off"]
        );
    }

    #[test]
    fn what_the_program_says_counts() {
        let options = Options::read("listen=off\nattached=true", "app.js");
        assert_eq!(options.option(LISTEN).as_deref(), Some("off"));
        assert_eq!(options.option("list"), None);
        assert!(options.is_attached && !options.is_announced);
    }

    #[test]
    fn what_means_nothing_is_said() {
        let option = |name: &str| match name {
            LISTEN => Some("nowhere".to_owned()),
            WARNING_MS => Some("1".to_owned()),
            _ => None,
        };
        let (_, unknown) = apply(loopscope_agent::Agent::builder(), option);
        assert_eq!(unknown.len(), 2, "{unknown:?}");
    }
}
