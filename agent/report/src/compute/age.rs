//! Durations in words.

/// Returns a duration for people: `0.5 ms`, `203 ms`, `1.25 s`.
pub fn age_text(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{:.1} us", ns as f64 / 1e3),
        10_000..100_000 => format!("{} us", ns / 1_000),
        100_000..10_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..60_000_000_000 => format!("{:.2} s", ns as f64 / 1e9),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (ns, text) in [
            (0, "0.0 us"),
            (1_240, "1.2 us"),
            (63_900, "63 us"),
            (500_000, "0.5 ms"),
            (1_400_000, "1.4 ms"),
            (203_999_999, "203 ms"),
            (1_250_000_000, "1.25 s"),
            (125_000_000_000, "125 s"),
        ] {
            assert_eq!(age_text(ns), text);
        }
    }
}
