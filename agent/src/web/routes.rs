//! Which path answers what.

use crate::compute::age::age_text;
use crate::web::Backend;
use crate::web::answer::Answer;
use crate::web::capture::Captures;
use crate::web::incidents::{self, INCIDENT, INCIDENTS, id_of};
use crate::web::negotiate;
use crate::web::thresholds::ThresholdWish;
use crate::web::wish::Wish;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Version};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

const METRICS: &str = "/metrics";
const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";
const FLAMEGRAPH: &str = "/debug/loopscope/flamegraph";
const PPROF: &str = "/debug/pprof/profile";
const THRESHOLDS: &str = "/debug/loopscope/thresholds";

/// A POST must have this header: a page in a browser cannot send it to another origin without asking first.
const INTENT_HEADER: &str = "x-loopscope";

/// The paths that are counted by name; all others are counted as `other`.
pub(crate) const PATHS: [&str; 10] =
    ["/", METRICS, HEALTHY, READY, FLAMEGRAPH, PPROF, INCIDENTS, INCIDENT, THRESHOLDS, "other"];

const ENDPOINTS: &str = "\
/metrics                                             Prometheus metrics of all loops of this process
/-/healthy                                           the agent lives
/-/ready                                             503 while a loop is stalled beyond the critical threshold
/debug/loopscope/flamegraph?of=callbacks&seconds=10  time by loop, phase, callback site and span; of=callbacks|cpu|stalls|waits,
                                                     format=svg|folded|pprof|speedscope|firefox|trace, hz=49..997, loop=NAME
/debug/pprof/profile?seconds=30                      processor time of the loops for `go tool pprof`, Pyroscope and Parca
/debug/loopscope/incidents                           what happened lately, newest first (JSON); each in full below it: /ID
/debug/loopscope/thresholds                          stall thresholds; POST ?loop=NAME&warning=50ms&critical=1s with header X-Loopscope: 1
";

/// What all connections share.
pub(crate) struct Router {
    pub address: SocketAddr,
    pub captures: Captures,
}

impl Router {
    /// Answers one request, and counts the answer.
    pub(crate) async fn answer(&self, request: &Parts, backend: &dyn Backend) -> Answer {
        let id = id_of(request.uri.path());
        let known = PATHS.into_iter().find(|path| *path == request.uri.path());
        let path = if id.is_some() { INCIDENT } else { known.unwrap_or("other") };
        let answer = match self.refuse(request) {
            Some(refusal) => refusal,
            None if path == FLAMEGRAPH => self.flamegraph(request, backend).await,
            None if path == PPROF => self.pprof(request).await,
            None if path == INCIDENTS || path == INCIDENT => {
                guarded(backend, || self.incidents(id, request, backend))
            }
            None if path == THRESHOLDS => guarded(backend, || self.thresholds(request, backend)),
            None => guarded(backend, || self.answer_at_once(path, request, backend)),
        };
        backend.count(path, answer.status);
        answer
    }

    fn answer_at_once(&self, path: &str, request: &Parts, backend: &dyn Backend) -> Answer {
        match path {
            "/" => {
                Answer::text(200, format!("loopscope agent of process {}\n\n{ENDPOINTS}", std::process::id()))
            }
            METRICS => metrics(&request.headers, backend),
            HEALTHY => healthy(backend),
            READY => ready(backend),
            _ => Answer::text(404, format!("there is no such page; there are:\n\n{ENDPOINTS}")),
        }
    }

    async fn flamegraph(&self, request: &Parts, backend: &dyn Backend) -> Answer {
        if let Some(refusal) = self.refuse_outside() {
            return refusal;
        }
        match Wish::parse(request.uri.query().unwrap_or("")) {
            Ok(wish) => self.captures.run(wish, backend).await,
            Err(message) => Answer::text(400, message),
        }
    }

    async fn pprof(&self, request: &Parts) -> Answer {
        if let Some(refusal) = self.refuse_outside() {
            return refusal;
        }
        match Wish::parse_pprof(request.uri.query().unwrap_or("")) {
            Ok(wish) => self.captures.pull(wish).await,
            Err(message) => Answer::text(400, message),
        }
    }

    fn incidents(&self, id: Option<&str>, request: &Parts, backend: &dyn Backend) -> Answer {
        match (self.refuse_outside(), id) {
            (Some(refusal), _) => refusal,
            (None, Some(id)) => incidents::one(id, request.uri.query().unwrap_or(""), backend),
            (None, None) => incidents::list(backend),
        }
    }

    fn thresholds(&self, request: &Parts, backend: &dyn Backend) -> Answer {
        if let Some(refusal) = self.refuse_outside() {
            return refusal;
        }
        let wish = match ThresholdWish::parse(request.uri.query().unwrap_or("")) {
            Ok(wish) => wish,
            Err(message) => return Answer::text(400, message),
        };
        if request.method == Method::POST
            && let Err((status, message)) = backend.set_thresholds(&wish)
        {
            return Answer::text(status, message);
        }
        if request.method != Method::POST && !wish.is_empty() {
            return Answer::text(405, "thresholds are changed by POST, with the header X-Loopscope: 1\n");
        }
        let mut list = backend.thresholds();
        if let Some(name) = wish.loop_name {
            list.loops.retain(|entry| entry.r#loop == name || entry.name == name);
        }
        Answer::json(serde_json::to_vec(&list).unwrap_or_default())
    }

    /// What tells much, or changes something, is for this host only.
    fn refuse_outside(&self) -> Option<Answer> {
        let message =
            || format!("this is answered on loopback only, and this agent listens on {}\n", self.address);
        (!self.address.ip().is_loopback()).then(|| Answer::text(403, message()))
    }

    /// Returns the refusal of a request that no path may answer.
    fn refuse(&self, request: &Parts) -> Option<Answer> {
        let is_change = request.method == Method::POST && request.uri.path() == THRESHOLDS;
        if request.method != Method::GET && request.method != Method::HEAD && !is_change {
            return Some(Answer::text(
                405,
                format!("{} is not answered here: only GET and HEAD\n", request.method),
            ));
        }
        if is_change && !request.headers.contains_key(INTENT_HEADER) {
            return Some(Answer::text(403, "a change must be sent with the header X-Loopscope: 1\n"));
        }
        let host = request.headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
        // An absolute request line has precedence over the header.
        match request.uri.authority().map(|authority| authority.as_str()).or(host) {
            Some(host) if !self.may_be_called(host) => Some(Answer::text(
                403,
                format!("this agent is not called {host:?}: use {} or localhost\n", self.address),
            )),
            None if request.version > Version::HTTP_10 => {
                Some(Answer::text(400, "the Host header is missing\n"))
            }
            _ => None,
        }
    }

    /// Tells whether a client may have meant us by `host`. On loopback only names that cannot be pointed at us from
    /// outside will do: a web page whose own name was made to resolve to 127.0.0.1 must not read the answers.
    fn may_be_called(&self, host: &str) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        literal.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
    }
}

fn metrics(headers: &HeaderMap, backend: &dyn Backend) -> Answer {
    let format = negotiate::format(headers);
    Answer::metrics(format, backend.metrics(format), negotiate::wants_gzip(headers))
}

fn healthy(backend: &dyn Backend) -> Answer {
    let health = backend.health();
    let (age, tick) = (age_text(health.age_ns), age_text(health.tick_age_ns));
    Answer::text(200, format!("healthy: watching {} loops for {age}, last look {tick} ago\n", health.loops))
}

fn ready(backend: &dyn Backend) -> Answer {
    match backend.stalled() {
        stalled if stalled.is_empty() => {
            Answer::text(200, format!("ready: {} loops, none stalled\n", backend.health().loops))
        }
        stalled => Answer::text(503, format!("not ready\n{}\n", stalled.join("\n"))),
    }
}

/// A panic in an answer is the agent's own fault: the client learns it, and the agent goes on.
fn guarded(backend: &dyn Backend, answer: impl FnOnce() -> Answer) -> Answer {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        backend.count_panic();
        Answer::text(
            500,
            "the agent failed to answer; see loopscope_agent_panics_total and the program's log\n",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_be_rebound_are_ours() {
        let on = |address: &str| Router { address: address.parse().unwrap(), captures: Captures::default() };
        let router = on("127.0.0.1:9464");
        for host in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "localhost:9464",
            "LOCALHOST.",
            "[::1]:80",
            "[::1]",
            "a.localhost",
        ] {
            assert!(router.may_be_called(host), "{host}");
        }
        for host in ["evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", "", "?", ":80"]
        {
            assert!(!router.may_be_called(host), "{host}");
        }
        assert!(on("0.0.0.0:9464").may_be_called("app.prod.svc:9464"));
    }
}
