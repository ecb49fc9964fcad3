//! The formats a page of metrics can be had in.

use crate::metrics::encoder::Encoder;
use crate::metrics::protobuf::Protobuf;
use crate::metrics::text::{Dialect, Text};

/// A format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// Prometheus text 0.0.4: what people and every scraper read.
    Text,
    /// OpenMetrics text 1.0, which can carry exemplars.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily`, which can carry native histograms.
    Protobuf,
}

impl MetricsFormat {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    /// All of them; where a client has no preference, the first that it takes.
    pub const ALL: [MetricsFormat; MetricsFormat::COUNT] =
        [MetricsFormat::Text, MetricsFormat::OpenMetrics, MetricsFormat::Protobuf];

    /// Returns its name as a label value.
    pub(crate) fn name(self) -> &'static str {
        match self {
            MetricsFormat::Text => "text",
            MetricsFormat::OpenMetrics => "openmetrics",
            MetricsFormat::Protobuf => "protobuf",
        }
    }

    /// Returns the `Content-Type` of a page in it.
    pub fn content_type(self) -> &'static str {
        match self {
            MetricsFormat::Text => "text/plain; version=0.0.4; charset=utf-8",
            MetricsFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            MetricsFormat::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Begins a page in it.
    pub(crate) fn encoder(self) -> Box<dyn Encoder> {
        match self {
            MetricsFormat::Text => Box::new(Text::new(Dialect::Prometheus)),
            MetricsFormat::OpenMetrics => Box::new(Text::new(Dialect::OpenMetrics)),
            MetricsFormat::Protobuf => Box::new(Protobuf::default()),
        }
    }
}
