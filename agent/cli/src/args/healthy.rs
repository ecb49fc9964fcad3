//! Arguments and help of `loopscope healthy`.

use clap::Args;

const HEALTHY_HELP: &str = "\
Requests /-/healthy and prints the answer: a health check for containers without a shell or curl.
It checks the agent, not the loops: the agent of a program whose loop is stalled is healthy. To take a program out \
of service while it stalls, check /-/ready instead.

Examples:
  loopscope healthy
  loopscope healthy http://127.0.0.1:9465

Exit codes:
  0  healthy
  1  no answer, or one other than 200
  2  invalid command line";

/// Arguments of `healthy`.
#[derive(Debug, Args)]
#[command(after_help = HEALTHY_HELP)]
pub struct HealthyArguments {
    /// URL of the agent
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub url: String,
}
