//! Numbers as text: exact, and as Go writes them, because Prometheus compares bounds by their text.

use crate::metrics::buckets::Bound;
use crate::metrics::value::Number;
use loopscope_probe::raw::count_histogram::COUNT_EXPONENT_LAST;
use loopscope_probe::raw::histogram::{EXPONENT_FIRST, SLOT_OVERFLOW};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;

/// The text of `2^e` for e = -24..=16.
static POWERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    (EXPONENT_FIRST..=COUNT_EXPONENT_LAST as i32).map(|exponent| bound_text(2f64.powi(exponent))).collect()
});

/// The text of the end of each bounded slot of the probe's grid.
static SLOTS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..SLOT_OVERFLOW).map(|slot| bound_text(Bound::Slot(slot).value())).collect());

/// Returns the text of a bound in Prometheus text, where 2 is `2`.
pub(crate) fn bound(bound: Bound) -> Cow<'static, str> {
    match bound {
        Bound::Power(exponent) => {
            let index = usize::try_from(exponent - EXPONENT_FIRST).unwrap_or(usize::MAX);
            Cow::Borrowed(POWERS.get(index).map_or("+Inf", String::as_str))
        }
        Bound::Slot(slot) => Cow::Borrowed(SLOTS.get(slot).map_or("+Inf", String::as_str)),
        Bound::Value(value) => Cow::Owned(bound_text(value)),
        Bound::Infinite => Cow::Borrowed("+Inf"),
    }
}

/// Returns what makes the text of a bound that of OpenMetrics, where 2 is `2.0`.
pub(crate) fn point_after(bound: &str) -> &'static str {
    if bound.bytes().all(|byte| byte.is_ascii_digit()) { ".0" } else { "" }
}

fn bound_text(value: f64) -> String {
    // Go writes numbers below 1e-4 with an exponent of at least two digits.
    if value == 0.0 || value.abs() >= 1e-4 {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once("e-") {
        Some((digits, power)) => format!("{digits}e-{power:0>2}"),
        None => text,
    }
}

/// Appends a value.
pub(crate) fn push_number(out: &mut String, number: Number) {
    match number {
        Number::Whole(whole) => push_u64(out, whole),
        Number::Seconds(ns) => push_seconds(out, ns),
        Number::Real(real) => push_real(out, real),
    }
}

/// Appends a whole number. A third of the time of `write!`.
pub(crate) fn push_u64(out: &mut String, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    // The digits are ASCII, so this never takes the empty text; checking twenty bytes costs less than pushing chars.
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// Appends nanoseconds as seconds: all digits, no rounding, no trailing zeros.
pub(crate) fn push_seconds(out: &mut String, ns: u64) {
    push_u64(out, ns / 1_000_000_000);
    let mut fraction = ns % 1_000_000_000;
    if fraction == 0 {
        return;
    }
    out.push('.');
    let mut place = 100_000_000;
    while fraction > 0 {
        out.push(char::from(b'0' + (fraction / place) as u8));
        fraction %= place;
        place /= 10;
    }
}

fn push_real(out: &mut String, value: f64) {
    // Writing to a string cannot fail.
    let _ = match value {
        value if value.is_nan() => out.write_str("NaN"),
        value if value.is_infinite() => out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" }),
        // Rust writes all digits of a number, which of the largest are three hundred.
        value if value != 0.0 && !(1e-9..1e18).contains(&value.abs()) => write!(out, "{value:e}"),
        value => write!(out, "{value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: Number) -> String {
        let mut out = String::new();
        push_number(&mut out, number);
        out
    }

    #[test]
    fn durations_are_written_exactly() {
        for (ns, expected) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (60_000_000_000, "60"),
            (203_000_400, "0.2030004"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(text(Number::Seconds(ns)), expected);
        }
    }

    #[test]
    fn real_numbers_are_written_so_that_go_reads_them_back() {
        for (value, expected) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.25, "-0.25"),
            (0.0, "0"),
            (1e-12, "1e-12"),
            (f64::MAX, "1.7976931348623157e308"),
        ] {
            assert_eq!(text(Number::Real(value)), expected);
        }
    }

    #[test]
    fn bounds_are_written_as_go_writes_them() {
        for (exponent, expected) in [
            (-20, "9.5367431640625e-07"),
            (-14, "6.103515625e-05"),
            (-13, "0.0001220703125"),
            (-4, "0.0625"),
            (0, "1"),
            (5, "32"),
            (16, "65536"),
        ] {
            assert_eq!(bound(Bound::Power(exponent)), expected);
            assert_eq!(bound(Bound::Value(2f64.powi(exponent))), expected);
        }
        assert_eq!(bound(Bound::Infinite), "+Inf");
    }

    #[test]
    fn openmetrics_bounds_have_a_point() {
        for (text, more) in [("2", ".0"), ("0.5", ""), ("+Inf", ""), ("6.103515625e-05", "")] {
            assert_eq!(point_after(text), more);
        }
    }
}
