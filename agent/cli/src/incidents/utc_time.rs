//! Moments of the calendar, in UTC: an incident is compared with logs of other machines.

const DAY_NS: u64 = 86_400_000_000_000;

/// Writes nanoseconds since 1970 as `2026-11-22 06:30:12.123 UTC`.
pub fn utc(unix_ns: u64) -> String {
    let (year, month, day) = civil(unix_ns / DAY_NS);
    let ms = unix_ns % DAY_NS / 1_000_000;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03} UTC", ms % 1_000)
}

/// Writes nanoseconds since 1970 as `2026-11-22 06:30:12 UTC`.
pub fn utc_second(unix_ns: u64) -> String {
    let text = utc(unix_ns);
    text.split_once('.').map_or(text.clone(), |(second, _)| format!("{second} UTC"))
}

/// Writes nanoseconds since 1970 for a column that says the zone: `06:30:12`, of another day than `now` `11-22 06:30`.
pub fn brief(unix_ns: u64, now_unix_ns: u64) -> String {
    let text = utc(unix_ns);
    match unix_ns / DAY_NS == now_unix_ns / DAY_NS {
        true => text[11..19].to_owned(),
        false => text[5..16].to_owned(),
    }
}

/// Returns year, month and day of a number of days since 1970.
///
/// # Source
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years that begin in March make
/// the leap day the last of a year, and 400 of them have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_the_day_where_it_is_another_one() {
        let ns = 1_795_329_012_000_000_000;
        assert_eq!(utc_second(ns), "2026-11-22 06:30:12 UTC");
        assert_eq!((brief(ns, ns).as_str(), brief(ns, ns + DAY_NS).as_str()), ("06:30:12", "11-22 06:30"));
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_400, "2000-02-29 00:00:00.000 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59.000 UTC"),
            (1_795_329_012, "2026-11-22 06:30:12.000 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00.000 UTC"),
        ] {
            assert_eq!(utc(unix_s * 1_000_000_000), text);
        }
    }
}
