//! The cases by which `promtool test rules` proves each alert: series that make it fire, and series that must not.
//!
//! What a firing alert must say is made here from its texts by putting in the labels and the value that the case
//! expects, as a person would read it; promtool runs the real templates and compares.

mod agent;
mod burn_rate;
mod host;
mod loops;
mod pools;
mod short_lived;

use crate::alerts::{Alert, groups};
use crate::durations::Durations;
use crate::promql::has_label;
use crate::recorded;
use crate::yaml::{quoted, runbook_url};
use loopscope_report::metrics::catalog as c;
use loopscope_report::metrics::catalog::Family;

/// One story: series over time, and what must hold at some moments of it.
#[derive(Debug)]
pub struct Case {
    name: &'static str,
    interval: &'static str,
    series: Vec<(String, String)>,
    checks: Vec<Check>,
}

/// What must hold of one alert at one moment.
#[derive(Debug)]
struct Check {
    at: &'static str,
    alert: &'static str,
    fires: Vec<Firing>,
}

/// An alert that fires: the labels of its series, and its value as people read it.
#[derive(Clone, Debug)]
struct Firing {
    labels: Vec<(&'static str, &'static str)>,
    value: &'static str,
}

impl Case {
    fn new(name: &'static str, interval: &'static str) -> Case {
        Case { name, interval, series: Vec::new(), checks: Vec::new() }
    }

    /// Adds a series of target `a` of job `app`. `values` is promtool's notation: `0 1 2+0x60`.
    #[must_use]
    fn series(self, family: &'static Family, labels: &[(&str, &str)], values: &str) -> Case {
        self.suffixed(family, "", labels, values)
    }

    /// Adds a series of a classic histogram.
    #[must_use]
    fn suffixed(
        mut self,
        family: &'static Family,
        suffix: &str,
        labels: &[(&str, &str)],
        values: &str,
    ) -> Case {
        let own: String = labels.iter().map(|(name, value)| format!(", {name}=\"{value}\"")).collect();
        for (name, _) in labels {
            assert!(has_label(family, name) || *name == "le", "{} has no label `{name}`", family.name);
        }
        self.series.push((
            format!("{}{suffix}{{job=\"app\", instance=\"a\"{own}}}", family.name),
            values.to_owned(),
        ));
        self
    }

    /// Adds a histogram of which `all` values arrive an interval and `fast` of them are at most `bound`.
    #[must_use]
    fn histogram(
        self,
        family: &'static Family,
        labels: &[(&'static str, &'static str)],
        rates: [(&'static str, &str); 3],
    ) -> Case {
        let mut case = self;
        for (le, values) in rates {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", le)]).collect();
            case = case.suffixed(family, "_bucket", &labels, values);
            if le == "+Inf" {
                case = case.suffixed(family, "_count", &labels[..labels.len() - 1], values);
            }
        }
        case
    }

    /// Adds what says that a loop is there: its time, of which `seconds` (promtool's notation) pass, all of them idle, and
    /// a gauge that it has as long as it lives.
    #[must_use]
    fn there(self, labels: &[(&'static str, &'static str)], seconds: &str) -> Case {
        self.busy(labels, "0x9999", seconds)
    }

    /// The same of a loop that is also active.
    #[must_use]
    fn busy(self, labels: &[(&'static str, &'static str)], active: &str, idle: &str) -> Case {
        let state = |name| labels.iter().copied().chain([("state", name)]).collect::<Vec<_>>();
        self.series(&c::LOOP_TIME, &state("active"), active)
            .series(&c::LOOP_TIME, &state("idle"), idle)
            .series(&c::STALL, labels, &with_zeros(idle))
    }

    /// Adds any other series.
    #[must_use]
    fn raw(mut self, series: &str, values: &str) -> Case {
        self.series.push((series.to_owned(), values.to_owned()));
        self
    }

    #[must_use]
    fn silent(mut self, at: &'static str, alert: &'static str) -> Case {
        self.checks.push(Check { at, alert, fires: Vec::new() });
        self
    }

    #[must_use]
    fn fires(
        mut self,
        at: &'static str,
        alert: &'static str,
        labels: &[(&'static str, &'static str)],
        value: &'static str,
    ) -> Case {
        self.checks.push(Check { at, alert, fires: Vec::new() });
        self.beside(labels, value)
    }

    /// The alert of the last check fires for this series, too.
    #[must_use]
    fn beside(mut self, labels: &[(&'static str, &'static str)], value: &'static str) -> Case {
        let of_target = [("job", "app"), ("instance", "a")];
        let is_given = |name: &str| labels.iter().any(|(given, _)| *given == name);
        let others = of_target.into_iter().filter(|(name, _)| !is_given(name));
        let labels = others.chain(labels.iter().copied()).collect();
        let last = self.checks.last_mut().expect("a check comes first");
        last.fires.push(Firing { labels, value });
        self
    }
}

/// Returns a story in promtool's notation with every value 0: a gauge that is there exactly when the series is.
fn with_zeros(values: &str) -> String {
    let one = |part: &str| match part {
        "stale" | "_" => part.to_owned(),
        gap if gap.starts_with('_') => gap.to_owned(),
        part => match part.rsplit_once('x') {
            Some((_, count)) => format!("0x{count}"),
            None => "0".to_owned(),
        },
    };
    values.split(' ').map(one).collect::<Vec<_>>().join(" ")
}

/// Returns the cases of minutes and hours.
pub fn short() -> Vec<Case> {
    [loops::cases(), pools::cases(), agent::cases(), host::cases(), short_lived::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Returns the cases of hours and days; they are evaluated less often, or promtool would need minutes.
pub fn long() -> Vec<Case> {
    [burn_rate::cases(), loops::days()].into_iter().flatten().collect()
}

/// Returns promtool's file of tests with `cases`, evaluated every `interval`.
///
/// # Panics
/// A case names an alert that does not exist.
pub fn file(cases: &[Case], interval: &str, runbooks: &str) -> String {
    let alerts: Vec<Alert> =
        groups(Durations::Production).into_iter().flat_map(|group| group.alerts).collect();
    let mut out = String::from(
        "# Written by `cargo run -p loopscope-dashboards -- --write`: change the program, not this file.\n\
         rule_files: [rules.yml, alerts.yml]\n",
    );
    out.push_str(&format!("evaluation_interval: {interval}\n"));
    push_order(&mut out);
    out.push_str("tests:\n");
    for case in cases {
        out.push_str(&format!(
            "  - name: {}\n    interval: {}\n    input_series:\n",
            quoted(case.name),
            case.interval
        ));
        for (series, values) in &case.series {
            out.push_str(&format!("      - {{ series: '{series}', values: \"{values}\" }}\n"));
        }
        out.push_str("    alert_rule_test:\n");
        for check in &case.checks {
            let alert = alerts.iter().find(|alert| alert.name == check.alert);
            let alert = alert.unwrap_or_else(|| panic!("no alert is called {}", check.alert));
            push_check(&mut out, check, alert, runbooks);
        }
    }
    out
}

/// Says the order in which groups are evaluated: without it, promtool takes another one each run, and an alert is
/// judged now by this moment's recorded figures, now by those of the evaluation before.
fn push_order(out: &mut String) {
    let recorded = recorded::groups(Durations::Production).into_iter().map(|group| group.name);
    let alerting = groups(Durations::Production).into_iter().map(|group| group.name);
    out.push_str("group_eval_order:\n");
    recorded.chain(alerting).for_each(|name| out.push_str(&format!("  - {name}\n")));
}

fn push_check(out: &mut String, check: &Check, alert: &Alert, runbooks: &str) {
    out.push_str(&format!("      - eval_time: {}\n        alertname: {}\n", check.at, check.alert));
    if check.fires.is_empty() {
        out.push_str("        exp_alerts: []\n");
        return;
    }
    out.push_str("        exp_alerts:\n");
    for firing in &check.fires {
        let labels: String =
            firing.labels.iter().map(|(name, value)| format!(", {name}: {}", quoted(value))).collect();
        out.push_str(&format!(
            "          - exp_labels: {{ severity: {}{labels} }}\n            exp_annotations:\n",
            alert.severity.name()
        ));
        let texts = [
            ("summary", firing.fill(alert.summary)),
            ("description", firing.fill(alert.description)),
            ("runbook_url", runbook_url(runbooks, alert.name)),
        ];
        for (name, text) in texts {
            out.push_str(&format!("              {name}: {}\n", quoted(&text)));
        }
    }
}

impl Firing {
    /// Returns the text with labels and value in their places.
    fn fill(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{ ") {
            let (place, after) = after.split_once(" }}").expect("every place in a text is closed");
            out.push_str(before);
            out.push_str(&self.at_place(place));
            rest = after;
        }
        out + rest
    }

    fn at_place(&self, place: &str) -> String {
        match place.strip_prefix("$labels.") {
            Some(label) => {
                let value = self.label(label);
                value
                    .unwrap_or_else(|| panic!("a text shows the label {label}, which this alert has not"))
                    .to_owned()
            }
            None if place == "owner" => self.owner(),
            None => self.value.to_owned(),
        }
    }

    fn owner(&self) -> String {
        let target = self.label("instance").expect("every alert is one of a target");
        match (self.label("name"), self.label("pid")) {
            (Some(name), Some(pid)) => format!("{name} (pid {pid}) on {target}"),
            _ => target.to_owned(),
        }
    }

    fn label(&self, name: &str) -> Option<&'static str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_is_shown_firing_and_silent() {
        let (short, long) = (short(), long());
        let checks: Vec<&Check> = short.iter().chain(&long).flat_map(|case| &case.checks).collect();
        for alert in groups(Durations::Production).into_iter().flat_map(|group| group.alerts) {
            let of_it: Vec<_> = checks.iter().filter(|check| check.alert == alert.name).collect();
            assert!(of_it.iter().any(|check| !check.fires.is_empty()), "{} never fires", alert.name);
            assert!(of_it.iter().any(|check| check.fires.is_empty()), "{} is never silent", alert.name);
        }
    }

    #[test]
    fn a_gauge_is_there_as_long_as_its_loop() {
        assert_eq!(with_zeros("0 5 0+60x12 _x3 1 stale"), "0 0 0x12 _x3 0 stale");
    }

    #[test]
    fn a_text_is_filled_as_prometheus_does() {
        let firing = Firing { labels: vec![("loop", "web")], value: "45s" };
        assert_eq!(
            firing.fill("loop {{ $labels.loop }} for {{ $value | humanizeDuration }}."),
            "loop web for 45s."
        );
    }

    #[test]
    fn the_process_is_named_where_it_is_known() {
        let of = |labels: &[(&'static str, &'static str)]| Firing { labels: labels.to_vec(), value: "" };
        let agent = of(&[("instance", "a")]);
        assert_eq!(agent.fill("one of {{ owner }}"), "one of a");
        let host = of(&[("instance", "a"), ("pid", "7"), ("name", "shop")]);
        assert_eq!(host.fill("one of {{ owner }}"), "one of shop (pid 7) on a");
    }
}
