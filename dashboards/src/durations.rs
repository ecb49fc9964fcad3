//! How long the windows of rules are: as people run them, or shortened so that a test sees an alert come and go.

use std::fmt::Write;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A duration as rules write it: whole seconds, shown in the largest unit that divides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(u64);

impl Span {
    /// `seconds` seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(seconds)
    }

    /// `minutes` minutes.
    pub const fn minutes(minutes: u64) -> Span {
        Span(minutes * MINUTE)
    }

    /// `hours` hours.
    pub const fn hours(hours: u64) -> Span {
        Span(hours * HOUR)
    }

    /// `days` days.
    pub const fn days(days: u64) -> Span {
        Span(days * DAY)
    }

    /// Returns it as Prometheus writes durations: `90s`, `5m`, `6h`, `3d`.
    pub fn text(self) -> String {
        let units = [(DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm'), (1, 's')];
        let (unit, letter) =
            units.into_iter().find(|(unit, _)| self.0.is_multiple_of(*unit)).unwrap_or((1, 's'));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{}{letter}", self.0 / unit);
        text
    }
}

/// What becomes of windows, holds and intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durations {
    /// As written: what is committed and what people load.
    Production,
    /// Windows of 10 to 30 s, alerts held for 2 s and evaluated every second: for tests with a real Prometheus that
    /// scrapes every second. Expressions and thresholds are the same.
    Hurried,
}

impl Durations {
    /// Returns the text of a window that is `span` long in production.
    pub fn window(self, span: Span) -> String {
        self.length(span).text()
    }

    fn length(self, span: Span) -> Span {
        match self {
            Durations::Production => span,
            Durations::Hurried => Span((span.0 / 30).clamp(10, 30)),
        }
    }

    /// Returns the text of the step at which such a window is looked at, and how many there are in it.
    pub fn steps(self, span: Span) -> (String, u64) {
        let Span(window) = self.length(span);
        // From windows of so many seconds on.
        let steps = [
            (0, 1),
            (MINUTE, 30),
            (5 * MINUTE + 1, MINUTE),
            (HOUR + 1, 5 * MINUTE),
            (6 * HOUR + 1, 15 * MINUTE),
        ];
        let step = steps.into_iter().rfind(|(from, _)| window >= *from).map_or(1, |(_, step)| step);
        (Span(step).text(), window / step)
    }

    /// Returns the text of an alert's `for`.
    pub fn hold(self, span: Span) -> String {
        match self {
            Durations::Production => span.text(),
            Durations::Hurried => Span(span.0.min(2)).text(),
        }
    }

    /// Returns the text of a group's interval.
    pub fn interval(self, span: Span) -> String {
        match self {
            Durations::Production => span.text(),
            Durations::Hurried => Span(1).text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_in_the_largest_unit_that_fits() {
        for (span, text) in [
            (Span::seconds(90), "90s"),
            (Span::minutes(5), "5m"),
            (Span::hours(1), "1h"),
            (Span::hours(24), "1d"),
            (Span::days(3), "3d"),
        ] {
            assert_eq!(span.text(), text);
        }
    }

    #[test]
    fn a_window_is_looked_at_ten_times_or_more() {
        let spans = [Span::minutes(5), Span::hours(1), Span::hours(6), Span::days(1), Span::days(3)];
        let steps = spans.map(|span| Durations::Production.steps(span));
        let steps = steps.each_ref().map(|(step, count)| (step.as_str(), *count));
        assert_eq!(steps, [("30s", 10), ("1m", 60), ("5m", 72), ("15m", 96), ("15m", 288)]);
        assert_eq!(Durations::Hurried.steps(Span::hours(1)), ("1s".to_owned(), 30));
    }

    #[test]
    fn a_hurried_window_holds_several_scrapes_of_a_second() {
        let windows = [Span::minutes(1), Span::minutes(5), Span::hours(1), Span::days(3)];
        assert_eq!(windows.map(|span| Durations::Hurried.window(span)), ["10s", "10s", "30s", "30s"]);
        assert_eq!(Durations::Hurried.hold(Span::hours(1)), "2s");
        assert_eq!(Durations::Production.window(Span::minutes(5)), "5m");
    }
}
