//! Starting and stopping an agent.

use crate::AgentError;
use crate::address_source::{AddressSource, AddressSources};
use crate::capture::{Captures, set_captures};
use crate::environment::Environment;
use crate::server::{OpenServer, Server, ServerSettings};
use crate::settings::Settings;
use crate::state::AgentState;
use crate::thread::{AgentThread, Start};
use crate::watch::capture_budget::PER_SECOND;
use crate::watch::frame_source::{FrameSource, FrameSources};
use crate::watch::incident_action::Action;
use crate::watch::log::Log;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::control::{CRITICAL_NS, WARNING_NS};
use loopscope_probe::raw::switch;
use loopscope_report::incident::Incident;
use loopscope_report::metrics::ClassicBuckets;
use loopscope_report::metrics::compat_set::CompatSet;
use loopscope_report::model::thresholds::{ThresholdTable, Thresholds};
use loopscope_report::settings::Setting;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Reports of one loop within a minute, where nobody said how many.
const REPORTS_PER_MINUTE: u32 = 10;

/// Configures an agent. Get one from [`Agent::builder`].
#[derive(Clone, Debug)]
#[must_use = "an agent runs from `start` on"]
pub struct AgentBuilder {
    /// What is asked of its server.
    pub(crate) server: ServerSettings,
    /// What is asked of the thread that watches.
    pub(crate) settings: Settings,
    /// What the environment does not change.
    fixed: Vec<Setting>,
}

impl AgentBuilder {
    /// Sets how long a busy period is a stall, and how long a critical one: 100 ms and 1 s otherwise. From 2 ms up.
    pub fn thresholds(mut self, warning: Duration, critical: Duration) -> Self {
        self.settings.thresholds.all = thresholds(warning, critical);
        self
    }

    /// Sets both thresholds for the loops of this name: as [`AgentBuilder::thresholds`] otherwise. They can be changed
    /// while the program runs, by `loopscope threshold`.
    ///
    /// ```no_run
    /// use loopscope_agent::Agent;
    /// use std::time::Duration;
    ///
    /// let agent = Agent::builder()
    ///     .thresholds(Duration::from_millis(50), Duration::from_millis(500))
    ///     .loop_thresholds("batch", Duration::from_secs(1), Duration::from_secs(10))
    ///     .start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn loop_thresholds(mut self, name: &str, warning: Duration, critical: Duration) -> Self {
        self.settings.thresholds.set_one(name, thresholds(warning, critical));
        self
    }

    /// Sets how many incidents of one loop are logged within a minute: 10 otherwise. Further ones are recorded, captured and
    /// counted all the same, and one line tells how many there were.
    pub fn reports_per_minute(mut self, most: u32) -> Self {
        self.settings.reports_per_minute = most;
        self
    }

    /// Sets how many stacks of one loop are captured within a second, on average: 2 otherwise, of which those of two
    /// seconds may come at once. The first of a culprit is captured in any case; an incident without one names the
    /// last that has one.
    pub fn captures_per_second(mut self, most: u32) -> Self {
        self.settings.captures_per_second = most;
        self
    }

    /// Writes every incident to this directory, too, one JSON file each, from its detection on: it is there after the
    /// program was killed. The directory is made where it is not there; the newest 500 files of at most 64 MiB stay. A
    /// disk that is full or gone is told in the log, and incidents are kept in memory as always.
    ///
    /// ```no_run
    /// use loopscope_agent::Agent;
    ///
    /// // `loopscope incidents --dir /var/lib/app/incidents` lists them.
    /// let agent = Agent::builder().incidents_dir("/var/lib/app/incidents").start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn incidents_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.incidents_dir = Some(path.into());
        self
    }

    /// Says whether the last incidents are kept beside the pages, in the private runtime directory, so that
    /// `loopscope incidents` tells them after the program was killed or has started anew: they are otherwise. At most
    /// 64 of a process and 200 of a user, 8 MiB, for a day. The environment's `LOOPSCOPE_KEEP_INCIDENTS=off` wins.
    pub fn keep_incidents(mut self, are_kept: bool) -> Self {
        self.settings.keeps_incidents = are_kept;
        self
    }

    /// Does something about every incident that is logged, when it is found and when it is over. May be called several
    /// times. What is done is bounded, and never on a loop's thread.
    ///
    /// ```no_run
    /// use loopscope_agent::{Action, Agent};
    /// use std::sync::Arc;
    ///
    /// let program = Action::Command { program: "notify-oncall".to_owned(), args: vec!["--loop".to_owned()] };
    /// let count = Action::Call(Arc::new(|incident| {
    ///     if incident.is_over {
    ///         println!("{} lasted {} ns", incident.id, incident.duration_ns);
    ///     }
    /// }));
    /// let agent = Agent::builder().on_incident(program).on_incident(count).start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn on_incident(mut self, action: Action) -> Self {
        self.settings.actions.push(action);
        self
    }

    /// Says whether the stacks of loops' threads are captured: [`Captures::On`] otherwise. The environment can turn them off
    /// (`LOOPSCOPE_CAPTURES=off`), and not on.
    ///
    /// ```no_run
    /// use loopscope_agent::{Agent, Captures};
    ///
    /// // No signal is sent to the program's threads; stalls are reported without a stack.
    /// let agent = Agent::builder().captures(Captures::Off).start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn captures(mut self, captures: Captures) -> Self {
        self.settings.captures = captures;
        self
    }

    /// Declares settings that the environment must not change: for those, what this builder was told (or its default)
    /// holds, and a variable that is set all the same is logged. [`Setting::Switch`] and
    /// [`Setting::RuntimeDir`] are read before any agent starts, and cannot be fixed.
    ///
    /// ```no_run
    /// use loopscope_agent::{Agent, Captures, Setting};
    ///
    /// // Whatever LOOPSCOPE_CAPTURES says, no stack is captured.
    /// let agent = Agent::builder().captures(Captures::Off).fixed(&[Setting::Captures]).start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn fixed(mut self, settings: &[Setting]) -> Self {
        self.fixed.extend_from_slice(settings);
        self
    }

    /// Lets the loops of a runtime, by the name that their pages give it, supply frames that native stacks cannot
    /// tell: of the moment of each stack, which a sampler (`loopscope_stacks::set_sampler`) can read at that very
    /// instant. A source is asked about several loops at the same time, on several threads.
    ///
    /// ```no_run
    /// use loopscope_agent::{Agent, Frame, FrameSource, Moment};
    /// use std::sync::Arc;
    ///
    /// struct Scripts;
    ///
    /// impl FrameSource for Scripts {
    ///     fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
    ///         // What thread `moment.tid` interpreted then, leaf first; empty where it has gone on.
    ///         let function = format!("on_click of thread {}", moment.tid);
    ///         vec![Frame { function, file: Some("page.script".to_owned()), line: Some(7), ..Frame::default() }]
    ///     }
    /// }
    ///
    /// let agent = Agent::builder().frame_source("scripts", Arc::new(Scripts)).start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn frame_source(mut self, runtime: &str, source: Arc<dyn FrameSource>) -> Self {
        self.settings.frame_sources.insert(runtime.to_owned(), source);
        self
    }

    /// Lets a runtime name its own code on native stacks of its loops, in incidents and in sampled flamegraphs: what it
    /// compiled while it ran, which is in no module, and what it interprets.
    ///
    /// ```no_run
    /// use loopscope_agent::{AddressSource, AddressStack, Agent, Frame};
    /// use std::sync::Arc;
    ///
    /// struct Compiled;
    ///
    /// impl AddressSource for Compiled {
    ///     fn names_of(&self, stacks: &[AddressStack<'_>]) -> Vec<Vec<Option<Frame>>> {
    ///         let name = |address: u64| (address == 0x7f00_0000).then(|| "compiled".to_owned());
    ///         let frame = |address| name(address).map(|function| Frame { function, ..Frame::default() });
    ///         stacks.iter().map(|stack| stack.calls.iter().map(|call| frame(call.address)).collect()).collect()
    ///     }
    /// }
    ///
    /// let agent = Agent::builder().address_source("scripts", Arc::new(Compiled)).start()?;
    /// # drop(agent);
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn address_source(mut self, runtime: &str, source: Arc<dyn AddressSource>) -> Self {
        self.settings.address_sources.set(runtime, source);
        self
    }

    /// Starts the agent's threads. Returns when it watches and answers. The variables of the environment
    /// ([`Setting`]) are applied before; what is in force then is one line in the log.
    ///
    /// With `LOOPSCOPE=off` in the environment there is no thread and no listener, and the agent that is returned has no
    /// address: see [`loopscope_probe::raw::switch`].
    ///
    /// # Errors
    /// The address cannot be had, the thresholds make no sense, a variable of the environment cannot be used, this
    /// process has an agent already, or the system refuses a thread; the message says what to do.
    pub fn start(mut self) -> Result<Agent, AgentError> {
        if let Some(wrong) = self.settings.thresholds.pairs().find(|pair| !pair.are_sensible()) {
            let Thresholds { warning_ns, critical_ns } = wrong;
            return Err(AgentError::Thresholds { warning_ns, critical_ns });
        }
        let claim = Claim::take()?;
        if switch::is_off() {
            return Ok(Agent { threads: None, claim });
        }
        let mut environment = Environment::of_process(std::mem::take(&mut self.fixed));
        environment.apply(&mut self.settings);
        self.server.apply(&mut environment)?;
        let (applied, warnings) = environment.finish();
        let log = Log::start(self.settings.prints_first_stall)
            .map_err(|error| AgentError::System("a log thread", error))?;
        let sender = log.sender();
        let server = OpenServer::open(self.server, &sender)?;
        set_captures(self.settings.captures);
        warnings.into_iter().for_each(|line| sender.warn(line));
        if let Some(value) = switch::unknown_value() {
            sender.warn(format!(
                "LOOPSCOPE={value} is not a valid value and is ignored; LOOPSCOPE=off turns loopscope off"
            ));
        }
        let (address, socket) = (server.address_on_page(), server.socket_on_page());
        let in_force = in_force(&self.settings, address.as_ref(), &applied);
        let addresses = self.settings.address_sources.clone();
        let start = Start { settings: self.settings, address, socket, log: sender.clone() };
        let watch = AgentThread::start(start)?;
        let server = server.start(watch.handle.clone(), addresses, sender.clone())?;
        sender.start_line(in_force, !applied.is_empty());
        Ok(Agent { threads: Some(Threads { server, watch, log }), claim })
    }
}

/// A running agent: threads that watch every loop of this process, and answer. Dropping it stops them.
///
/// In a forked child the agent does not run, and dropping the handle does nothing; the child may start its own.
#[derive(Debug)]
#[must_use = "dropping the agent stops it"]
pub struct Agent {
    /// `None` with `LOOPSCOPE=off`.
    threads: Option<Threads>,
    claim: Claim,
}

/// In the order in which they end: who answers asks who watches, and both log.
#[derive(Debug)]
struct Threads {
    server: Server,
    watch: AgentThread,
    log: Log,
}

impl Agent {
    /// Begins to configure an agent.
    pub fn builder() -> AgentBuilder {
        AgentBuilder {
            server: ServerSettings::default(),
            settings: Settings {
                thresholds: ThresholdTable::new(Thresholds {
                    warning_ns: WARNING_NS,
                    critical_ns: CRITICAL_NS,
                }),
                reports_per_minute: REPORTS_PER_MINUTE,
                captures_per_second: PER_SECOND,
                incidents_dir: None,
                keeps_incidents: true,
                actions: Vec::new(),
                frame_sources: FrameSources::new(),
                address_sources: AddressSources::default(),
                captures: Captures::On,
                prints_first_stall: true,
                compat: CompatSet::default(),
                classic: ClassicBuckets::default(),
            },
            fixed: Vec::new(),
        }
    }

    /// Returns the incidents in memory, newest first; those under way as they are now. None with `LOOPSCOPE=off`, and where
    /// the agent's thread has had no processor for two seconds.
    ///
    /// ```no_run
    /// use loopscope_agent::Agent;
    ///
    /// let agent = Agent::builder().start()?;
    /// for incident in agent.incidents() {
    ///     println!("{} {}: {} ({} ns)", incident.id, incident.loop_words(), incident.summary, incident.duration_ns);
    /// }
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn incidents(&self) -> Vec<Arc<Incident>> {
        // In a forked child there is no thread to ask.
        let Some(threads) = self.threads.as_ref().filter(|_| self.claim.is_of_this_process()) else {
            return Vec::new();
        };
        threads.watch.handle.ask_after_look(AgentState::incidents).unwrap_or_default()
    }

    /// Stops the agent, and returns when its threads have ended.
    ///
    /// ```no_run
    /// use loopscope_agent::Agent;
    ///
    /// let agent = Agent::builder().start()?;
    /// // The program runs. At its end:
    /// agent.stop();
    /// # Ok::<(), loopscope_agent::AgentError>(())
    /// ```
    pub fn stop(self) {}

    /// Returns the server of a running agent.
    pub(crate) fn server(&self) -> Option<&Server> {
        self.threads.as_ref().map(|threads| &threads.server)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let is_own = self.claim.is_of_this_process();
        match self.threads.take() {
            // In a forked child they are the parent's.
            Some(Threads { server, watch, log }) if !is_own => {
                server.forget();
                watch.forget();
                std::mem::forget(log);
            }
            // Ends the threads before the claim is given back.
            threads => drop(threads),
        }
    }
}

/// The one agent's place in this process, by pid; given back when dropped.
#[derive(Debug)]
struct Claim(u32);

/// The process whose agent runs; 0 without one. No lock: in a forked child a thread that is not there could hold it.
static CLAIMED_BY: AtomicU32 = AtomicU32::new(0);

impl Claim {
    fn take() -> Result<Claim, AgentError> {
        let pid = std::process::id();
        match CLAIMED_BY.swap(pid, Ordering::AcqRel) == pid {
            true => Err(AgentError::AlreadyRunning),
            false => Ok(Claim(pid)),
        }
    }

    fn is_of_this_process(&self) -> bool {
        self.0 == std::process::id()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_of_this_process() {
            CLAIMED_BY.store(0, Ordering::Release);
        }
    }
}

/// Returns the line that says what an agent that starts has been told, by code and by the environment.
fn in_force(settings: &Settings, address: Option<&AgentAddress>, applied: &[&str]) -> String {
    let mut line = format!(
        "loopscope is watching the loops of this process (pid {}): {}; stall threshold {}; stacks {}",
        std::process::id(),
        address.map_or_else(|| "not listening".to_owned(), |address| format!("listening on {address}")),
        settings.thresholds,
        if settings.captures == Captures::Off { "off" } else { "on" },
    );
    if let Some(directory) = &settings.incidents_dir {
        line += &format!("; incidents in {}", directory.display());
    }
    if !applied.is_empty() {
        line += &format!("; from the environment: {}", applied.join(", "));
    }
    line
}

fn thresholds(warning: Duration, critical: Duration) -> Thresholds {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Thresholds { warning_ns: ns(warning), critical_ns: ns(critical) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever has to know why an agent does what it does finds in one line what was decided where.
    #[test]
    fn what_is_in_force_is_said_and_what_of_it_the_environment_decided() {
        let plain = Agent::builder().settings;
        let line = in_force(&plain, None, &[]);
        assert!(
            line.contains("not listening; stall threshold 100ms, ") && line.ends_with("; stacks on"),
            "{line}"
        );
        let incidents_dir = Some("/var/lib/shop".into());
        let told = Settings { captures: Captures::Off, incidents_dir, ..plain };
        let address = "http://127.0.0.1:9464".parse().unwrap();
        let line = in_force(&told, Some(&address), &["LOOPSCOPE_CAPTURES=off", "LOOPSCOPE_LISTEN=0"]);
        for part in [
            "listening on http://127.0.0.1:9464; ",
            "; stacks off; incidents in /var/lib/shop; from the environment: LOOPSCOPE_CAPTURES=off, LOOPSCOPE_LISTEN=0",
        ] {
            assert!(line.contains(part), "`{part}` is not in {line}");
        }
    }
}
