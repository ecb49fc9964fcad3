//! Which path answers what.

use crate::handle::NoAnswer;
use crate::server::agent_client::AgentClient;
use crate::server::capture::CaptureService;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use loopscope_http::answer::Answer;
use loopscope_http::auth::{Auth, Purpose, Sensitivity};
use loopscope_http::capture_request::{CaptureRequest, parse_end};
use loopscope_http::incidents::{self, INCIDENT, INCIDENTS, id_of};
use loopscope_http::live::{LIVE, Live, Source};
use loopscope_http::negotiate;
use loopscope_http::page::{self, FILES, PAGE};
use loopscope_http::paths::{FLAMEGRAPH, HEALTHY, METRICS, PATHS, PPROF, READY, THRESHOLDS};
use loopscope_http::service::{Answering, Service};
use loopscope_http::thresholds::parse_change;
use loopscope_report::live::{LoopSample, PastView, View};
use loopscope_report::words::count;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const ENDPOINTS: &str = "\
/live                                                live page (browsers also get it at /)
/metrics                                             Prometheus metrics of all loops of this process
/-/healthy                                           200 if the agent works; 503 if it has not checked the loops for 30 s
/-/ready                                             503 while a loop is stalled beyond the critical threshold
/debug/loopscope/flamegraph?of=callbacks&seconds=10  time by loop, phase, callback site and span; of=callbacks|cpu|stalls|waits,
                                                     format=svg|folded|pprof|speedscope|firefox|trace, hz=49..997, loop=NAME;
                                                     name=NAME, and POST ?name=NAME with header X-Loopscope: 1 ends it early
/debug/pprof/profile?seconds=30                      CPU profile of the loops for `go tool pprof`, Pyroscope and Parca
/debug/loopscope/incidents                           recent incidents, newest first (JSON); one in full: /ID
/debug/loopscope/live                                data of the live page (JSON): rates of the last half second
/debug/loopscope/thresholds                          stall thresholds; POST ?loop=NAME&warning=50ms&critical=1s with header X-Loopscope: 1
";

/// What all connections share.
pub(crate) struct Router {
    pub auth: Arc<Auth>,
    pub captures: CaptureService,
    pub live: Arc<Live>,
    pub agent: Arc<AgentClient>,
}

impl Service for Router {
    fn answer<'a>(&'a self, request: &'a Parts) -> Answering<'a> {
        Box::pin(self.route(request))
    }

    fn count(&self, path: &'static str, code: u16) {
        self.agent.count(path, code);
    }

    fn warn(&self, note: String) {
        self.agent.log().warn(note);
    }
}

impl Router {
    /// Answers one request, and counts the answer.
    async fn route(&self, request: &Parts) -> Answer {
        let agent = &*self.agent;
        let id = id_of(request.uri.path());
        let known = PATHS.into_iter().find(|path| *path == request.uri.path());
        let path = match request.uri.path() {
            _ if id.is_some() => INCIDENT,
            path if page::is_file(path) => FILES,
            _ => known.unwrap_or("other"),
        };
        let purpose = Purpose {
            gives: gives(path),
            may_change: path == THRESHOLDS || path == FLAMEGRAPH,
            is_capture: path == FLAMEGRAPH || path == PPROF,
        };
        let answer = match self.auth.refuse(request, purpose).await {
            Some(refusal) => refusal,
            None if path == FLAMEGRAPH => self.flamegraph(request).await,
            None if path == PPROF => self.pprof(request).await,
            None if path == LIVE => self.live(request, agent).await,
            None if path == INCIDENTS || path == INCIDENT => {
                guarded(agent, || self.incidents(id, request, agent))
            }
            None if path == THRESHOLDS => guarded(agent, || self.thresholds(request, agent)),
            None => guarded(agent, || self.answer_at_once(path, request, agent)),
        };
        agent.count(path, answer.status);
        answer
    }

    fn answer_at_once(&self, path: &str, request: &Parts, agent: &AgentClient) -> Answer {
        match path {
            "/" if !page::wants_html(&request.headers) => {
                let (name, pid) = (agent.process_name(), std::process::id());
                Answer::text(200, format!("loopscope agent of {name} (pid {pid})\n\n{ENDPOINTS}"))
                    .negotiated()
            }
            "/" => page::page(&title(agent)).negotiated(),
            PAGE => page::page(&title(agent)),
            FILES => page::file(request.uri.path()),
            METRICS => metrics(&request.headers, agent),
            HEALTHY => agent.health().answer("watching"),
            READY => ready(agent),
            _ => Answer::text(404, format!("not found; these paths exist:\n\n{ENDPOINTS}")),
        }
    }

    async fn flamegraph(&self, request: &Parts) -> Answer {
        let query = request.uri.query().unwrap_or("");
        if request.method == Method::POST {
            return parse_end(query)
                .map_or_else(|why| Answer::text(400, why), |name| self.captures.end(&name));
        }
        match CaptureRequest::parse(query) {
            Ok(wish) => self.captures.run(wish, self.auth.requester(request)).await,
            Err(message) => Answer::text(400, message),
        }
    }

    async fn live(&self, request: &Parts, agent: &AgentClient) -> Answer {
        self.live.answer(request.uri.query().unwrap_or(""), &OwnLoops(agent)).await
    }

    async fn pprof(&self, request: &Parts) -> Answer {
        match CaptureRequest::parse_pprof(request.uri.query().unwrap_or("")) {
            Ok(wish) => self.captures.pull(wish, self.auth.requester(request)).await,
            Err(message) => Answer::text(400, message),
        }
    }

    fn incidents(&self, id: Option<&str>, request: &Parts, agent: &AgentClient) -> Answer {
        match id {
            Some(id) => {
                let mut failed = None;
                let find = |id| agent.incident(id).map_err(|error| failed = Some(error)).ok().flatten();
                let answer = incidents::one(id, request.uri.query().unwrap_or(""), find);
                failed.map_or(answer, no_answer)
            }
            None => agent.incidents().map_or_else(no_answer, |all| incidents::list(&all)),
        }
    }

    fn thresholds(&self, request: &Parts, agent: &AgentClient) -> Answer {
        let wish = match parse_change(request.uri.query().unwrap_or("")) {
            Ok(wish) => wish,
            Err(message) => return Answer::text(400, message),
        };
        if request.method == Method::POST
            && let Err((status, message)) = agent.set_thresholds(&wish, &self.auth.requester(request))
        {
            return Answer::text(status, message);
        }
        if request.method != Method::POST && !wish.is_empty() {
            return Answer::text(405, "to change thresholds, send POST with the header X-Loopscope: 1\n");
        }
        let mut list = match agent.thresholds() {
            Ok(list) => list,
            Err(error) => return no_answer(error),
        };
        if let Some(name) = wish.loop_name {
            list.loops.retain(|entry| entry.is_called(&name));
        }
        Answer::json(serde_json::to_vec(&list).unwrap_or_default())
    }
}

/// The loops of this process, for the live page.
struct OwnLoops<'a>(&'a AgentClient);

impl Source for OwnLoops<'_> {
    fn seen(&self) -> Vec<LoopSample> {
        let OwnLoops(agent) = self;
        let seen = catch_unwind(AssertUnwindSafe(|| agent.seen()));
        let seen = seen.unwrap_or_else(|_| {
            agent.count_panic();
            Err(NoAnswer)
        });
        seen.unwrap_or_default()
    }

    fn recent(&self) -> Vec<PastView> {
        let OwnLoops(agent) = self;
        agent.recent()
    }

    fn complete(&self, view: &mut View) {
        for process in &mut view.processes {
            process.base = Some("debug/loopscope".to_owned());
        }
    }
}

/// Returns what the live page is called until it has a view, and where it has no loop: whose it is.
fn title(agent: &AgentClient) -> String {
    format!("{} · pid {}", agent.process_name(), std::process::id())
}

/// What a path gives away; one that we do not know gives away nothing.
fn gives(path: &str) -> Sensitivity {
    match path {
        METRICS => Sensitivity::Metrics,
        LIVE | FLAMEGRAPH | PPROF | INCIDENTS | INCIDENT | THRESHOLDS => Sensitivity::Insight,
        _ => Sensitivity::Health,
    }
}

fn metrics(headers: &HeaderMap, agent: &AgentClient) -> Answer {
    let format = negotiate::format(headers);
    match agent.metrics(format) {
        Ok(page) => Answer::metrics(format, page, negotiate::wants_gzip(headers)),
        Err(error) => no_answer(error),
    }
}

fn ready(agent: &AgentClient) -> Answer {
    match agent.stalled() {
        Err(error) => Answer::text(503, format!("not ready: {error}\n")),
        Ok(stalled) if stalled.is_empty() => {
            let loops = count(agent.health().loops as u64, "loop");
            Answer::text(200, format!("ready: {loops}, none stalled\n"))
        }
        Ok(stalled) => Answer::text(503, format!("not ready\n{}\n", stalled.join("\n"))),
    }
}

fn no_answer(error: NoAnswer) -> Answer {
    Answer::text(503, format!("{error}\n"))
}

/// A panic in an answer is the agent's own fault: the client learns it, and the agent goes on.
fn guarded(agent: &AgentClient, answer: impl FnOnce() -> Answer) -> Answer {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        agent.count_panic();
        Answer::text(
            500,
            "internal error: a request handler panicked; see the program's log and loopscope_agent_panics_total\n",
        )
    })
}
