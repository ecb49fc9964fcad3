//! Starting and stopping the server of a whole host.

use crate::access::{Access, AccessFiles};
use crate::log::Log;
use crate::loop_registry::LoopRegistry;
use crate::state::HostState;
use crate::thread::{Start, begin};
use loopscope_http::bind::{BoundServer, Credentials, Listen};
use loopscope_http::runtime_thread::RuntimeThread;
use loopscope_http::{ServerError, process};
use loopscope_probe::raw::directory::runtime_directory;
use loopscope_report::metrics::ClassicBuckets;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where it listens where nobody said: one port below the agents', which take the next free one from 9464 upwards, so that
/// neither takes the other's.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9463);

/// How long the counters of what has ended stay, where nobody said: longer than two scrapes at the longest interval that
/// is customary, a minute.
pub const KEEP: Duration = Duration::from_secs(150);

/// Descriptors that are not for pages: connections in both directions, and what any process has open.
const OTHER_FILES: u64 = 224;

/// Most loops, whatever the limit of open files.
const LOOPS_MAX: u64 = 4_096;

/// Configures the server of a host. Get one from [`Host::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is served before `start`"]
pub struct HostBuilder {
    listen: Listen,
    credentials: Credentials,
    access: AccessFiles,
    directories: Vec<PathBuf>,
    keep: Duration,
    classic: ClassicBuckets,
}

impl HostBuilder {
    /// Sets where it answers: exactly at [`LISTEN`] otherwise.
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// Wants the token in this file for what tells much, as `AgentBuilder::token_file`
    /// says.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials.token_file = Some(path.into());
        self
    }

    /// Sets TLS, users and headers, as `AgentBuilder::web_config` says.
    pub fn web_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials.web_config = Some(path.into());
        self
    }

    /// Lets clients call the server by this name, too, such as the host's own name: where it listens on loopback, only IP
    /// addresses and `localhost` are accepted as `Host` otherwise, because whoever gives names can have any other one lead
    /// here. May be called several times; without a port.
    pub fn host_name(mut self, name: &str) -> Self {
        self.credentials.host_names.push(name.to_owned());
        self
    }

    /// Shows the token in this file to agents that want one, when captures and incidents are asked of them: to those that
    /// [`HostBuilder::agents_authority`] vouches for, and to nobody else. Agents of this user's processes need none: they
    /// are asked by their socket files. A changed file is read again. This server must then ask for something itself: a
    /// token, users, or a socket file.
    pub fn agents_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.token = Some(path.into());
        self
    }

    /// Asks also agents with TLS, if an authority of this file (PEM) signed their certificates. Needs the feature
    /// `web-config`.
    pub fn agents_authority(mut self, path: impl Into<PathBuf>) -> Self {
        self.access.authority = Some(path.into());
        self
    }

    /// Adds a directory of pages; this user's runtime directory alone otherwise. It need not exist yet. A `*` in it stands
    /// for any characters in a name, as in `/run/user/*/loopscope`: those of all users, also of ones who log in later.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directories.push(path.into());
        self
    }

    /// Sets how long the counters of loops and processes that have ended stay: [`KEEP`] otherwise.
    pub fn keep(mut self, length: Duration) -> Self {
        self.keep = length;
        self
    }

    /// Says which classic bounds histograms of durations have, as `AgentBuilder::classic_buckets` does.
    pub fn classic_buckets(mut self, wanted: ClassicBuckets) -> Self {
        self.classic = wanted;
        self
    }

    /// Starts the server's thread. Returns when it has looked at the pages once, and answers.
    ///
    /// # Errors
    /// The address cannot be had, the credentials cannot be used, or the system refuses a thread; the message says what to
    /// do.
    pub fn start(self) -> Result<Host, ServerError> {
        let Some(entrance) = BoundServer::open(&self.listen, &self.credentials)? else {
            return Err(ServerError::System("a server", io::Error::other("it was to listen nowhere")));
        };
        let access = Access::read(&self.access).map_err(ServerError::Credentials)?;
        let access = access.of_server(&entrance.auth).map_err(ServerError::Credentials)?;
        let (address, url) = (entrance.address(), entrance.agent_address().to_string());
        let mut directories = self.directories;
        if directories.is_empty() {
            directories.push(runtime_directory());
        }
        let keep_ns = u64::try_from(self.keep.as_nanos()).unwrap_or(u64::MAX);
        let files_max = process::read().map_or(1_024, |process| process.max_fds);
        let loops_max = files_max.saturating_sub(OTHER_FILES).clamp(64, LOOPS_MAX);
        let mut state = HostState::new(LoopRegistry::new(directories, keep_ns, loops_max as usize));
        state.accounts.agent.classic = self.classic;
        let log = Log::start().map_err(|error| ServerError::System("a log thread", error))?;
        let start = Start { state, entrance, access, log };
        let background = RuntimeThread::start("loopscope-host", move || begin(start))?;
        Ok(Host { address, url, _background: background })
    }
}

/// A running server: a thread that follows every loop of this host. Dropping it stops the thread.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Host {
    address: Option<SocketAddr>,
    url: String,
    _background: RuntimeThread,
}

impl Host {
    /// Begins to configure a server.
    pub fn builder() -> HostBuilder {
        HostBuilder {
            listen: Listen::Exactly(LISTEN),
            credentials: Credentials::default(),
            access: AccessFiles::default(),
            directories: Vec::new(),
            keep: KEEP,
            classic: ClassicBuckets::default(),
        }
    }

    /// Returns the address that it answers on, `None` for a socket file.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns what to call it with: `http://127.0.0.1:9463`, `https://127.0.0.1:9463`, `unix:/path`.
    pub fn url(&self) -> &str {
        &self.url
    }
}
