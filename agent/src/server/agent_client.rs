//! Asks the agent's thread for what is to be answered, and makes pages and lines of it.

use crate::handle::NoAnswer;
use crate::server::{ServerSettings, install_recorder};
use crate::state::{AgentState, Stalled};
use crate::thread::AgentHandle;
use crate::watch::log::LogSender;
use loopscope_http::health::Health;
use loopscope_http::paths::PATHS;
use loopscope_http::{process, recorder};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::printable::printable;
use loopscope_probe::raw::proc::{Sched, own_sched_path};
use loopscope_probe::{Clock, Ticks};
use loopscope_report::duration::show_ns;
use loopscope_report::incident::Incident;
use loopscope_report::live::{LoopSample, PastView};
use loopscope_report::metrics::format::MetricsFormat;
use loopscope_report::metrics::loop_metrics::AgentMetrics;
use loopscope_report::metrics::render::render;
use loopscope_report::metrics::self_metrics::SelfMetrics;
use loopscope_report::model::threshold_change::{ThresholdChange, ThresholdList};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The agent, as its server sees it. On the server's thread only; never across an await.
pub(crate) struct AgentClient {
    agent: AgentHandle,
    log: LogSender,
    clock: Clock,
    started: Ticks,
    /// What this thread counts of its own: answers, pages, panics.
    accounts: Mutex<SelfMetrics>,
    /// Where the processor time of this thread can be read.
    cpu: Option<PathBuf>,
    recorder: Option<recorder::Handle>,
    has_process_metrics: bool,
}

impl AgentClient {
    /// On the server's thread.
    pub(crate) fn new(agent: AgentHandle, log: LogSender, settings: &ServerSettings) -> AgentClient {
        let clock = Clock::monotonic();
        AgentClient {
            agent,
            recorder: if settings.has_recorder { install_recorder(&log) } else { None },
            log,
            started: clock.now(),
            clock,
            accounts: Mutex::new(SelfMetrics::new(&PATHS, AgentMetrics::default())),
            cpu: own_sched_path(),
            has_process_metrics: settings.has_process_metrics,
        }
    }

    /// Tells whether the program's own metrics are gathered here.
    pub(crate) fn has_recorder(&self) -> bool {
        self.recorder.is_some()
    }

    /// Empties the program's histograms of what they gathered since: they keep every sample until then.
    pub(crate) fn keep_recorder(&self) {
        if let Some(recorder) = &self.recorder {
            // The exporter's faults must not end ours either.
            if catch_unwind(AssertUnwindSafe(|| recorder.run_upkeep())).is_err() {
                self.count_panic();
            }
        }
    }

    /// Writes the page of metrics.
    ///
    /// # Errors
    /// The agent's thread does not answer.
    pub(crate) fn metrics(&self, format: MetricsFormat) -> Result<Vec<u8>, NoAnswer> {
        let begun = self.clock.now();
        let (loops, agent) = self.agent.ask_after_look(|state| (state.views(), state.agent_metrics()))?;
        let name = process_name(loops.first().map(|view| &*view.snapshot.facts.process));
        let agent = AgentMetrics { identity: Some((name, std::process::id())), ..self.completed(agent) };
        let host = self.recorder.as_ref().map(recorder::Handle::render).unwrap_or_default();
        let page = render(format, &loops, &agent, &host);
        self.accounts().note_scrape(format, self.clock.now().since(begun), &page);
        Ok(page.body)
    }

    /// Returns the samples of the last two minutes; none where the agent's thread does not answer.
    pub(crate) fn recent(&self) -> Vec<PastView> {
        self.agent.ask(|agent| agent.state.recent()).unwrap_or_default()
    }

    /// Returns what the process is called, as its loops' pages say, or else by its program's file.
    pub(crate) fn process_name(&self) -> String {
        let seen = self.seen().unwrap_or_default();
        process_name(seen.first().map(|seen| seen.process_name()))
    }

    /// Adds what this thread knows.
    fn completed(&self, agent: AgentMetrics) -> AgentMetrics {
        let own = self.accounts().view();
        let paths = [self.agent.status.cpu.get(), self.cpu.as_ref()].into_iter().flatten();
        let mut overflow = agent.overflow;
        overflow.series += own.overflow.series;
        overflow.names += own.overflow.names;
        AgentMetrics {
            cpu_ns: paths.filter_map(|path| Sched::at(path)).map(|sched| sched.run_ns).sum(),
            panics: agent.panics + own.panics,
            reports_dropped: self.log.dropped(),
            process: if self.has_process_metrics { process::read() } else { None },
            requests: own.requests,
            scrapes: own.scrapes,
            overflow,
            ..agent
        }
    }

    /// Returns how long the server has run and how long ago the agent last looked at the loops of its own accord, in
    /// nanoseconds, and how many loops there are. Asks nobody: it must be told also where the agent's thread hangs.
    pub(crate) fn health(&self) -> Health {
        let (now, status) = (self.clock.now(), &self.agent.status);
        Health {
            age_ns: now.since(self.started),
            tick_age_ns: now.since(Ticks(status.last_tick_ns.load(Relaxed))),
            loops: status.loops.load(Relaxed) as usize,
        }
    }

    /// Returns a line for each loop that is stalled beyond the critical threshold now. Not what holds it: everybody may ask.
    ///
    /// # Errors
    /// The agent's thread does not answer.
    pub(crate) fn stalled(&self) -> Result<Vec<String>, NoAnswer> {
        let stalled = self.agent.ask_after_look(|state| state.stalled())?;
        let line = |Stalled { label, words, age_ns }: Stalled| {
            let (lane, parked) = (words.lane, words.parked);
            format!("{lane} {label} has not {parked} for {}", show_ns(age_ns))
        };
        Ok(stalled.into_iter().map(line).collect())
    }

    /// Copies the pages of all loops, for the live page.
    ///
    /// # Errors
    /// The agent's thread does not answer.
    pub(crate) fn seen(&self) -> Result<Vec<LoopSample>, NoAnswer> {
        let loops = self.agent.ask_after_look(|state| state.loops_now())?;
        Ok(loops.iter().map(|now| now.seen()).collect())
    }

    /// Returns the incidents in memory, newest first, as they are now.
    ///
    /// # Errors
    /// The agent's thread does not answer.
    pub(crate) fn incidents(&self) -> Result<Vec<Arc<Incident>>, NoAnswer> {
        self.agent.ask_after_look(AgentState::incidents)
    }

    /// Returns one of them.
    ///
    /// # Errors
    /// The agent's thread does not answer.
    pub(crate) fn incident(&self, id: IncidentId) -> Result<Option<Arc<Incident>>, NoAnswer> {
        self.agent.ask_after_look(move |state| state.incident(id))
    }

    /// Returns the stall thresholds of all loops.
    ///
    /// # Errors
    /// The agent's thread does not answer.
    pub(crate) fn thresholds(&self) -> Result<ThresholdList, NoAnswer> {
        self.agent.ask_after_look(|state| state.threshold_list())
    }

    /// Changes stall thresholds, and logs that with `who` asked for it.
    ///
    /// # Errors
    /// What is wrong with the change, or with the agent: a status code and words.
    pub(crate) fn set_thresholds(&self, change: &ThresholdChange, who: &str) -> Result<(), (u16, String)> {
        let change = change.clone();
        let changed = self.agent.ask_after_look(move |state| state.set_thresholds(&change));
        let changed = changed.map_err(|error| (503, format!("{error}\n")))??;
        self.log.warn(format!("{changed} by {who}"));
        Ok(())
    }

    /// Counts an answer; `path` is one of a fixed list.
    pub(crate) fn count(&self, path: &'static str, code: u16) {
        self.accounts().count_request(path, code);
    }

    /// Returns the program's log.
    pub(crate) fn log(&self) -> &LogSender {
        &self.log
    }

    /// Counts a panic while answering, and logs the first.
    pub(crate) fn count_panic(&self) {
        if self.accounts().count_panic() == 1 {
            let message =
                "a request handler panicked; further panics are only counted (loopscope_agent_panics_total)";
            self.log.warn(message.to_owned());
        }
    }

    /// The mutex satisfies the runtime, whose tasks must be `Send`; all of them run on this one thread, so nobody waits.
    /// A panic under it leaves numbers that are still numbers.
    fn accounts(&self) -> MutexGuard<'_, SelfMetrics> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what a process is called: as a page of it says, else by its program's file.
fn process_name(told: Option<&str>) -> String {
    let program = || {
        let program = std::env::args_os().next().unwrap_or_default();
        let name = PathBuf::from(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        printable(&name).into_owned()
    };
    told.filter(|name| !name.is_empty()).map_or_else(program, str::to_owned)
}
