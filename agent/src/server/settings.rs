//! What the program asked of its agent's server.

use loopscope_http::Listen;
use loopscope_http::bind::Credentials;

/// Where and how it answers.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    pub listen: Listen,
    pub credentials: Credentials,
    pub has_recorder: bool,
    pub has_process_metrics: bool,
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        let (listen, credentials) = Default::default();
        ServerSettings { listen, credentials, has_recorder: false, has_process_metrics: true }
    }
}
