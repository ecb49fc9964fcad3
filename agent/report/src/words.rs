//! Figures in words: shares, counts, and what a runtime calls the way out.

use loopscope_probe::description::{Description, Trouble};

/// Writes a share, 0 to 1, in percent: `62 %`, `0.4 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 9.95 || percent == 0.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// Returns `part` of `whole`, 0 to 1; 0 of nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

/// Writes a count with its noun: `1 stall`, `5 stalls`, `12,345 jobs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// Writes a rate with its noun: `340 timers/s`.
pub(crate) fn rate(number: u64, over_ns: u64) -> String {
    let per_second = number as f64 * 1e9 / over_ns.max(1) as f64;
    if per_second < 9.95 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", thousands(per_second.round() as u64))
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns where a runtime's programs put work that takes long.
pub(crate) fn elsewhere(runtime: &Description) -> &str {
    runtime.remedy_for(Trouble::Computing).unwrap_or("another thread")
}

/// Returns how a runtime's pool gets another number of threads.
pub(crate) fn pool_size(runtime: &Description, threads: u64) -> String {
    let text = runtime.remedy_for(Trouble::PoolSize).unwrap_or("{threads} threads");
    text.replace("{threads}", &threads.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let shown = [percent(0.0), percent(0.0042), percent(0.623), percent(share(5, 0))];
        assert_eq!(shown, ["0 %", "0.4 %", "62 %", "0 %"]);
        assert_eq!(
            [count(1, "stall"), count(12_345, "job"), count(0, "job")],
            ["1 stall", "12,345 jobs", "0 jobs"]
        );
        assert_eq!([rate(5, 2_000_000_000), rate(12_345, 1_000_000_000)], ["2.5/s", "12,345/s"]);
    }
}
