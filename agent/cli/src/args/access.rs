//! What every subcommand may need to be let in by an agent.

use clap::Args;
use loopscope_report::settings::Setting;
use std::path::PathBuf;

/// Credentials for agents that want them.
#[derive(Clone, Debug, Default, Args)]
pub struct AccessArguments {
    /// Bearer token file, for agents that require one [default: $LOOPSCOPE_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Access to agents")]
    pub token_file: Option<PathBuf>,
    /// CA certificate file (PEM), for agents with TLS [default: $LOOPSCOPE_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Access to agents")]
    pub ca_file: Option<PathBuf>,
}

impl AccessArguments {
    /// Fills from the environment what was not given.
    pub fn or_environment(self) -> AccessArguments {
        let file = |setting: Setting| {
            std::env::var_os(setting.variable()).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        AccessArguments {
            token_file: self.token_file.or_else(|| file(Setting::TokenFile)),
            ca_file: self.ca_file.or_else(|| file(Setting::CaFile)),
        }
    }
}
