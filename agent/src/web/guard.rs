//! Who may ask what: the checks that every request passes before a path answers it, the same for every server of ours.

use crate::web::answer::Answer;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{Method, Version};
use std::net::{IpAddr, SocketAddr};

/// A POST must have this header: a page in a browser cannot send it to another origin without asking first.
const INTENT_HEADER: &str = "x-loopscope";

/// Knows where the server listens, and so what it may tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub address: SocketAddr,
}

impl Guard {
    /// What tells much, or changes something, is for this host only.
    pub(crate) fn refuse_outside(&self) -> Option<Answer> {
        let message =
            || format!("this is answered on loopback only, and this agent listens on {}\n", self.address);
        (!self.address.ip().is_loopback()).then(|| Answer::text(403, message()))
    }

    /// Returns the refusal of a request that no path may answer; `takes_changes` says whether its path takes a POST.
    pub(crate) fn refuse(&self, request: &Parts, takes_changes: bool) -> Option<Answer> {
        let is_change = request.method == Method::POST && takes_changes;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_be_rebound_are_ours() {
        let on = |address: &str| Guard { address: address.parse().unwrap() };
        let guard = on("127.0.0.1:9464");
        for host in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "localhost:9464",
            "LOCALHOST.",
            "[::1]:80",
            "[::1]",
            "a.localhost",
        ] {
            assert!(guard.may_be_called(host), "{host}");
        }
        for host in ["evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", "", "?", ":80"]
        {
            assert!(!guard.may_be_called(host), "{host}");
        }
        assert!(on("0.0.0.0:9464").may_be_called("app.prod.svc:9464"));
    }
}
