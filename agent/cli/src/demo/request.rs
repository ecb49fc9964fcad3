//! HTTP/1.1 requests out of a stream of bytes, within limits.

/// Request line and headers together may be this long.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;

/// A body may be this long.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

const HEADERS_MAX: usize = 64;

/// A complete request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    pub body: Vec<u8>,
    /// Whether the client wants to send more requests on this connection.
    pub is_keep_alive: bool,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not a whole request yet.
    Partial,
    /// A request, and how many bytes it took; the next one may follow.
    Complete(Request, usize),
    /// Not to be served: the status to answer with before closing.
    Refused(u16),
}

/// Reads the first request of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let header_bytes = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEADER_BYTES_MAX => length,
        Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => {
            return Parsed::Refused(431);
        }
        Ok(httparse::Status::Partial) if bytes.len() > HEADER_BYTES_MAX => return Parsed::Refused(431),
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Refused(400),
    };
    let body_bytes = match body_length(request.headers) {
        Ok(length) => length,
        Err(status) => return Parsed::Refused(status),
    };
    let end = header_bytes + body_bytes;
    let Some(body) = bytes.get(header_bytes..end) else { return Parsed::Partial };
    let request = Request {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        body: body.to_vec(),
        is_keep_alive: is_keep_alive(request.version == Some(0), request.headers),
    };
    Parsed::Complete(request, end)
}

fn body_length(headers: &[httparse::Header<'_>]) -> Result<usize, u16> {
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(501);
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| 400u16)?.trim();
            // `parse` would take a plus sign, and two lengths that differ are a smuggled request.
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if !is_plain || length.is_some_and(|earlier| earlier != text) {
                return Err(400);
            }
            length = Some(text);
        }
    }
    match length.map(str::parse) {
        None => Ok(0),
        Some(Ok(length)) if length <= BODY_BYTES_MAX => Ok(length),
        Some(_) => Err(413),
    }
}

fn is_keep_alive(is_http_1_0: bool, headers: &[httparse::Header<'_>]) -> bool {
    let says = |word: &str| {
        let connection = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
        let mut values = connection.filter_map(|header| std::str::from_utf8(header.value).ok());
        values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    if is_http_1_0 { says("keep-alive") } else { !says("close") }
}

impl Request {
    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns a number from the query, at most `most`; `missing` where it is not there or not a number.
    pub fn number(&self, name: &str, missing: u32, most: u32) -> u32 {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok());
        value.unwrap_or(missing).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(bytes: &[u8]) -> (Request, usize) {
        match parse(bytes) {
            Parsed::Complete(request, used) => (request, used),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_ends_where_the_next_one_begins() {
        let two = b"POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n";
        let (first, used) = complete(two);
        assert_eq!((first.method.as_str(), first.body.as_slice()), ("POST", b"abc".as_slice()));
        let (second, rest) = complete(&two[used..]);
        assert_eq!((second.path(), used + rest), ("/", two.len()));
    }

    #[test]
    fn every_prefix_of_a_request_is_partial() {
        let whole = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Parsed::Partial, "{length}");
        }
    }

    #[test]
    fn what_is_too_large_or_wrong_gets_its_status() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(HEADER_BYTES_MAX));
        let endless = "GET /".to_owned() + &"x".repeat(HEADER_BYTES_MAX);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        let body = |value: &str| format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n");
        for (text, status) in [
            (long, 431),
            (endless, 431),
            (many, 431),
            ("\0\0\0\r\n\r\n".to_owned(), 400),
            ("GET\r\n\r\n".to_owned(), 400),
            (body("65537"), 413),
            (body("99999999999999999999999"), 413),
            (body("-1"), 400),
            (body("+1"), 400),
            (body(""), 400),
            (body("1\r\nContent-Length: 2"), 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 501),
        ] {
            assert_eq!(parse(text.as_bytes()), Parsed::Refused(status), "{text:.60}");
        }
    }

    #[test]
    fn connections_are_kept_as_the_version_and_the_header_say() {
        for (text, kept) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nConnection: x, close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ] {
            assert_eq!(complete(text.as_bytes()).0.is_keep_alive, kept, "{text}");
        }
    }

    #[test]
    fn numbers_of_a_query_are_bounded() {
        let request = complete(b"GET /work?ms=50&n=x HTTP/1.1\r\n\r\n").0;
        assert_eq!(request.path(), "/work");
        assert_eq!(request.number("ms", 5, 1000), 50);
        assert_eq!(request.number("ms", 5, 20), 20);
        assert_eq!(request.number("n", 7, 20), 7);
        assert_eq!(request.number("missing", 7, 20), 7);
    }
}
