//! Which names of other exporters are written besides our own.

/// Names to write besides our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compat {
    /// Those of Node's prom-client: `nodejs_eventloop_lag_seconds` and its family, `nodejs_active_handles` and the like.
    /// Three of them break the rules that `promtool check metrics` checks, by design.
    PromClient,
    /// Those of OpenTelemetry's conventions for Node as Prometheus spells them: `nodejs_eventloop_delay_*`,
    /// `nodejs_eventloop_utilization_ratio`, `nodejs_eventloop_time_seconds_total`.
    Otel,
}

/// Which of them are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompatSet {
    pub prom_client: bool,
    pub otel: bool,
}

impl CompatSet {
    pub fn add(&mut self, compat: Compat) {
        match compat {
            Compat::PromClient => self.prom_client = true,
            Compat::Otel => self.otel = true,
        }
    }

    pub fn is_empty(self) -> bool {
        self == CompatSet::default()
    }
}
