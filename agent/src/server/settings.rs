//! What the program asked of its agent's server.

use crate::AgentError;
use crate::environment::{Environment, unusable};
use loopscope_http::bind::Credentials;
use loopscope_http::{Listen, ServerError};
use loopscope_report::settings::Setting;
use std::io;

/// Where and how it answers.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    pub listen: Listen,
    /// It starts without an address where this one cannot be had.
    pub is_address_optional: bool,
    pub credentials: Credentials,
    pub has_recorder: bool,
    pub has_process_metrics: bool,
    /// Variables of the environment that set credentials or a socket file: an error about those names them.
    pub variables: Vec<Setting>,
}

impl ServerSettings {
    /// Applies what the environment asks of the server.
    ///
    /// # Errors
    /// It asks for an address that is none.
    pub(crate) fn apply(&mut self, environment: &mut Environment) -> Result<(), AgentError> {
        if let Some(text) = environment.text(Setting::Listen) {
            self.listen = text.parse().map_err(|_| unusable(Setting::Listen, &text))?;
            self.variables.push(Setting::Listen);
        }
        if let Some(path) = environment.value(Setting::TokenFile) {
            self.credentials.token_file = Some(path.into());
            self.variables.push(Setting::TokenFile);
        }
        if let Some(path) = environment.value(Setting::WebConfig) {
            self.credentials.web_config = Some(path.into());
            self.variables.push(Setting::WebConfig);
        }
        Ok(())
    }

    /// Says of an error which variables set what it is about, if the environment did.
    pub(crate) fn explain(&self, error: ServerError) -> ServerError {
        let with = |why: String, settings: &[Setting]| {
            let set = self.variables.iter().filter(|setting| settings.contains(setting));
            let names: Vec<&str> = set.map(|setting| setting.variable()).collect();
            if names.is_empty() { why } else { format!("{why} (set by {})", names.join(" or ")) }
        };
        match error {
            ServerError::Credentials(why) => {
                ServerError::Credentials(with(why, &[Setting::TokenFile, Setting::WebConfig]))
            }
            ServerError::Socket(path, why) => ServerError::Socket(path, with(why, &[Setting::Listen])),
            ServerError::Listen(address, error) => {
                let text = with(error.to_string(), &[Setting::Listen]);
                ServerError::Listen(address, io::Error::new(error.kind(), text))
            }
            other => other,
        }
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
            variables: Vec::new(),
        }
    }
}
