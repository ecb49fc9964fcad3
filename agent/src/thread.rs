//! The sidecar: the one thread that watches all loops of the process.
//!
//! ```text
//!   tick: pages -> vitals -> watch -> log thread      every 25 ms while a loop is busy
//!   sleep: bell + eventfd, heartbeat every 5 s         while all loops are idle
//!   request: look -> snapshots -> views -> text        the same thread, between two ticks
//! ```
//!
//! It shares no lock with a loop. A panic in a look or an answer is caught, counted, logged once, and skipped.

use crate::AgentError;
use crate::compute::age::age_text;
use crate::export::facade;
use crate::export::format::Format;
use crate::export::page::render;
use crate::incident::Incident;
use crate::live::Seen;
use crate::process;
use crate::settings::Settings;
use crate::sidecar::{self, Pace, Stalled, State};
use crate::sleep::Sleeper;
use crate::ticker::Ticker;
use crate::watch::crew::Crew;
use crate::watch::log::Log;
use crate::web::agent_socket::AgentSocket;
use crate::web::capture::Captures;
use crate::web::doorway::Doorway;
use crate::web::entrance::Entrance;
use crate::web::guard::Guard;
use crate::web::health::Health;
use crate::web::live::Live;
use crate::web::routes::Router;
use crate::web::thresholds::{ThresholdList, ThresholdWish};
use crate::web::{Backend, server};
use loopscope_probe::incident_id::IncidentId;
use loopscope_probe::{Clock, Snapshot, Ticks};
use metrics_exporter_prometheus::PrometheusHandle;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often an idle agent says that it lives, and tidies up the host's histograms.
const HEARTBEAT: Duration = Duration::from_secs(5);

const HEARTBEAT_NS: u64 = HEARTBEAT.as_nanos() as u64;

/// What the thread begins with.
pub(crate) struct Start {
    pub settings: Settings,
    pub entrance: Option<Entrance>,
    pub log: Log,
}

/// Starts the tasks of the thread; within its runtime. What is returned is for its end.
pub(crate) fn begin(start: Start) -> Result<impl FnOnce(), AgentError> {
    let sleeper = Sleeper::new().map_err(|error| AgentError::System("an eventfd", error))?;
    let ticker = Ticker::new().map_err(|error| AgentError::System("a timerfd", error))?;
    let Start { settings, entrance, mut log } = start;
    let host = if settings.has_recorder { facade::install() } else { None };
    if settings.has_recorder && host.is_none() {
        log.warn(
            "the program has a metrics recorder of its own, so its metrics are not on the agent's page"
                .to_owned(),
        );
    }
    let address = entrance.as_ref().map(Entrance::agent_address);
    let crew = Crew::start(&settings);
    let sidecar = Arc::new(Sidecar {
        state: Mutex::new(State::new(&settings, address, crew)),
        log: Mutex::new(log),
        cpu: process::thread_cpu_path(),
        clock: Clock::monotonic(),
        started: Clock::monotonic().now(),
        host,
        has_process_metrics: settings.has_process_metrics,
    });
    // The first look is taken before anybody can ask, and tells of an address that is there.
    let socket = entrance.as_ref().and_then(|_| sidecar.open_socket());
    let pace = sidecar.tick();
    if let Some(entrance) = entrance {
        listen(entrance, socket, &sidecar)
            .map_err(|error| AgentError::System("a listening socket", error))?;
    }
    tokio::spawn(watch_loops(sidecar.clone(), sleeper, ticker, pace));
    Ok(move || sidecar.farewell())
}

/// Answers at the program's address, and at the socket file beside the pages.
fn listen(entrance: Entrance, socket: Option<AgentSocket>, sidecar: &Arc<Sidecar>) -> std::io::Result<()> {
    let Entrance { listener, guard, .. } = entrance;
    let (captures, live) = (Captures::default(), Arc::<Live>::default());
    let router = |guard: Arc<Guard>| {
        let (captures, live, backend) = (captures.clone(), live.clone(), sidecar.clone());
        Arc::new(Router { guard, captures, live, backend })
    };
    let doorway = Doorway::new(listener)?;
    tokio::spawn(server::serve(doorway, guard.clone(), router(guard.clone())));
    let Some(socket) = socket else { return Ok(()) };
    let guard = Arc::new(guard.of_socket_file(socket.file.path()));
    match Doorway::of_agent_socket(socket) {
        Ok(doorway) => _ = tokio::spawn(server::serve(doorway, guard.clone(), router(guard))),
        // The program can do without; it has no file then.
        Err(error) => sidecar.warn_of_socket_file(&format!("{}: {error}", guard.address)),
    }
    Ok(())
}

/// Looks at the loops as often as they need it, for ever.
async fn watch_loops(sidecar: Arc<Sidecar>, sleeper: Sleeper, ticker: Ticker, mut pace: Pace) {
    let mut upkeep = sidecar.clock.now();
    loop {
        match pace {
            Pace::Again(delay) => {
                let planned = Ticks(sidecar.clock.now().0 + delay.as_nanos() as u64);
                ticker.wait(delay).await;
                sidecar.state().accounts.note_lateness(sidecar.clock.now().since(planned));
            }
            Pace::Sleep => {
                sleeper.sleep(|| sidecar.state().is_idle(), HEARTBEAT).await;
            }
        }
        pace = sidecar.tick();
        if sidecar.clock.now().since(upkeep) >= HEARTBEAT_NS {
            upkeep = sidecar.clock.now();
            sidecar.tidy_host();
        }
    }
}

/// Everything the thread has.
struct Sidecar {
    state: Mutex<State>,
    log: Mutex<Log>,
    cpu: Option<PathBuf>,
    clock: Clock,
    started: Ticks,
    host: Option<PrometheusHandle>,
    has_process_metrics: bool,
}

impl Sidecar {
    /// The mutexes satisfy the runtime, whose tasks must be `Send`; all of them run on this one thread, so nobody waits.
    /// A panic under one leaves numbers that are still numbers.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the socket file beside the pages; says so where there can be none.
    fn open_socket(&self) -> Option<AgentSocket> {
        AgentSocket::open().map_err(|because| self.warn_of_socket_file(&because)).ok()
    }

    fn warn_of_socket_file(&self, because: &str) {
        let message = format!("commands reach this agent by its address only: no socket file {because}");
        self.log().warn(message);
    }

    /// Takes one look at every loop, and survives what goes wrong in it.
    fn tick(&self) -> Pace {
        let tick = catch_unwind(AssertUnwindSafe(|| {
            let seen = self.state().tick(self.clock.now());
            self.tell(seen)
        }));
        tick.unwrap_or_else(|_| {
            self.count_panic();
            Pace::Again(Duration::from_millis(25))
        })
    }

    /// Takes one look for somebody who asks.
    fn look(&self) {
        let seen = self.state().look(self.clock.now());
        self.tell(seen);
    }

    fn tell(&self, seen: sidecar::Seen) -> Pace {
        let mut log = self.log();
        for note in seen.notes {
            log.warn(note);
        }
        for report in seen.reports {
            log.report(report);
        }
        seen.pace
    }

    /// Says what was not said yet.
    fn farewell(&self) {
        self.look();
        let reports = self.state().farewell();
        let mut log = self.log();
        reports.into_iter().for_each(|report| log.report(report));
    }

    /// Empties the host's histograms of what they gathered since: they keep every sample until then.
    fn tidy_host(&self) {
        if let Some(host) = &self.host {
            // The exporter's faults must not end ours either.
            if catch_unwind(AssertUnwindSafe(|| host.run_upkeep())).is_err() {
                self.count_panic();
            }
        }
    }
}

impl Backend for Sidecar {
    fn metrics(&self, format: Format) -> Vec<u8> {
        let begun = self.clock.now();
        self.look();
        let mut state = self.state();
        let loops = state.views();
        let mut agent = state.agent_view();
        agent.cpu_ns = self.cpu.as_deref().and_then(process::thread_cpu_ns).unwrap_or(0);
        agent.reports_dropped = self.log().dropped();
        agent.process = if self.has_process_metrics { process::read() } else { None };
        let host = self.host.as_ref().map(PrometheusHandle::render).unwrap_or_default();
        let page = render(format, &loops, &agent, &host);
        state.accounts.note_scrape(format, self.clock.now().since(begun), &page);
        page.body
    }

    fn health(&self) -> Health {
        let (now, state) = (self.clock.now(), self.state());
        Health {
            age_ns: now.since(self.started),
            tick_age_ns: now.since(state.last_tick()),
            loops: state.loop_count(),
        }
    }

    fn stalled(&self) -> Vec<String> {
        self.look();
        let state = self.state();
        let line = |stalled: Stalled| {
            format!(
                "loop {} has not polled for {}: {}",
                stalled.label,
                age_text(stalled.age_ns),
                stalled.blame
            )
        };
        state.stalled().into_iter().map(line).collect()
    }

    fn seen(&self) -> Vec<Seen> {
        self.look();
        self.state().seen()
    }

    fn snapshots(&self, name: Option<&str>) -> Vec<Snapshot> {
        self.state().snapshots(name)
    }

    fn incidents(&self) -> Vec<Arc<Incident>> {
        self.look();
        self.state().incidents()
    }

    fn incident(&self, id: IncidentId) -> Option<Arc<Incident>> {
        self.look();
        self.state().incident(id)
    }

    fn thresholds(&self) -> ThresholdList {
        self.look();
        self.state().threshold_list()
    }

    fn set_thresholds(&self, wish: &ThresholdWish, who: &str) -> Result<(), (u16, String)> {
        self.look();
        let changed = self.state().set_thresholds(wish)?;
        self.log().warn(format!("{changed} by {who}"));
        Ok(())
    }

    fn count(&self, path: &'static str, code: u16) {
        self.state().accounts.count_request(path, code);
    }

    fn warn(&self, note: String) {
        self.log().warn(note);
    }

    fn count_panic(&self) {
        if self.state().accounts.count_panic() == 1 {
            let message = "the agent panicked and goes on; further panics are only counted (loopscope_agent_panics_total)";
            self.log().warn(message.to_owned());
        }
    }
}
