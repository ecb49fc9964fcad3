//! `loopscope serve`: the whole host over HTTP, until Ctrl-C.

use crate::args::ServeArguments;
use crate::error::Failure;
use crate::http::access;
use crate::interrupt::Interrupt;
use crate::output::print;
use loopscope_agent::Listen;
use loopscope_host::{ClassicBuckets, Host, LISTEN};
use std::time::Duration;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How long one wait for the end is; it goes on until there is one.
const WAIT: Duration = Duration::from_secs(3600);

/// Serves until it is asked to end.
///
/// # Errors
/// The address cannot be listened on, or the machine has no room for a thread.
pub fn run(options: &ServeArguments) -> Result<(), Failure> {
    let mut interrupt = Interrupt::install()?;
    log_to_stderr();
    let listen = options.listen.clone().unwrap_or(Listen::Exactly(LISTEN));
    let mut builder = Host::builder().listen(listen);
    for directory in &options.directories {
        builder = builder.directory(directory);
    }
    if let Some(keep) = options.keep {
        builder = builder.keep(keep);
    }
    if options.few_buckets {
        builder = builder.classic_buckets(ClassicBuckets::Few);
    }
    for name in &options.host_names {
        builder = builder.host_name(name);
    }
    if let Some(path) = &options.guard_token_file {
        builder = builder.token_file(path);
    }
    if let Some(path) = &options.web_config {
        builder = builder.web_config(path);
    }
    let access = access();
    if let Some(path) = access.token_file {
        builder = builder.agents_token_file(path);
    }
    if let Some(path) = access.ca_file {
        builder = builder.agents_authority(path);
    }
    let host = builder.start().map_err(|error| Failure::of_server(&error))?;
    let url = host.url();
    print(&format!(
        "Serving all loops of this host; Ctrl-C stops it.\n  metrics  {url}/metrics\n  targets  {url}/sd\n  more     \
          {url}/\n"
    ))?;
    while !interrupt.wait(WAIT) {}
    Ok(())
}

/// Warnings go to stderr: pages that are passed over, each once.
fn log_to_stderr() {
    let only_message = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        _ => Ok(()),
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .fmt_fields(only_message)
        .with_filter(LevelFilter::WARN);
    // Somebody else's subscriber would do, too.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}
