//! Which path of the host answers what.

use crate::forward::{ForwardError, ForwardRequest, Forwards, Wanted};
use crate::incidents::{Gathered, gather};
use crate::paths::{PATHS, PROCESS, TARGETS};
use crate::several_agents::{self, agent_of};
use crate::state::{Asked, Untold};
use crate::targets::targets;
use crate::task_context::TaskContext;
use hyper::Method;
use hyper::header::HOST;
use hyper::http::request::Parts;
use loopscope_http::answer::Answer;
use loopscope_http::auth::{Auth, Purpose, Sensitivity};
use loopscope_http::capture_request::CaptureRequest;
use loopscope_http::incidents::{INCIDENT, INCIDENTS, id_of};
use loopscope_http::live::{LIVE, Live};
use loopscope_http::page::{FILES, PAGE};
use loopscope_http::paths::{FLAMEGRAPH, HEALTHY, METRICS, PPROF, READY, THRESHOLDS};
use loopscope_http::query::{decoded, pairs};
use loopscope_http::service::{Answering, Service};
use loopscope_http::{capture_request, negotiate, page};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::incident::Incident;
use loopscope_report::metrics::loop_metrics::Outcomes;
use loopscope_report::words::count;
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What the live page is called until it has a view.
const TITLE: &str = "this host";

const ENDPOINTS: &str = "\
/live                                  live page of all loops (browsers also get it at /)
/metrics                               Prometheus metrics of all loops of this host, with the labels pid, name, loop, runtime
/sd                                    the agents of this host, for Prometheus's http_sd_configs
/-/healthy                             200 if this server works; 503 if it has not read the pages for 30 s
/-/ready                               200 once it has read the pages
/debug/loopscope/live                  data of the live page (JSON)
/debug/loopscope/incidents             recent incidents of this host, newest first (JSON); one in full: /ID
/debug/loopscope/flamegraph?pid=PID    a capture by that process's agent, with the agent's own parameters; also POST
/debug/pprof/profile?pid=PID           the same, for pprof
/process/PID/debug/...                 the pages of that process's agent
";

/// Beyond the length of a capture, time to draw and to send it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What all connections share.
pub(crate) struct HostService {
    pub auth: Arc<Auth>,
    pub forwards: Forwards,
    pub live: Live,
    pub shared: Arc<TaskContext>,
}

impl Service for HostService {
    fn answer<'a>(&'a self, request: &'a Parts) -> Answering<'a> {
        Box::pin(self.route(request))
    }

    fn count(&self, path: &'static str, code: u16) {
        self.shared.state().accounts.count_request(path, code);
    }

    fn warn(&self, note: String) {
        self.shared.warn(note);
    }
}

/// What tells of code, or makes a process do something, is not for everybody; who runs here is like the numbers.
fn gives(path: &str) -> Sensitivity {
    match path {
        HEALTHY | READY | PAGE | FILES => Sensitivity::Health,
        LIVE | FLAMEGRAPH | PPROF | INCIDENTS | INCIDENT | PROCESS => Sensitivity::Insight,
        _ => Sensitivity::Metrics,
    }
}

/// What is handed on to agents, besides single incidents. Nothing else is: the address stands on a page, and what listens
/// there may not be an agent.
const HANDED_ON: [&str; 8] = [METRICS, HEALTHY, READY, LIVE, FLAMEGRAPH, PPROF, INCIDENTS, THRESHOLDS];

/// A path below a process's folder: the pid, and the path of its agent.
fn of_process(path: &str) -> Option<(u32, &str)> {
    let rest = path.strip_prefix("/process/")?;
    let (pid, _) = rest.split_once('/')?;
    let path = &rest[pid.len()..];
    let is_handed_on = HANDED_ON.contains(&path) || id_of(path).is_some();
    Some((pid.parse().ok()?, path)).filter(|_| is_handed_on)
}

impl HostService {
    async fn route(&self, request: &Parts) -> Answer {
        let asked = request.uri.path();
        let known = PATHS.into_iter().find(|path| *path == asked && *path != PROCESS);
        let path = match (id_of(asked), of_process(asked)) {
            (Some(_), _) => INCIDENT,
            (None, Some(_)) => PROCESS,
            (None, None) if page::is_file(asked) => FILES,
            (None, None) => known.unwrap_or("other"),
        };
        // What an agent may be told to change, it is told through us; who may do so, and what, it says itself.
        let may_change = path == FLAMEGRAPH || path == PROCESS;
        let handed_on = of_process(asked).map_or(path, |(_, path)| path);
        let is_capture = handed_on == FLAMEGRAPH || handed_on == PPROF;
        let purpose = Purpose { gives: gives(path), may_change, is_capture };
        let answer = match self.auth.refuse(request, purpose).await {
            Some(refusal) => refusal,
            None => match path {
                FLAMEGRAPH | PPROF => self.capture(path, request).await,
                INCIDENTS => self.incidents(None).await,
                INCIDENT => self.incident(id_of(asked).unwrap_or_default(), request).await,
                PROCESS => self.process(request).await,
                LIVE => self.live.answer(request.uri.query().unwrap_or(""), self).await,
                _ => self.guarded(|| self.answer_at_once(path, request)),
            },
        };
        self.count(path, answer.status);
        answer
    }

    fn answer_at_once(&self, path: &str, request: &Parts) -> Answer {
        match path {
            "/" if page::wants_html(&request.headers) => page::page(TITLE).negotiated(),
            "/" => Answer::text(200, self.overview()).negotiated(),
            PAGE => page::page(TITLE),
            FILES => page::file(request.uri.path()),
            METRICS => {
                let format = negotiate::format(&request.headers);
                let page = self.shared.metrics(format);
                Answer::metrics(format, page, negotiate::wants_gzip(&request.headers))
            }
            TARGETS => {
                let asked_as = request.headers.get(HOST).and_then(|host| host.to_str().ok());
                let found = targets(&self.shared.state().agents(), asked_as);
                Answer::json(found.to_string().into_bytes())
            }
            HEALTHY => self.shared.health().answer("following"),
            READY => {
                let (alive, _) = self.shared.state().registry.processes();
                Answer::text(200, format!("ready: {}\n", count(alive, "process")))
            }
            _ => Answer::text(404, format!("not found; these paths exist:\n\n{ENDPOINTS}")),
        }
    }

    fn overview(&self) -> String {
        let living = self.shared.state().living();
        let mut text = format!("loopscope of this host\n\n{ENDPOINTS}\n{}\n", list(&living));
        if living.is_empty() {
            text.push_str("Start an instrumented program, for example `loopscope demo`.\n");
        }
        text
    }

    /// Hands a capture to the agent of the process that the query names.
    async fn capture(&self, path: &str, request: &Parts) -> Answer {
        let living = self.shared.state().living();
        let query = request.uri.query().unwrap_or("");
        let process = match chosen(&living, query) {
            Ok(process) => process,
            Err((status, message)) => return Answer::text(status, message),
        };
        let agents = self.agents_of(|agent| agent.process == process.process);
        let agent = match (agents.is_empty(), agent_of(&agents, query)) {
            // Its answer is that there is none.
            (true, _) => process,
            (false, Ok(agent)) => agent.clone(),
            (false, Err((status, message))) => return Answer::text(status, message),
        };
        let rest: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.starts_with("pid=") && !pair.starts_with("process="))
            .collect();
        self.hand_over(&agent, &request.method, &format!("{path}?{}", rest.join("&"))).await
    }

    /// Answers what is below a process's folder: by its agent, or, of incidents, by its pages.
    async fn process(&self, request: &Parts) -> Answer {
        let Some((pid, path)) = of_process(request.uri.path()) else {
            return Answer::text(404, "not found\n");
        };
        let query = request.uri.query().unwrap_or("");
        // An incident may be of a process that had this pid before.
        let id: Option<IncidentId> = id_of(path).and_then(|id| decoded(id).parse().ok());
        let agents = self.agents_of(|agent| {
            agent.pid == pid && id.is_none_or(|id| id.process().agrees_with(agent.process))
        });
        match agents.first() {
            // Each of several agents knows its own.
            Some(_) if agents.len() > 1 && path == INCIDENTS => self.incidents(Some(pid)).await,
            Some(_) if agents.len() > 1 && id.is_some() => {
                self.incident(id_of(path).unwrap_or_default(), request).await
            }
            Some(_) if matches!(path, HEALTHY | READY) => self.all_well(&agents, path).await,
            Some(_) if agents.len() > 1 && path == THRESHOLDS && is_of_all(request) => {
                self.joined_thresholds(&agents, &format!("{path}?{query}")).await
            }
            Some(_) => match agent_of(&agents, query) {
                Ok(agent) => {
                    if request.method == Method::POST && path == THRESHOLDS {
                        // To the agent it is this server that asks.
                        let who = self.auth.requester(request);
                        let name = &agent.name;
                        self.shared.warn(format!("{pid} {name}: thresholds?{query} forwarded for {who}"));
                    }
                    let told = self.forward(agent, &request.method, &format!("{path}?{query}")).await;
                    told.unwrap_or_else(|because| self.without_agent(agent, &because, path, query))
                }
                Err((status, message)) => Answer::text(status, message),
            },
            None if request.method == Method::POST => Answer::text(
                404,
                format!("process {pid} has no agent that listens: nothing can be changed\n"),
            ),
            None if path == INCIDENTS => self.incidents(Some(pid)).await,
            None => match id_of(path) {
                Some(id) => self.incident_of_pages(id, query),
                None => Answer::text(404, format!("process {pid} has no agent that listens\n")),
            },
        }
    }

    /// Answers by the process's pages where its agent cannot be reached, which may have been killed just now, and incidents are
    /// asked for; else why it cannot.
    fn without_agent(&self, agent: &Asked, because: &str, path: &str, query: &str) -> Answer {
        let by_pages = match id_of(path) {
            _ if path == INCIDENTS => {
                let mut told = Gathered::default();
                told.add(self.told_by_pages_of(agent.pid));
                told.untold.push(Untold::of(agent, Some(because)));
                self.add_in_place(&mut told);
                // Why its agent tells nothing is more than an empty list.
                (!told.incidents.is_empty()).then(|| listed(&told))
            }
            Some(id) => Some(self.incident_of_pages(id, query)).filter(|told| told.status == 200),
            None => None,
        };
        by_pages.unwrap_or_else(|| unreachable(agent, because))
    }

    fn told_by_pages_of(&self, pid: u32) -> Vec<Arc<Incident>> {
        let mut told = self.shared.state().incidents_of_pages();
        told.retain(|incident| incident.pid == pid);
        told
    }

    /// Returns the agents that listen and are meant.
    fn agents_of(&self, is_meant: impl Fn(&Asked) -> bool) -> Vec<Asked> {
        let mut agents = self.shared.state().agents();
        agents.retain(|agent| agent.address.is_some() && is_meant(agent));
        agents
    }

    /// Answers as the first agent that is not well, and as the first one where all are.
    async fn all_well(&self, agents: &[Asked], path: &str) -> Answer {
        let mut first = None;
        for agent in agents {
            let answer = self.hand_over(agent, &Method::GET, path).await;
            match answer.status {
                200 => first = first.or(Some(answer)),
                _ => return answer,
            }
        }
        first.unwrap_or_else(|| Answer::text(404, "no agent that listens\n"))
    }

    /// Answers with the thresholds of all loops of a process; as an agent that does not tell those of its own.
    async fn joined_thresholds(&self, agents: &[Asked], target: &str) -> Answer {
        let mut told = Vec::new();
        for agent in agents {
            let answer = self.hand_over(agent, &Method::GET, target).await;
            match serde_json::from_slice::<Value>(answer.body()) {
                Ok(thresholds) if answer.status == 200 => told.push(thresholds),
                _ => return answer,
            }
        }
        Answer::json(serde_json::to_vec(&several_agents::joined(told)).unwrap_or_default())
    }

    /// Hands a request to the agent, and answers as it does, or why it cannot be reached.
    pub(crate) async fn hand_over(&self, process: &Asked, method: &Method, target: &str) -> Answer {
        let told = self.forward(process, method, target).await;
        told.unwrap_or_else(|because| unreachable(process, &because))
    }

    /// Hands a request to the agent.
    ///
    /// # Errors
    /// Why it cannot be reached.
    async fn forward(&self, process: &Asked, method: &Method, target: &str) -> Result<Answer, String> {
        let Asked { pid, name, .. } = process;
        if process.address.is_none() {
            let message = format!(
                "{pid} {name} has no agent that listens, which captures need; `loopscope flame {pid}` draws \
                 callbacks without one\n"
            );
            return Ok(Answer::text(404, message));
        }
        // HEAD is answered as GET is, and sent without what it would have been.
        let method = if *method == Method::POST { Method::POST } else { Method::GET };
        let question = ForwardRequest { process, method, target, wanted: Wanted::Whole };
        match self.forwards.ask(&question, patience(target)).await {
            Ok(answer) => {
                self.note(Outcomes { ok: 1, ..Outcomes::default() });
                let later = answer.retry_after_s;
                let mut body = answer.body;
                if matches!(answer.status, 401 | 403) {
                    // What it says of whom it refuses is about this server, and not about who asked this one.
                    body.splice(..0, format!("the agent of {pid} {name} refuses this server: ").into_bytes());
                }
                Ok(Answer::forwarded(answer.status, &answer.content_type, answer.file, body)
                    .with_figures(answer.figures)
                    .retried_after(later))
            }
            Err(ForwardError::Full) => {
                self.note(Outcomes { dropped: 1, ..Outcomes::default() });
                Ok(Answer::text(429, "too many captures in progress; try again later\n"))
            }
            Err(ForwardError::Failed(because)) => {
                self.note(Outcomes { failed: 1, ..Outcomes::default() });
                Err(because)
            }
        }
    }

    fn note(&self, more: Outcomes) {
        let mut state = self.shared.state();
        let sum = &mut state.forwards;
        sum.ok += more.ok;
        sum.failed += more.failed;
        sum.dropped += more.dropped;
    }

    /// Lists incidents: of one process, or of all.
    async fn incidents(&self, pid: Option<u32>) -> Answer {
        let (mut agents, mut of_pages) = {
            let mut state = self.shared.state();
            (state.agents(), state.incidents_of_pages())
        };
        agents.retain(|process| pid.is_none_or(|pid| process.pid == pid));
        of_pages.retain(|incident| pid.is_none_or(|pid| incident.pid == pid));
        let mut gathered = gather(&self.forwards, agents, of_pages).await;
        self.add_in_place(&mut gathered);
        let (ok, failed, dropped) = (gathered.answered, gathered.failed, gathered.dropped);
        self.note(Outcomes { ok, failed, dropped });
        listed(&gathered)
    }

    /// Adds what pages tell in place of agents that told nothing.
    fn add_in_place(&self, gathered: &mut Gathered) {
        let (in_place, notes) = self.shared.state().in_place_of_agents(&gathered.untold);
        gathered.add(in_place);
        notes.into_iter().for_each(|note| self.shared.warn(note));
    }

    /// A panic in an answer is our own fault: the client learns it, and the server goes on.
    pub(crate) fn guarded(&self, answer: impl FnOnce() -> Answer) -> Answer {
        catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
            self.shared.count_panic();
            Answer::text(
                500,
                "internal error: a request handler panicked; see its log and loopscope_agent_panics_total\n",
            )
        })
    }
}

/// The agent could not be asked.
fn unreachable(Asked { pid, name, .. }: &Asked, because: &str) -> Answer {
    Answer::text(502, format!("{pid} {name}: {because}\n"))
}

fn listed(gathered: &Gathered) -> Answer {
    Answer::json(serde_json::to_vec(&gathered.incidents).unwrap_or_default())
}

/// Tells whether a request changes nothing, and names no loop.
fn is_of_all(request: &Parts) -> bool {
    let query = request.uri.query().unwrap_or("");
    request.method != Method::POST && pairs(query).all(|(name, _)| name != "loop")
}

/// Returns how long to wait for an answer to `target`.
fn patience(target: &str) -> Duration {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let wish = if path == PPROF { CaptureRequest::parse_pprof(query) } else { CaptureRequest::parse(query) };
    // What the agent will refuse, it refuses soon.
    PATIENCE + Duration::from_secs(wish.map_or(*capture_request::SECONDS.start(), |wish| wish.seconds))
}

fn list(living: &[Asked]) -> String {
    let line = |process: &Asked| {
        let loops: Vec<&str> = process.loops.iter().map(|one| one.label.as_str()).collect();
        let agent =
            process.address.as_ref().map_or("no agent".to_owned(), |address| address.local().to_string());
        format!("{} {} ({}; {agent})\n", process.pid, process.name, loops.join(", "))
    };
    match living {
        [] => "No instrumented process.\n".to_owned(),
        living => living.iter().map(line).collect(),
    }
}

/// Returns the process that a query means by `pid` or `process`; the only one where it says nothing.
fn chosen(living: &[Asked], query: &str) -> Result<Asked, (u16, String)> {
    let value =
        |wanted: &str| pairs(query).find(|(name, _)| *name == wanted).map(|(_, value)| decoded(value));
    let (pid, name) = (value("pid"), value("process"));
    let fits = |process: &&Asked| {
        pid.as_ref().is_none_or(|pid| process.pid.to_string() == *pid)
            && name.as_ref().is_none_or(|name| process.name == *name)
    };
    let found: Vec<&Asked> = living.iter().filter(fits).collect();
    match found.as_slice() {
        [process] => Ok((*process).clone()),
        [] => Err((404, format!("no running process matches; there are:\n{}", list(living)))),
        _ => Err((400, format!("several processes match; choose one with pid=:\n{}", list(living)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::process_id::ProcessId;

    fn asked(pid: u32, name: &str) -> Asked {
        Asked {
            pid,
            process: ProcessId::new(pid, 1, 0, 0),
            name: name.to_owned(),
            address: None,
            socket: Default::default(),
            user: None,
            loops: Vec::new(),
        }
    }

    #[test]
    fn a_query_means_one_process_or_is_told_which_there_are() {
        let living = [asked(7, "web"), asked(8, "web"), asked(9, "a b")];
        let pid = |query| chosen(&living, query).map(|process| process.pid).map_err(|(status, _)| status);
        assert_eq!(pid("seconds=3&pid=8"), Ok(8));
        assert_eq!(pid("process=a+b"), Ok(9));
        assert_eq!(pid("process=web"), Err(400));
        assert_eq!(pid("pid=1"), Err(404));
        assert_eq!(pid(""), Err(400));
        assert_eq!(chosen(&living[..1], "").unwrap().pid, 7);
        assert!(chosen(&living, "").unwrap_err().1.contains("8 web"));
    }

    #[test]
    fn the_list_tells_where_each_agent_is() {
        let at = |address: &str| Asked { address: Some(address.parse().unwrap()), ..asked(7, "web") };
        assert_eq!(list(&[asked(7, "web")]), "7 web (; no agent)\n");
        assert_eq!(list(&[at("127.0.0.1:9464")]), "7 web (; http://127.0.0.1:9464)\n");
        assert_eq!(list(&[at("unix:/run/x")]), "7 web (; unix:/run/x)\n");
        assert_eq!(list(&[at("https://[::1]:1")]), "7 web (; https://[::1]:1)\n");
    }

    #[test]
    fn a_process_has_a_folder_of_its_own() {
        assert_eq!(of_process("/process/47/metrics"), Some((47, "/metrics")));
        let id = "/debug/loopscope/incidents/47-1";
        assert_eq!(of_process(&format!("/process/47{id}")), Some((47, id)));
        for path in [
            "/process/47",
            "/process/47/",
            "/process/47/containers/x/stop",
            "/process/47/debug/loopscope/incidents/../../x",
            "/process/x/metrics",
            "/process//metrics",
            "/processes/4/metrics",
            "/metrics",
        ] {
            assert_eq!(of_process(path), None, "{path}");
        }
    }

    #[test]
    fn a_capture_is_waited_for_as_long_as_it_takes() {
        assert_eq!(patience("/debug/pprof/profile?"), Duration::from_secs(50));
        assert_eq!(
            patience("/debug/loopscope/flamegraph?seconds=300&format=folded"),
            Duration::from_secs(320)
        );
        assert_eq!(patience("/debug/loopscope/flamegraph?seconds=oops"), Duration::from_secs(21));
    }
}
