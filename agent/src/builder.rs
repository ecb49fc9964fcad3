//! Starting and stopping an agent.

use crate::AgentError;
use crate::background::Background;
use crate::capture::{Captures, set_captures};
use crate::export::compat::{Compat, CompatSet};
use crate::model::thresholds::{ThresholdTable, Thresholds};
use crate::settings::Settings;
use crate::thread::{Start, begin};
use crate::watch::action::Action;
use crate::watch::frames::{FrameSource, FrameSources};
use crate::watch::log::Log;
use crate::web::entrance::{Credentials, Entrance, Listen};
use loopscope_probe::control::{CRITICAL_NS, WARNING_NS};
use loopscope_probe::switch;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Reports of one loop within a minute, where nobody said how many.
const REPORTS_PER_MINUTE: u32 = 10;

/// Configures an agent. Get one from [`Agent::builder`].
#[derive(Clone, Debug)]
#[must_use = "an agent runs from `start` on"]
pub struct AgentBuilder {
    listen: Listen,
    credentials: Credentials,
    settings: Settings,
}

impl AgentBuilder {
    /// Sets where the agent answers; [`Listen::default`] otherwise.
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// Wants the token of this file (`Authorization: Bearer TOKEN`) from who asks for more than metrics and health:
    /// incidents, captures, thresholds, the live page's data. Without it, these are answered on loopback only, to the user
    /// that this process runs as and to root. By the socket file beside the pages these two need none. Nobody but its owner may be able to
    /// read the file; a changed one is read again.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials.token_file = Some(path.into());
        self
    }

    /// Serves as a web configuration file says, in the format of Prometheus' own servers: TLS, client certificates,
    /// users with passwords, headers. Needs the feature `web-config`. Changed files come into force, save what asks
    /// clients for less than before: TLS, wanted certificates and users are taken away by a restart only.
    pub fn web_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials.web_config = Some(path.into());
        self
    }

    /// Lets clients call the agent by this name, too, such as the host's own name: where it listens on loopback, only IP
    /// addresses and `localhost` are accepted as `Host` otherwise, because whoever gives names can have any other one lead
    /// here. May be called several times; without a port.
    pub fn host_name(mut self, name: &str) -> Self {
        self.credentials.host_names.push(name.to_owned());
        self
    }

    /// Sets how long a busy stretch is a stall, and how long a critical one: 100 ms and 1 s otherwise. From 5 ms up.
    pub fn thresholds(mut self, warning: Duration, critical: Duration) -> Self {
        self.settings.thresholds.all = thresholds(warning, critical);
        self
    }

    /// Sets both thresholds for the loops of this name: as [`AgentBuilder::thresholds`] otherwise. They can be changed
    /// while the program runs, by `loopscope threshold`.
    pub fn loop_thresholds(mut self, name: &str, warning: Duration, critical: Duration) -> Self {
        self.settings.thresholds.set_one(name, thresholds(warning, critical));
        self
    }

    /// Sets how many incidents of one loop are logged and captured within a minute: 10 otherwise. Further ones are
    /// recorded and counted all the same, and one line tells how many there were.
    pub fn reports_per_minute(mut self, most: u32) -> Self {
        self.settings.reports_per_minute = most;
        self
    }

    /// Writes every incident to this directory, too, one JSON file each, from its detection on: it is there after the
    /// program was killed. The directory is made where it is not there; the newest 500 files of at most 64 MiB stay. A
    /// disk that is full or gone is told in the log, and incidents are kept in memory as always.
    pub fn incidents_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.incidents_dir = Some(path.into());
        self
    }

    /// Does something about every incident that is logged, when it is found and when it is over. May be called several
    /// times. What is done is bounded, and never on a loop's thread.
    pub fn on_incident(mut self, action: Action) -> Self {
        self.settings.actions.push(action);
        self
    }

    /// Says whether the stacks of loops' threads are captured: [`Captures::On`] otherwise. The environment's
    /// `LOOPSCOPE_CAPTURES=off` wins.
    pub fn captures(mut self, captures: Captures) -> Self {
        self.settings.captures = captures;
        self
    }

    /// Lets the loops of a runtime, by the name that their pages give it, supply frames that native stacks cannot tell.
    pub fn frame_source(mut self, runtime: &str, source: Arc<dyn FrameSource>) -> Self {
        self.settings.frame_sources.insert(runtime.to_owned(), source);
        self
    }

    /// Says whether to install a recorder for the `metrics` facade, so that the program's own metrics are on the same
    /// page: false otherwise, because a process has only one, and it is the program's to choose. A program that has
    /// installed one of its own keeps it, which is said in its log. The recorder stays when the agent ends. Recording waits
    /// for the agent only where a metric is met for the first time, while the page is written.
    pub fn install_recorder(mut self, is_wanted: bool) -> Self {
        self.settings.has_recorder = is_wanted;
        self
    }

    /// Says whether the page has the customary `process_*` metrics: true otherwise. Set it to false where another
    /// exporter in the program has them.
    pub fn process_metrics(mut self, is_wanted: bool) -> Self {
        self.settings.has_process_metrics = is_wanted;
        self
    }

    /// Writes metrics under the names of another exporter, too, for dashboards that exist already: none otherwise. May
    /// be called for several.
    pub fn compat(mut self, compat: Compat) -> Self {
        self.settings.compat.add(compat);
        self
    }

    /// Starts the agent's thread. Returns when it watches and answers.
    ///
    /// With `LOOPSCOPE=off` in the environment there is no thread and no listener, and the agent that is returned has no
    /// address: see [`loopscope_probe::switch`].
    ///
    /// # Errors
    /// The address cannot be had, the thresholds make no sense, this process has an agent already, or the system
    /// refuses a thread; the message says what to do.
    pub fn start(self) -> Result<Agent, AgentError> {
        if let Some(wrong) = self.settings.thresholds.pairs().find(|pair| !pair.are_sensible()) {
            let Thresholds { warning_ns, critical_ns } = wrong;
            return Err(AgentError::Thresholds { warning_ns, critical_ns });
        }
        let claim = Claim::take()?;
        if switch::is_off() {
            return Ok(Agent { address: None, url: None, background: None, claim });
        }
        let entrance = Entrance::open(&self.listen, &self.credentials)?;
        entrance.as_ref().map_or(Ok(()), Entrance::check_for_page)?;
        let address = entrance.as_ref().and_then(Entrance::address);
        let url = entrance.as_ref().map(|entrance| entrance.agent_address().to_string());
        let (captures, unknown) = self.settings.captures.with_environment();
        set_captures(captures);
        let mut log = Log::start().map_err(|error| AgentError::System("a log thread", error))?;
        unknown.into_iter().for_each(|line| log.warn(line));
        if let Some(value) = switch::unknown_value() {
            log.warn(format!(
                "LOOPSCOPE={value} means nothing, so loopscope is on; LOOPSCOPE=off turns it off"
            ));
        }
        let start = Start { settings: self.settings, entrance, log };
        let background = Background::start("loopscope-agent", move || begin(start))?;
        Ok(Agent { address, url, background: Some(background), claim })
    }
}

/// A running agent: a thread that watches every loop of this process. Dropping it stops the thread.
///
/// In a forked child the agent does not run, and dropping the handle does nothing; the child may start its own.
#[derive(Debug)]
#[must_use = "dropping the agent stops it"]
pub struct Agent {
    address: Option<SocketAddr>,
    url: Option<String>,
    background: Option<Background>,
    claim: Claim,
}

impl Agent {
    /// Begins to configure an agent.
    pub fn builder() -> AgentBuilder {
        AgentBuilder {
            listen: Listen::default(),
            credentials: Credentials::default(),
            settings: Settings {
                thresholds: ThresholdTable::new(Thresholds {
                    warning_ns: WARNING_NS,
                    critical_ns: CRITICAL_NS,
                }),
                reports_per_minute: REPORTS_PER_MINUTE,
                incidents_dir: None,
                actions: Vec::new(),
                frame_sources: FrameSources::new(),
                captures: Captures::On,
                has_recorder: false,
                has_process_metrics: true,
                compat: CompatSet::default(),
            },
        }
    }

    /// Returns the address at which the agent answers, `None` where at a socket file or nowhere, as with `LOOPSCOPE=off`.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns where the agent answers: `http://127.0.0.1:9464`, `https://...`, `unix:/path`; `None` where nowhere.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Stops the agent, and returns when its thread has ended.
    pub fn stop(self) {}
}

impl Drop for Agent {
    fn drop(&mut self) {
        match self.background.take() {
            Some(background) if !self.claim.is_of_this_process() => background.forget(),
            // Ends the thread before the claim is given back.
            background => drop(background),
        }
    }
}

/// The one agent's place in this process, by pid; given back when dropped.
#[derive(Debug)]
struct Claim(u32);

static CLAIMED_BY: Mutex<u32> = Mutex::new(0);

impl Claim {
    fn take() -> Result<Claim, AgentError> {
        let (mut holder, pid) =
            (CLAIMED_BY.lock().unwrap_or_else(PoisonError::into_inner), std::process::id());
        if *holder == pid {
            return Err(AgentError::AlreadyRunning);
        }
        *holder = pid;
        Ok(Claim(pid))
    }

    fn is_of_this_process(&self) -> bool {
        self.0 == std::process::id()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_of_this_process() {
            *CLAIMED_BY.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        }
    }
}

fn thresholds(warning: Duration, critical: Duration) -> Thresholds {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Thresholds { warning_ns: ns(warning), critical_ns: ns(critical) }
}
