//! Which format and coding a client takes: the `Accept` and `Accept-Encoding` of its request, with their weights.
//!
//! A client is never refused for what it accepts: who asks for something unknown, or for nothing, gets text.
//!
//! # Source
//! RFC 9110, sections 12.4 and 12.5: of the ranges that match, the most specific gives the weight. Among formats of
//! equal weight the one named first is taken, as Prometheus' own servers do.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};
use loopscope_report::metrics::format::MetricsFormat;
use std::cmp::Reverse;

/// More ranges than this are not looked at.
const RANGES_MAX: usize = 64;

/// Returns the format to answer in.
pub fn format(headers: &HeaderMap) -> MetricsFormat {
    let ranges = Range::all(headers, &ACCEPT);
    // A wildcard gives all formats one rank, and then the first of them is taken: of equals, the last is the maximum.
    let ranked = MetricsFormat::ALL.into_iter().rev().filter_map(|format| {
        let matching = ranges.iter().enumerate().filter_map(|(position, range)| {
            range.specificity(format).map(|specificity| (specificity, range.weight, Reverse(position)))
        });
        let (specificity, weight, position) = matching.max()?;
        (weight > 0).then_some((weight, specificity, position, format))
    });
    let best = ranked.max_by_key(|(weight, specificity, position, _)| (*weight, *specificity, *position));
    best.map_or(MetricsFormat::Text, |(.., format)| format)
}

/// Tells whether the answer is to be compressed with gzip.
pub fn wants_gzip(headers: &HeaderMap) -> bool {
    let ranges = Range::all(headers, &ACCEPT_ENCODING);
    let weight = |names: &[&str]| {
        let named = ranges.iter().filter(|range| names.contains(&range.name.as_str()));
        named.map(|range| range.weight).max()
    };
    let gzip = weight(&["gzip", "x-gzip"]).or_else(|| weight(&["*"])).unwrap_or(0);
    // Who does not say how much it likes an answer as it is likes any other coding better.
    gzip > 0 && gzip >= weight(&["identity"]).unwrap_or(0)
}

/// Returns how much a client likes a media type that it names, 0 to 1,000; 0 where it does not name it.
pub(crate) fn weight_of(headers: &HeaderMap, media: &str) -> u16 {
    let ranges = Range::all(headers, &ACCEPT);
    ranges.iter().filter(|range| range.name == media).map(|range| range.weight).max().unwrap_or(0)
}

/// One entry of such a header.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    /// In lower case.
    name: String,
    /// Names in lower case, and values.
    parameters: Vec<(String, String)>,
    /// In thousandths.
    weight: u16,
}

impl Range {
    fn all(headers: &HeaderMap, name: &HeaderName) -> Vec<Range> {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| split(value, ',')).filter_map(Range::parse).take(RANGES_MAX).collect()
    }

    /// Reads one entry; `None` where it is empty or its weight is no weight.
    fn parse(text: &str) -> Option<Range> {
        let mut parts = split(text, ';');
        let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        let mut range = Range { name, parameters: Vec::new(), weight: 1_000 };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
            if name == "q" {
                let weight = value.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
                range.weight = (weight * 1_000.0) as u16;
            } else {
                range.parameters.push((name, value.to_owned()));
            }
        }
        Some(range)
    }

    /// Returns how closely this range names a format; `None` where it does not.
    fn specificity(&self, format: MetricsFormat) -> Option<u8> {
        let (class, name) = match format {
            MetricsFormat::Text => ("text/*", "text/plain"),
            MetricsFormat::OpenMetrics => ("application/*", "application/openmetrics-text"),
            MetricsFormat::Protobuf => ("application/*", "application/vnd.google.protobuf"),
        };
        if self.name == "*/*" {
            return Some(0);
        }
        if self.name == class {
            return Some(1);
        }
        let is = |parameter: &str, wanted: &str, or_absent: bool| {
            let found = self.parameters.iter().find(|(name, _)| name == parameter);
            found.map_or(or_absent, |(_, value)| value.eq_ignore_ascii_case(wanted))
        };
        let has_version = self.parameters.iter().any(|(name, _)| name == "version");
        let is_meant = self.name == name
            && match format {
                MetricsFormat::Text => is("version", "0.0.4", true) && is("charset", "utf-8", true),
                MetricsFormat::OpenMetrics => is("version", "1.0.0", true) && is("charset", "utf-8", true),
                MetricsFormat::Protobuf => {
                    is("proto", "io.prometheus.client.MetricFamily", false)
                        && is("encoding", "delimited", false)
                }
            };
        is_meant.then_some(if has_version { 3 } else { 2 })
    }
}

/// Splits at a separator that is not between quotes, and trims.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = text.split(move |letter| {
        is_quoted ^= letter == '"';
        letter == separator && !is_quoted
    });
    parts.map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROTOBUF: &str =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    fn format_for(accept: &str) -> MetricsFormat {
        format(&headers(ACCEPT, &[accept]))
    }

    #[test]
    fn scrapers_get_what_they_ask_for() {
        use MetricsFormat::{OpenMetrics, Protobuf, Text};
        let open = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                    text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let open_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let native = format!(
            "{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        );
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (accept, expected) in [
            (open, OpenMetrics),
            (open_3, OpenMetrics),
            (&native, Protobuf),
            (browser, Text),
            ("*/*", Text),
            ("text/plain", Text),
        ] {
            assert_eq!(format_for(accept), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Text);
    }

    #[test]
    fn weights_are_honoured_and_nobody_is_refused() {
        use MetricsFormat::{OpenMetrics, Protobuf, Text};
        for (accept, expected) in [
            ("application/openmetrics-text;q=0.3, text/plain;q=0.4".to_owned(), Text),
            ("text/plain, application/openmetrics-text".to_owned(), Text),
            ("application/openmetrics-text, text/plain".to_owned(), OpenMetrics),
            ("text/plain;q=0, */*".to_owned(), OpenMetrics),
            ("application/openmetrics-text;q=0, application/*;q=0.9, */*;q=0.1".to_owned(), Protobuf),
            ("application/*".to_owned(), OpenMetrics),
            ("*/*;q=0".to_owned(), Text),
            ("application/json".to_owned(), Text),
            ("application/openmetrics-text;version=2.0.0".to_owned(), Text),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Charset=UTF-8".to_owned(), OpenMetrics),
            (format!("{PROTOBUF};q=0.1, */*;q=0.05"), Protobuf),
            (PROTOBUF.replace("delimited", "text"), Text),
            ("application/vnd.google.protobuf".to_owned(), Text),
            ("application/openmetrics-text;q=2, text/plain;q=0.1".to_owned(), Text),
            ("application/openmetrics-text;q=nan".to_owned(), Text),
            (",;,=,\"".to_owned(), Text),
            ("x;a=\"b,application/openmetrics-text\"".to_owned(), Text),
        ] {
            assert_eq!(format_for(&accept), expected, "{accept}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let headers = headers(ACCEPT, &["text/plain;q=0.5", PROTOBUF]);
        assert_eq!(format(&headers), MetricsFormat::Protobuf);
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (accept, expected) in [
            ("gzip", true),
            ("x-gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("br, *;q=0", false),
            ("gzip;q=0, *", false),
            ("gzip;q=0.000", false),
            ("identity, gzip;q=0.5", false),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("identity;q=0, gzip;q=0.1", true),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(wants_gzip(&headers(ACCEPT_ENCODING, &[accept])), expected, "{accept}");
        }
        assert!(!wants_gzip(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn any_header_has_an_answer(accept in "[ -~]{0,200}") {
            let headers = headers(ACCEPT, &[&accept]);
            prop_assert!(MetricsFormat::ALL.contains(&format(&headers)));
            wants_gzip(&headers);
        }
    }
}
