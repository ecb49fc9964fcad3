//! What the program asked of its agent's server.

use crate::AgentError;
use crate::environment::{Environment, unusable};
use loopscope_http::Listen;
use loopscope_http::bind::Credentials;
use loopscope_report::settings::Setting;

/// Where and how it answers.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    pub listen: Listen,
    /// It starts without an address where this one cannot be had.
    pub is_address_optional: bool,
    pub credentials: Credentials,
    pub has_recorder: bool,
    pub has_process_metrics: bool,
}

impl ServerSettings {
    /// Applies what the environment asks of the server.
    ///
    /// # Errors
    /// It asks for an address that is none.
    pub(crate) fn apply(&mut self, environment: &mut Environment) -> Result<(), AgentError> {
        if let Some(text) = environment.text(Setting::Listen) {
            self.listen = text.parse().map_err(|_| unusable(Setting::Listen, &text))?;
        }
        if let Some(path) = environment.value(Setting::TokenFile) {
            self.credentials.token_file = Some(path.into());
        }
        if let Some(path) = environment.value(Setting::WebConfig) {
            self.credentials.web_config = Some(path.into());
        }
        Ok(())
    }
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        let (listen, credentials) = Default::default();
        ServerSettings {
            listen,
            is_address_optional: false,
            credentials,
            has_recorder: false,
            has_process_metrics: true,
        }
    }
}
