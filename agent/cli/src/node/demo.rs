//! `loopscope demo --node`: the demo's service on the Node that is installed, watched as any program would be.

use crate::args::{DemoArguments, RunArguments};
use crate::error::Failure;
use crate::node::{preload, run};
use clap::ValueEnum;
use serde_json::json;
use std::process::ExitCode;

const FILES: [(&str, &str); 1] = [("demo.cjs", include_str!("demo.cjs"))];

/// Becomes the demo. Returns only where that fails.
///
/// # Errors
/// As [`run::run`].
pub fn run(options: &DemoArguments) -> Result<ExitCode, Failure> {
    let script = preload::placed("demo", &FILES)?.join(FILES[0].0);
    let trouble = options.trouble.to_possible_value();
    let settings = json!({
        "host": options.listen.map_or("127.0.0.1".to_owned(), |address| address.ip().to_string()),
        "port": options.listen.map_or(0, |address| address.port()),
        "trouble": trouble.as_ref().map_or("none", |value| value.get_name()),
        "rate": options.rate,
        "forMs": options.duration.map(|duration| duration.as_millis() as u64),
    });
    let command = vec!["node".into(), script.into(), settings.to_string().into()];
    run::run(&RunArguments {
        listen: options.metrics_listen.map(|address| address.to_string()),
        warning: None,
        incidents_dir: options.incidents_dir.clone(),
        quiet: false,
        command,
    })
}
