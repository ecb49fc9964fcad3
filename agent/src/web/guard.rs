//! Who may ask what. The rules are a table in `docs/security.md`.
//!
//! Health is for anybody who reaches the server, metrics for anybody where no users are listed, and what tells much or
//! changes something only for this host, or for who has proved something: a token, a password, a certificate.

use crate::web::answer::Answer;
use crate::web::secure::WebConfig;
use crate::web::token::Token;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Version};
use std::net::IpAddr;
use std::sync::Arc;

/// A POST must have this header: a page in a browser cannot send it to another origin without asking first.
pub(crate) const INTENT_HEADER: &str = "x-loopscope";

/// From where the server can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A socket file, which only its owner may open.
    Unix,
    /// This host.
    Loopback,
    /// Whoever has a way to the address.
    Elsewhere,
}

/// What a path gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// That the agent lives, and whether loops are stalled.
    Health,
    /// Numbers.
    Metrics,
    /// Names of functions and files, spans with their fields; or it changes something, or costs something.
    Insight,
}

/// The rules of one server.
#[derive(Debug)]
pub(crate) struct Guard {
    pub place: Place,
    /// What clients call the server; for messages.
    pub address: String,
    pub token: Option<Token>,
    pub web_config: Option<Arc<WebConfig>>,
}

/// What is known of a client before it has said anything; among the extensions of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// It showed a certificate that one of our authorities signed.
    pub has_certificate: bool,
}

impl Guard {
    /// A server that is for this host only, without further ado.
    #[cfg(test)]
    pub(crate) fn open(place: Place, address: &str) -> Guard {
        Guard { place, address: address.to_owned(), token: None, web_config: None }
    }

    /// Returns the refusal of a request, `None` where it may be answered. `may_change` says that this path takes POST.
    pub(crate) async fn refuse(&self, request: &Parts, gives: Gives, may_change: bool) -> Option<Answer> {
        if let Some(refusal) = self.refuse_form(request, may_change) {
            return Some(refusal);
        }
        match self.prove(request).await {
            Proof::Given => None,
            Proof::Later(answer) => Some(answer),
            Proof::Wrong => Some(self.unauthorized("these are not the credentials of this server\n")),
            Proof::None if self.has_users() => {
                Some(self.unauthorized("this server wants a user and a password\n"))
            }
            Proof::None if gives != Gives::Insight => None,
            Proof::None if self.token.is_some() => {
                Some(self.unauthorized("this is told with the token only: Authorization: Bearer TOKEN\n"))
            }
            Proof::None if self.place == Place::Elsewhere => Some(Answer::text(
                403,
                format!(
                    "this server listens on {}, where others reach it, and has no token: this is told on loopback \
                     only, or with a token (see token_file)\n",
                    self.address
                ),
            )),
            Proof::None => None,
        }
    }

    /// Tells whether everybody on this host, or more, is told everything.
    pub(crate) fn is_open(&self) -> bool {
        self.place != Place::Unix && self.token.is_none() && !self.has_users()
    }

    fn has_users(&self) -> bool {
        self.web_config.as_ref().is_some_and(|config| config.has_users())
    }

    async fn prove(&self, request: &Parts) -> Proof {
        let peer = request.extensions.get::<Peer>().copied().unwrap_or_default();
        let Some(offered) = request.headers.get(AUTHORIZATION) else {
            return if peer.has_certificate && !self.has_users() { Proof::Given } else { Proof::None };
        };
        match (scheme(offered), &self.token, &self.web_config) {
            (Some(("bearer", offered)), Some(token), _) if token.is(offered.as_bytes()) => Proof::Given,
            (Some(("basic", offered)), _, Some(config)) if config.has_users() => {
                match config.check(offered).await {
                    Some(true) => Proof::Given,
                    Some(false) => Proof::Wrong,
                    None => {
                        Proof::Later(Answer::text(503, "too many passwords are being checked; try again\n"))
                    }
                }
            }
            _ => Proof::Wrong,
        }
    }

    fn unauthorized(&self, message: &str) -> Answer {
        let ways = match (self.has_users(), self.token.is_some()) {
            (true, true) => "Basic realm=\"loopscope\", Bearer realm=\"loopscope\"",
            (true, false) => "Basic realm=\"loopscope\"",
            _ => "Bearer realm=\"loopscope\"",
        };
        Answer::text(401, message).with_challenge(ways)
    }

    /// Returns the refusal of a request that is none for us, whoever asks.
    fn refuse_form(&self, request: &Parts, may_change: bool) -> Option<Answer> {
        let is_change = request.method == Method::POST && may_change;
        if request.method != Method::GET && request.method != Method::HEAD && !is_change {
            let message = format!("{} is not answered here: only GET and HEAD\n", request.method);
            return Some(Answer::text(405, message));
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
        if self.place != Place::Loopback {
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

/// What a request proves.
enum Proof {
    Given,
    None,
    Wrong,
    /// It could not be looked at now.
    Later(Answer),
}

/// Splits `Bearer TOKEN` into the scheme in lower case and the rest.
fn scheme(value: &HeaderValue) -> Option<(&'static str, &str)> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let known = ["bearer", "basic"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    Some((known, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_be_rebound_are_ours() {
        let guard = Guard::open(Place::Loopback, "127.0.0.1:9464");
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
        assert!(Guard::open(Place::Elsewhere, "0.0.0.0:9464").may_be_called("app.prod.svc:9464"));
    }

    #[test]
    fn schemes_are_read_in_any_case() {
        for (text, read) in [
            ("BEARER  x", Some(("bearer", "x"))),
            ("Basic eA==", Some(("basic", "eA=="))),
            ("Bearer", None),
            ("Digest x", None),
        ] {
            assert_eq!(scheme(&HeaderValue::from_static(text)), read);
        }
    }
}
