//! Arguments and help of `loopscope healthy`.

use clap::Args;

const HEALTHY_HELP: &str = "\
Asks for /-/healthy and says what came back: the health check of a container that has no shell and no curl.
It is about the agent and not about the loops: a program whose loop is stalled is watched all the better by a healthy \
agent. Programs that should be taken out of service while they stall are asked for /-/ready.

Examples:
  loopscope healthy
  loopscope healthy http://127.0.0.1:9465

Exit codes:
  0  it is healthy
  1  nobody answers there, or not with 200
  2  the command line cannot be used";

/// Arguments of `healthy`.
#[derive(Debug, Args)]
#[command(after_help = HEALTHY_HELP)]
pub struct HealthyArguments {
    /// Where it listens
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub url: String,
}
