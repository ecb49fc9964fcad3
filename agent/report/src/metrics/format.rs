//! The formats a page of metrics can be had in.

use crate::metrics::encoder::Encoder;
use crate::metrics::protobuf::Protobuf;
use crate::metrics::text::{Dialect, Text};

/// A format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: what people and every scraper read.
    Text,
    /// OpenMetrics text 1.0, which can carry exemplars.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily`, which can carry native histograms.
    Protobuf,
}

impl Format {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    /// All of them; where a client has no preference, the first that it takes.
    pub const ALL: [Format; Format::COUNT] = [Format::Text, Format::OpenMetrics, Format::Protobuf];

    /// Returns its name as a label value.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::OpenMetrics => "openmetrics",
            Format::Protobuf => "protobuf",
        }
    }

    /// Returns the `Content-Type` of a page in it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Begins a page in it.
    pub(crate) fn encoder(self) -> Box<dyn Encoder> {
        match self {
            Format::Text => Box::new(Text::new(Dialect::Prometheus)),
            Format::OpenMetrics => Box::new(Text::new(Dialect::OpenMetrics)),
            Format::Protobuf => Box::new(Protobuf::default()),
        }
    }
}
