//! An answer: status, content type, body.

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use loopscope_probe::raw::printable::{is_hidden, printable_json};
use loopscope_report::metrics::format::MetricsFormat;
use loopscope_report::profiles;
use std::io::{self, Write};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";
/// The header that has the figures of a flamegraph.
pub const FIGURES_HEADER: &str = "x-loopscope-figures";

const UNKNOWN: &str = "application/octet-stream";

/// The drawing carries its own script and style and needs nothing from anywhere. That script may be anybody's where an
/// agent of another user drew it, so it runs in an origin of its own and reaches neither our pages nor what the browser
/// keeps for them. The search asks for its word in a dialog.
const SVG_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    sandbox allow-scripts allow-modals";

/// The live page takes scripts, styles and data from where it came from itself, and nothing else from anywhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    /// Whether the headers of the request had a say in how the body looks.
    is_negotiated: bool,
    is_gzip: bool,
    /// Which policy a browser is to hold it to.
    policy: Option<&'static str>,
    /// What a browser or `curl -OJ` should call it; `None` for what is only read.
    file: Option<String>,
    /// The widest callback sites of a flamegraph, as [`loopscope_report::profiles::widest::line()`] writes them.
    figures: Option<String>,
    /// How a client may prove who it is, where it has to.
    challenge: Option<&'static str>,
    /// After how many seconds to ask again; 1 where nobody knows.
    retry_after_s: Option<u64>,
}

impl Answer {
    /// Answers with a text for people; it should end with a newline.
    pub fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer::new(status, TEXT, body.into().into_bytes())
    }

    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Answer {
        Answer {
            status,
            content_type,
            body,
            is_negotiated: false,
            is_gzip: false,
            policy: None,
            file: None,
            figures: None,
            challenge: None,
            retry_after_s: None,
        }
    }

    /// Answers with a page of metrics, compressed where that is wanted.
    pub fn metrics(format: MetricsFormat, page: Vec<u8>, wants_gzip: bool) -> Answer {
        // Writing to memory does not fail; if it did, the page as it is would be right, too.
        let compressed = if wants_gzip { gzip(&page).ok() } else { None };
        let is_gzip = compressed.is_some();
        let answer = Answer::new(200, format.content_type(), compressed.unwrap_or(page));
        Answer { is_negotiated: true, is_gzip, ..answer }
    }

    /// Answers with JSON, in which characters that are not to be shown are escapes: people read it in terminals, too.
    pub fn json(body: Vec<u8>) -> Answer {
        Answer::new(200, JSON, printable_json(body))
    }

    /// Answers with a file of a flamegraph's format. Its name has only letters, digits, dots and dashes.
    pub fn file(format: profiles::Format, name: &str, body: Vec<u8>) -> Answer {
        let policy = (format == profiles::Format::Svg).then_some(SVG_POLICY);
        Answer { policy, file: Some(name.to_owned()), ..Answer::new(200, format.content_type(), body) }
    }

    /// Says which callback sites are widest in a file whose format does not tell it at a glance.
    pub fn with_figures(self, figures: Option<String>) -> Answer {
        Answer { figures, ..self }
    }

    /// Answers with a file of the live page.
    pub(crate) fn page(content_type: &'static str, body: &[u8]) -> Answer {
        Answer { policy: Some(PAGE_POLICY), ..Answer::new(200, content_type, body.to_vec()) }
    }

    /// Says that the `Accept` header had a say.
    pub fn negotiated(self) -> Answer {
        Answer { is_negotiated: true, ..self }
    }

    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Says how a client may prove who it is.
    pub(crate) fn with_challenge(self, ways: &'static str) -> Answer {
        Answer { challenge: Some(ways), ..self }
    }

    /// Says after how many seconds to ask again, where that is known.
    pub fn retried_after(self, seconds: Option<u64>) -> Answer {
        Answer { retry_after_s: seconds, ..self }
    }

    /// Passes on what an agent answered. Media types that no agent of ours has are not passed on: a page that calls itself
    /// HTML must not run here. In text and JSON, what a terminal acts on is escaped.
    pub fn forwarded(status: u16, media: &str, file: Option<String>, body: Vec<u8>) -> Answer {
        let formats = profiles::Format::ALL.map(profiles::Format::content_type);
        let known = [TEXT, JSON].into_iter().chain(formats).find(|known| *known == media);
        let policy = known.filter(|known| *known == SVG).map(|_| SVG_POLICY);
        let media = known.unwrap_or(UNKNOWN);
        Answer { file, policy, ..Answer::new(status, media, without_hidden(media, body)) }
    }

    /// Returns the response to send.
    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let (status, is_svg) = (self.status, self.content_type == SVG);
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.is_negotiated {
            headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        }
        if self.is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(policy) = self.policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        }
        if let Some(file) = self.file.and_then(|name| disposition(is_svg, &name)) {
            headers.insert(header::CONTENT_DISPOSITION, file);
        }
        if let Some(figures) = self.figures.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(FIGURES_HEADER, figures);
        }
        if let Some(ways) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(ways));
        }
        if status == 405 {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if matches!(status, 429 | 503) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after_s.unwrap_or(1)));
        }
        response
    }
}

/// Compresses at the fastest level: the server's thread has others to answer.
fn gzip(page: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    encoder.write_all(page)?;
    encoder.finish()
}

/// A drawing is shown, everything else is saved.
fn disposition(is_shown: bool, name: &str) -> Option<HeaderValue> {
    let how = if is_shown { "inline" } else { "attachment" };
    HeaderValue::from_str(&format!("{how}; filename=\"{name}\"")).ok()
}

/// Escapes the hidden characters of text and JSON, all but line breaks and tabs; other media stay.
fn without_hidden(media: &str, body: Vec<u8>) -> Vec<u8> {
    let is_acted_on = |c: char| is_hidden(c) && !matches!(c, '\n' | '\t');
    if !matches!(media, TEXT | JSON)
        || std::str::from_utf8(&body).is_ok_and(|text| !text.contains(is_acted_on))
    {
        return body;
    }
    let text = String::from_utf8_lossy(&body);
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match (is_acted_on(c), media) {
            (false, _) => escaped.push(c),
            (true, JSON) => {
                escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")))
            }
            (true, _) => escaped.extend(c.escape_default()),
        }
    }
    escaped.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_not_passed_on() {
        let passed = |media, body: &str| {
            let body = Answer::forwarded(200, media, None, body.as_bytes().to_vec()).body;
            String::from_utf8(body).unwrap()
        };
        assert_eq!(passed(TEXT, "a\n\tb\u{1b}]0;x\u{7} é"), "a\n\tb\\u{1b}]0;x\\u{7} é");
        let json = passed(JSON, "{\n \"a\": \"\u{1b}[2J\u{202e}\u{e0041}中\"}");
        assert_eq!(json, "{\n \"a\": \"\\u001b[2J\\u202e\\udb40\\udc41中\"}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["a"], "\u{1b}[2J\u{202e}\u{e0041}中", "it means the same");
        assert_eq!(passed(SVG, "<svg>\u{202e}</svg>"), "<svg>\u{202e}</svg>");
    }

    #[test]
    fn a_drawing_from_elsewhere_runs_in_an_origin_of_its_own() {
        let passed_on = |media: &str| {
            let response = Answer::forwarded(200, media, None, b"<svg/>".to_vec()).into_response();
            let policy = response.headers().get(header::CONTENT_SECURITY_POLICY);
            policy.map(|policy| policy.to_str().unwrap().to_owned())
        };
        let policy = passed_on(SVG).expect("it has a policy");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("; sandbox allow-scripts "));
        assert!(!policy.contains("allow-same-origin") && !policy.contains("allow-popups"), "{policy}");
        assert_eq!(passed_on("text/html"), None, "it is saved and not shown");
    }
}
