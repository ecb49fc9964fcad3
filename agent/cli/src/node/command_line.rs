//! Node's own options of a process: those of NODE_OPTIONS, then those on its command line before the script.
//!
//! What follows the script is the program's, and may look the same. So which options take the next word as their value has to be
//! known: it is listed here, as Node 18 to 26 have it.

use crate::node::options;
use std::ffi::{OsStr, OsString};

/// Options whose value is the next word where none is behind an equals sign.
const WITH_VALUE: [&str; 86] = [
    "--allow-fs-read",
    "--allow-fs-write",
    "--bench-isolation",
    "--bench-name-pattern",
    "--bench-reporter",
    "--bench-reporter-destination",
    "--bench-samples",
    "--bench-warmup",
    "--build-sea",
    "--build-snapshot-config",
    "--conditions",
    "--config-file",
    "--cpu-prof-dir",
    "--cpu-prof-interval",
    "--cpu-prof-name",
    "--diagnostic-dir",
    "--disable-proto",
    "--disable-warning",
    "--dns-result-order",
    "--env-file",
    "--env-file-if-exists",
    "--eval",
    "--experimental-default-type",
    "--experimental-loader",
    "--experimental-package-map",
    "--experimental-policy",
    "--experimental-sea-config",
    "--experimental-specifier-resolution",
    "--experimental-test-tag-filter",
    "--heap-prof-dir",
    "--heap-prof-interval",
    "--heap-prof-name",
    "--heapsnapshot-near-heap-limit",
    "--heapsnapshot-signal",
    "--icu-data-dir",
    "--import",
    "--input-type",
    "--inspect-port",
    "--inspect-publish-uid",
    "--localstorage-file",
    "--max-http-header-size",
    "--max-old-space-size-percentage",
    "--network-family-autoselection-attempt-timeout",
    "--openssl-config",
    "--policy-integrity",
    "--print",
    "--process-timeout",
    "--redirect-warnings",
    "--report-dir",
    "--report-filename",
    "--report-signal",
    "--require",
    "--run",
    "--secure-heap",
    "--secure-heap-min",
    "--security-revert",
    "--snapshot-blob",
    "--stack-trace-limit",
    "--test-concurrency",
    "--test-coverage-branches",
    "--test-coverage-exclude",
    "--test-coverage-functions",
    "--test-coverage-include",
    "--test-coverage-lines",
    "--test-global-setup",
    "--test-isolation",
    "--test-name-pattern",
    "--test-random-seed",
    "--test-reporter",
    "--test-reporter-destination",
    "--test-rerun-failures",
    "--test-shard",
    "--test-skip-pattern",
    "--test-timeout",
    "--title",
    "--tls-cipher-list",
    "--tls-keylog",
    "--trace-event-categories",
    "--trace-event-file-pattern",
    "--trace-require-module",
    "--unhandled-rejections",
    "--use-largepages",
    "--v8-pool-size",
    "--vfs-load",
    "--watch-kill-signal",
    "--watch-path",
];

/// Other names of these options.
const ALIASES: [(&str, &str); 12] = [
    ("-r", "--require"),
    ("-e", "--eval"),
    ("-p", "--print"),
    ("-pe", "--print"),
    ("-C", "--conditions"),
    ("--loader", "--experimental-loader"),
    ("--debug-port", "--inspect-port"),
    ("--report-directory", "--report-dir"),
    ("--security-reverts", "--security-revert"),
    ("--es-module-specifier-resolution", "--experimental-specifier-resolution"),
    ("--experimental-test-isolation", "--test-isolation"),
    ("--experimental-config-file", "--config-file"),
];

/// The options that a process of Node's was given, in their order.
#[derive(Debug)]
pub struct CommandLine {
    options: Vec<(String, Option<String>)>,
}

impl CommandLine {
    /// Reads them: `arguments` is what follows Node's own name, `set` the variable NODE_OPTIONS.
    pub fn new(arguments: &[OsString], set: Option<&OsStr>) -> CommandLine {
        let mut line = CommandLine { options: Vec::new() };
        line.read(set.map(options::words).unwrap_or_default());
        line.read(arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect());
        line
    }

    /// Tells whether an option that is on or off is on; the last one counts.
    pub fn has(&self, name: &str) -> bool {
        let off = name.replacen("--", "--no-", 1);
        let is_about = |given: &&(String, Option<String>)| given.0 == name || given.0 == off;
        self.options.iter().rev().find(is_about).is_some_and(|(given, _)| *given == name)
    }

    /// Returns the options with their values, where they have one.
    pub fn options(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    fn read(&mut self, words: Vec<String>) {
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next_if(|word| word.starts_with('-') && word != "-" && word != "--") {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (canonical(name), Some(value.to_owned())),
                None => (canonical(&word), None),
            };
            let is_apart = value.is_none() && WITH_VALUE.contains(&name.as_str());
            let apart = if is_apart { words.next_if(|next| !next.starts_with('-')) } else { None };
            self.options.push((name, value.or(apart)));
        }
    }
}

/// Node takes underscores for dashes.
fn canonical(name: &str) -> String {
    let name = name.replace('_', "-");
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, full)| (*full).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], set: Option<&str>) -> Vec<String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let line = CommandLine::new(&arguments, set.map(OsStr::new));
        line.options().map(|(name, value)| format!("{name} {}", value.unwrap_or("-"))).collect()
    }

    #[test]
    fn options_of_the_program_are_not_those_of_node() {
        for (arguments, expected) in [
            (&["app.js", "--inspect"][..], &[][..]),
            (&["--", "--inspect"], &[]),
            (&["-", "--inspect"], &[]),
            (&["--inspect", "app.js", "--permission"], &["--inspect -"]),
            (&["-r", "./x.cjs", "--inspect", "app.js"], &["--require ./x.cjs", "--inspect -"]),
            (&["--allow-fs-read", "/srv", "--allow_addons"], &["--allow-fs-read /srv", "--allow-addons -"]),
            (&["--title=-x", "--title", "-x"], &["--title -x", "--title -", "-x -"]),
            (&["-e", "1", "--permission", "app"], &["--eval 1", "--permission -"]),
        ] {
            assert_eq!(read(arguments, None), expected, "{arguments:?}");
        }
    }

    #[test]
    fn the_variable_comes_first_and_the_last_option_counts() {
        let line = ["--no-permission".into(), "--allow-addons".into()];
        let line = CommandLine::new(&line, Some(OsStr::new("--permission \"--title=a b\"")));
        assert!(!line.has("--permission") && line.has("--allow-addons"));
        assert_eq!(line.options().next(), Some(("--permission", None)));
        assert_eq!(line.options().nth(1), Some(("--title", Some("a b"))));
    }
}
