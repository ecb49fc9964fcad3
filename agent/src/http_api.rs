//! What programs ask of an agent that answers over HTTP. Needs the feature `http`, as by default.

use crate::builder::{Agent, AgentBuilder};
use loopscope_http::Listen;
use loopscope_report::metrics::{ClassicBuckets, Compat};
use std::net::SocketAddr;
use std::path::PathBuf;

impl AgentBuilder {
    /// Sets where the agent answers; [`Listen::default`] otherwise.
    ///
    /// ```no_run
    /// use loopscope_agent::{Agent, Listen};
    ///
    /// let agent = Agent::builder().listen(Listen::Exactly(([127, 0, 0, 1], 9500).into())).start()?;
    /// assert_eq!(agent.url(), Some("http://127.0.0.1:9500"));
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn listen(mut self, listen: Listen) -> Self {
        self.server.listen = listen;
        self
    }

    /// Says whether the agent starts without an address where it cannot have the one that was asked for: it then watches, and logs
    /// a warning; only commands of its own user can ask it, by its socket file. False otherwise: [`start`](AgentBuilder::start) returns the error. The
    /// default address, which nobody asked for, never makes it fail.
    pub fn address_is_optional(mut self, is_optional: bool) -> Self {
        self.server.is_address_optional = is_optional;
        self
    }

    /// Wants the token of this file (`Authorization: Bearer TOKEN`) from who asks for more than metrics and health:
    /// incidents, captures, thresholds, the live page's data. Without it, these are answered on loopback only, to the user
    /// that this process runs as and to root. By the socket file beside the pages these two need none. Nobody but its owner may be able to
    /// read the file; a changed one is read again.
    ///
    /// ```no_run
    /// use loopscope_agent::{Agent, Listen};
    ///
    /// let everywhere = Listen::Exactly(([0, 0, 0, 0], 9464).into());
    /// let agent = Agent::builder().listen(everywhere).token_file("/run/secrets/loopscope").start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.credentials.token_file = Some(path.into());
        self
    }

    /// Serves as a web configuration file says, in the format of Prometheus' own servers: TLS, client certificates,
    /// users with passwords, headers. Needs the feature `web-config`. Changed files come into force, save what asks
    /// clients for less than before: TLS, wanted certificates and users are taken away by a restart only.
    pub fn web_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.credentials.web_config = Some(path.into());
        self
    }

    /// Lets clients call the agent by this name, too, such as the host's own name: where it listens on loopback, only IP
    /// addresses and `localhost` are accepted as `Host` otherwise, because whoever gives names can have any other one lead
    /// here. May be called several times; without a port.
    pub fn host_name(mut self, name: &str) -> Self {
        self.server.credentials.host_names.push(name.to_owned());
        self
    }

    /// Says whether the page has the customary `process_*` metrics: true otherwise. Set it to false where another
    /// exporter in the program has them.
    pub fn process_metrics(mut self, is_wanted: bool) -> Self {
        self.server.has_process_metrics = is_wanted;
        self
    }

    /// Writes metrics under the names of another exporter, too, for dashboards that exist already: none otherwise. May
    /// be called for several.
    ///
    /// ```no_run
    /// use loopscope_agent::{Agent, Compat};
    ///
    /// let agent = Agent::builder().compat(Compat::PromClient).start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn compat(mut self, compat: Compat) -> Self {
        self.settings.compat.add(compat);
        self
    }

    /// Says which classic bounds histograms of durations have: all of them otherwise. With few, a page has a third to a half
    /// fewer samples; scrapers of native histograms lose nothing by it.
    pub fn classic_buckets(mut self, wanted: ClassicBuckets) -> Self {
        self.settings.classic = wanted;
        self
    }
}

impl Agent {
    /// Returns the address at which the agent answers, `None` where at a socket file or nowhere, as with `LOOPSCOPE=off`.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server()?.address
    }

    /// Returns where the agent answers: `http://127.0.0.1:9464`, `https://...`, `unix:/path`; `None` where nowhere.
    pub fn url(&self) -> Option<&str> {
        self.server()?.url.as_deref()
    }
}
