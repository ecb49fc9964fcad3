//! An answer: status, content type, body.

use crate::export::format::Format;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";

/// The drawing carries its own script and style and needs nothing from anywhere.
const SVG_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    /// Answers with a text for people; it should end with a newline.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, content_type: TEXT, body: body.into().into_bytes() }
    }

    /// Answers with a page of metrics.
    pub(crate) fn metrics(format: Format, page: Vec<u8>) -> Answer {
        Answer { status: 200, content_type: format.content_type(), body: page }
    }

    /// Answers with JSON.
    pub(crate) fn json(body: Vec<u8>) -> Answer {
        Answer { status: 200, content_type: JSON, body }
    }

    /// Answers with a drawing.
    pub(crate) fn svg(drawing: Vec<u8>) -> Answer {
        Answer { status: 200, content_type: SVG, body: drawing }
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
        if is_svg {
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SVG_POLICY));
        }
        if status == 405 {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if matches!(status, 429 | 503) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
