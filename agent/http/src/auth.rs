//! Who may ask what. The rules are a table in `docs/security.md`.
//!
//! Health is for anybody who reaches the server, metrics for anybody where no users are listed. What tells much or changes
//! something is for who has proved something (a token, a password, a certificate), and, where the server is for this host
//! only, for the user that the program runs as and for root. Who was passed on by a proxy may be anybody.

use crate::answer::Answer;
use crate::client::{Client, ClientInfo, user_words};
use crate::secure::WebConfig;
use crate::token::Token;
use hyper::header::{AUTHORIZATION, FORWARDED, HOST, HeaderValue, ORIGIN, REFERER, USER_AGENT, VIA};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Version};
use loopscope_probe::raw::directory::own_user;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// A POST must have this header: a page in a browser cannot send it to another origin without asking first.
pub const INTENT_HEADER: &str = "x-loopscope";

/// By which browsers say from where a page's request comes: `same-origin`, `same-site`, `cross-site`, or `none` for an
/// address that was typed. Old ones never do, and others not over plain HTTP to another address than loopback.
const SITE_HEADER: &str = "sec-fetch-site";

/// What the `User-Agent` of every browser begins with.
const BROWSER: &[u8] = b"Mozilla/";

/// From where the server can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindScope {
    /// A socket file, which only its owner may open.
    Unix,
    /// This host.
    Loopback,
    /// Whoever has a way to the address.
    Elsewhere,
}

/// What a path gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// That the agent lives, and whether loops are stalled.
    Health,
    /// Numbers.
    Metrics,
    /// Names of functions and files, spans with their fields; or it changes something, or costs something.
    Insight,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    pub gives: Sensitivity,
    /// The path takes POST.
    pub may_change: bool,
    /// Also a GET makes the process do something: sample its threads, or be busy drawing.
    pub is_capture: bool,
}

/// The rules of one server.
#[derive(Debug)]
pub struct Auth {
    pub place: BindScope,
    /// What clients call the server; for messages.
    pub address: String,
    /// Its own user and root need to show nothing, whatever others do: the socket file beside the pages.
    pub is_beside_pages: bool,
    /// Names besides `localhost` that clients may call it by, in lower case.
    pub host_names: Vec<String>,
    pub token: Option<Arc<Token>>,
    pub web_config: Option<Arc<WebConfig>>,
}

impl Auth {
    /// A server that is for this host only, without further ado.
    #[cfg(test)]
    pub(crate) fn open(place: BindScope, address: &str) -> Auth {
        let address = address.to_owned();
        let is_beside_pages = false;
        Auth { place, address, is_beside_pages, host_names: Vec::new(), token: None, web_config: None }
    }

    /// The rules of the socket file beside the pages of this one's process.
    pub fn of_socket_file(&self, path: &Path) -> Auth {
        Auth::of_socket_file_alone(path, self.token.clone())
    }

    /// The rules of that file where the process has no other entrance.
    pub fn of_socket_file_alone(path: &Path, token: Option<Arc<Token>>) -> Auth {
        Auth {
            place: BindScope::Unix,
            address: format!("unix:{}", path.display()),
            is_beside_pages: true,
            host_names: Vec::new(),
            token,
            web_config: None,
        }
    }

    /// Returns the refusal of a request, `None` where it may be answered.
    pub async fn refuse(&self, request: &Parts, purpose: Purpose) -> Option<Answer> {
        if let Some(refusal) = self.refuse_form(request, purpose) {
            return Some(refusal);
        }
        match self.prove(request).await {
            Proof::Given => None,
            Proof::Later(answer) => Some(answer),
            Proof::Wrong => Some(self.unauthorized("invalid credentials\n")),
            // Only they can open the file, and they could read the token's file as well.
            Proof::None if self.is_beside_pages && is_own_user(request) => None,
            Proof::None if self.has_users() => Some(self.unauthorized("user and password required\n")),
            Proof::None if purpose.gives != Sensitivity::Insight => None,
            Proof::None if self.token.is_some() => {
                Some(self.unauthorized("token required: Authorization: Bearer TOKEN\n"))
            }
            Proof::None if self.place == BindScope::Elsewhere => Some(Answer::text(
                403,
                format!(
                    "forbidden: this server listens on {}, which is not loopback, and has no token; set one \
                     (token_file), or listen on loopback, where its own user and root are allowed\n",
                    self.address
                ),
            )),
            Proof::None if is_own_user(request) => None,
            Proof::None => Some(Answer::text(403, others_words(request))),
        }
    }

    /// Tells whether who reaches the server need not show anything: the user that it runs as and root are told
    /// everything then, and a proxy or a tunnel of theirs looks like them.
    pub fn is_open(&self) -> bool {
        self.place != BindScope::Unix && self.token.is_none() && !self.has_users()
    }

    /// Says who sent a request that was not refused, for the log.
    pub fn requester(&self, request: &Parts) -> String {
        let client = client_of(request);
        let offered = request.headers.get(AUTHORIZATION).and_then(scheme);
        let proof = match offered {
            Some(("bearer", _)) => ", with the token",
            Some(_) => ", with a password",
            None if request.extensions.get::<ClientInfo>().is_some_and(|peer| peer.has_certificate) => {
                ", with a client certificate"
            }
            None => "",
        };
        let passed_on = if is_passed_on(&request.headers) { ", through a proxy" } else { "" };
        let client = client.map_or_else(|| Client::default().to_string(), Client::to_string);
        format!("{client}{proof}{passed_on}")
    }

    fn has_users(&self) -> bool {
        self.web_config.as_ref().is_some_and(|config| config.has_users())
    }

    async fn prove(&self, request: &Parts) -> Proof {
        let peer = request.extensions.get::<ClientInfo>().copied().unwrap_or_default();
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
    fn refuse_form(&self, request: &Parts, purpose: Purpose) -> Option<Answer> {
        let is_change = request.method == Method::POST && purpose.may_change;
        if request.method != Method::GET && request.method != Method::HEAD && !is_change {
            let message = format!("{} not allowed: only GET and HEAD\n", request.method);
            return Some(Answer::text(405, message));
        }
        if is_change && !request.headers.contains_key(INTENT_HEADER) {
            return Some(Answer::text(403, "changes require the header X-Loopscope: 1\n"));
        }
        let host = request.headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
        // An absolute request line has precedence over the header.
        let host = request.uri.authority().map(|authority| authority.as_str()).or(host);
        if purpose.is_capture
            && let Some(message) = site_objection(&request.headers, host.unwrap_or_default())
        {
            return Some(Answer::text(403, message));
        }
        match host {
            Some(host) if !self.may_be_called(host) => Some(Answer::text(403, self.wrong_host_words(host))),
            None if request.version > Version::HTTP_10 => Some(Answer::text(400, "missing Host header\n")),
            _ => None,
        }
    }

    /// Tells whether a client may have meant us by `host`. On loopback only names that cannot be pointed at us from
    /// outside will do: a web page whose own name was made to resolve to 127.0.0.1 must not read the answers.
    fn may_be_called(&self, host: &str) -> bool {
        if self.place != BindScope::Loopback {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        literal.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.host_names.contains(&name)
    }

    fn wrong_host_words(&self, host: &str) -> String {
        let also: String = self.host_names.iter().map(|name| format!(", {name}")).collect();
        format!(
            "Host header {host:?} not accepted: use {}, another IP address, localhost{also}, or allow the name \
             (AgentBuilder::host_name, loopscope serve --host-name)\n",
            self.address
        )
    }
}

fn client_of(request: &Parts) -> Option<&Client> {
    request.extensions.get::<Arc<Client>>().map(|client| &**client)
}

/// Tells whether a request comes from the user that this process runs as, or from root, and from nobody through them.
fn is_own_user(request: &Parts) -> bool {
    !is_passed_on(&request.headers) && client_of(request).is_some_and(Client::is_own_user)
}

/// Tells whether a proxy says that it passes on what another client asked.
fn is_passed_on(headers: &HeaderMap) -> bool {
    let is_of_proxy = |name: &str| name.starts_with("x-forwarded-") || name == "x-real-ip";
    headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
        || headers.keys().any(|name| is_of_proxy(name.as_str()))
}

/// Returns why a capture is not made, where a page of somebody else's may make a browser ask for it, with whatever password
/// or user the browser is known by; `host` is what the request calls this server. Another port of this host is another site.
///
/// Where the browser does not say from where the request comes, its `Origin` or `Referer` must be ours; a page can withhold
/// both, so a browser that sends neither is refused, too. Other clients send none of these, and follow no page.
fn site_objection(headers: &HeaderMap, host: &str) -> Option<&'static str> {
    const OF_OTHERS: &str = "captures requested by a page of another site are refused, because they cost this \
                             process CPU time: type or paste the address, or capture from the live page or with \
                             `loopscope flame`\n";
    const OF_NOBODY: &str = "capture refused: the browser did not say which page requested it, and it may be one of \
                             another site; capture from the live page, over https, or with `loopscope flame`\n";
    if headers.contains_key(SITE_HEADER) {
        let mut sites = headers.get_all(SITE_HEADER).iter();
        return sites.any(|site| site == "cross-site" || site == "same-site").then_some(OF_OTHERS);
    }
    // Neither can be sent by a page to another origin without asking first.
    let has_token = headers.get(AUTHORIZATION).and_then(scheme).is_some_and(|(scheme, _)| scheme == "bearer");
    if has_token || headers.contains_key(INTENT_HEADER) {
        return None;
    }
    let is_ours = |from: &HeaderValue| {
        let authority = from.to_str().ok().and_then(|from| from.split_once("://")?.1.split('/').next());
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    match headers.get(ORIGIN).or_else(|| headers.get(REFERER)) {
        Some(from) => (!is_ours(from)).then_some(OF_OTHERS),
        None => {
            let is_browser = |agent: &HeaderValue| agent.as_bytes().starts_with(BROWSER);
            headers.get(USER_AGENT).is_some_and(is_browser).then_some(OF_NOBODY)
        }
    }
}

/// Says to somebody who is not let in what would help.
fn others_words(request: &Parts) -> String {
    let own = user_words(own_user());
    let you = match client_of(request).and_then(Client::user) {
        _ if is_passed_on(&request.headers) => "this request came through a proxy".to_owned(),
        Some(user) => format!("you are {}", user_words(user)),
        None => "your user is unknown".to_owned(),
    };
    format!(
        "only {own}, who runs this process, and root may request this, but {you}: request it as one of them, or \
         with a token (token_file)\n"
    )
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
    use crate::client::Connection;

    #[test]
    fn only_names_that_cannot_be_rebound_are_ours() {
        let auth = Auth::open(BindScope::Loopback, "127.0.0.1:9464");
        for host in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "localhost:9464",
            "LOCALHOST.",
            "[::1]:80",
            "[::1]",
            "a.localhost",
        ] {
            assert!(auth.may_be_called(host), "{host}");
        }
        for host in ["evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", "", "?", ":80"]
        {
            assert!(!auth.may_be_called(host), "{host}");
        }
        assert!(Auth::open(BindScope::Elsewhere, "0.0.0.0:9464").may_be_called("app.prod.svc:9464"));
    }

    #[test]
    fn a_name_that_is_not_accepted_is_told_with_those_that_are_and_with_the_setting() {
        let names = vec!["build-7.lan".to_owned()];
        let auth = Auth { host_names: names, ..Auth::open(BindScope::Loopback, "127.0.0.1:9464") };
        assert!(auth.may_be_called("Build-7.lan:9464") && !auth.may_be_called("x.build-7.lan"));
        let told = auth.wrong_host_words("evil.example");
        for part in
            ["\"evil.example\"", "127.0.0.1:9464", "localhost, build-7.lan", "host_name", "--host-name"]
        {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn proxies_and_pages_of_other_sites_are_known_by_their_headers() {
        let headers = |name: &'static str, value: &'static str| {
            let value = HeaderValue::from_static(value);
            HeaderMap::from_iter([(hyper::header::HeaderName::from_static(name), value)])
        };
        for name in ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"] {
            assert!(is_passed_on(&headers(name, "x")), "{name}");
        }
        assert!(!is_passed_on(&headers("x-loopscope", "1")));
        for (site, is_other) in
            [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)]
        {
            assert_eq!(site_objection(&headers(SITE_HEADER, site), "a:1").is_some(), is_other, "{site}");
        }
    }

    #[test]
    fn a_browser_that_does_not_say_from_where_it_asks_must_show_a_page_of_ours() {
        const OLD: (&str, &str) = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
        let objection = |given: &[(&'static str, &'static str)]| {
            let pairs = given.iter().map(|(name, value)| {
                (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            site_objection(&pairs.collect(), "web.lan:9464")
        };
        for fine in [
            &[][..],
            &[("user-agent", "curl/8.5.0")],
            &[OLD, ("referer", "http://web.lan:9464/live")],
            &[OLD, ("referer", "http://WEB.lan:9464/")],
            &[OLD, ("origin", "http://web.lan:9464"), ("referer", "http://web.lan:9464/live")],
            &[OLD, ("x-loopscope", "1")],
            &[OLD, ("authorization", "Bearer x")],
            &[OLD, ("sec-fetch-site", "none")],
        ] {
            assert_eq!(objection(fine), None, "{fine:?}");
        }
        for refused in [
            &[OLD][..],
            &[OLD, ("referer", "http://evil.example/")],
            &[OLD, ("referer", "http://web.lan:9464.evil.example/")],
            &[OLD, ("referer", "http://evil.example/http://web.lan:9464/")],
            &[OLD, ("referer", "http://web.lan:8080/")],
            &[OLD, ("origin", "null")],
            &[OLD, ("authorization", "Basic eA==")],
            &[OLD, ("origin", "http://evil.example"), ("referer", "http://web.lan:9464/live")],
            &[("referer", "http://evil.example/")],
        ] {
            assert!(objection(refused).is_some(), "{refused:?}");
        }
    }

    #[test]
    fn who_asked_is_told_with_what_it_showed_behind() {
        let auth = Auth::open(BindScope::Loopback, "127.0.0.1:9464");
        let asked = |offered: Option<&str>, via: bool| {
            let mut request = hyper::Request::new(());
            let by_file = Connection::Unix { user: 4_000_000, pid: Some(7) };
            request.extensions_mut().insert(Arc::new(Client::new(by_file)));
            if let Some(offered) = offered {
                request.headers_mut().insert(AUTHORIZATION, offered.parse().unwrap());
            }
            if via {
                request.headers_mut().insert(VIA, HeaderValue::from_static("1.1 proxy"));
            }
            auth.requester(&request.into_parts().0)
        };
        for (offered, via, told) in [
            (None, false, "uid 4000000 in process 7"),
            (Some("Bearer x"), false, "uid 4000000 in process 7, with the token"),
            (Some("Basic eA=="), false, "uid 4000000 in process 7, with a password"),
            (Some("Bearer x"), true, "uid 4000000 in process 7, with the token, through a proxy"),
        ] {
            assert_eq!(asked(offered, via), told);
        }
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
