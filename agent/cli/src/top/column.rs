//! The columns of the table: what is in them, how wide they are, and which go first where there is no room.

use crate::top::loop_table::Row;
use loopscope_report::duration::show_ns;
use loopscope_report::live::{LagView, LoopView, StateKind};
use loopscope_report::short_names::one_line;
use loopscope_report::words::RuntimeWords;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Pid,
    Process,
    Loop,
    State,
    Busy,
    Lag99,
    LagMax,
    Iterations,
    Callbacks,
    Stalls,
    Blocked,
    Pool,
    Now,
}

/// All of them, as they stand.
pub const ALL: [Column; 13] = [
    Column::Pid,
    Column::Process,
    Column::Loop,
    Column::State,
    Column::Busy,
    Column::Lag99,
    Column::LagMax,
    Column::Iterations,
    Column::Callbacks,
    Column::Stalls,
    Column::Blocked,
    Column::Pool,
    Column::Now,
];

/// The most important ones first: these are there where there is room for few.
const WANTED: [Column; 13] = [
    Column::Loop,
    Column::State,
    Column::Busy,
    Column::Lag99,
    Column::Now,
    Column::Process,
    Column::Stalls,
    Column::Pid,
    Column::Pool,
    Column::LagMax,
    Column::Blocked,
    Column::Callbacks,
    Column::Iterations,
];

/// Letters of a runtime's word that a heading has room for.
const WORD_MAX: usize = 7;

impl Column {
    /// Returns its heading where nothing is known of the rows.
    pub fn title(self) -> &'static str {
        match self {
            Column::Pid => "PID",
            Column::Process => "PROCESS",
            Column::Loop => "LOOP",
            Column::State => "STATE",
            Column::Busy => "BUSY",
            Column::Lag99 => "LAG P99",
            Column::LagMax => "LAG MAX",
            Column::Iterations => "TURNS/S",
            Column::Callbacks => "RUNS/S",
            Column::Stalls => "STALLS",
            Column::Blocked => "BLOCKED",
            Column::Pool => "POOL",
            Column::Now => "NOW",
        }
    }

    /// Returns its heading above these rows: rates are of what their runtimes call so, where all agree.
    pub fn heading(self, rows: &[Row<'_>]) -> String {
        let agreed = |of: fn(&RuntimeWords) -> &String| {
            let mut words = rows.iter().map(|(_, entry)| of(&entry.words));
            let first = words.next()?;
            words.all(|word| word == first).then_some(first)
        };
        let word = match self {
            Column::Iterations => agreed(|words| &words.iterations),
            Column::Callbacks => agreed(|words| &words.callbacks),
            _ => None,
        };
        match word.map(String::as_str) {
            None => self.title().to_owned(),
            Some("iterations") => "ITER/S".to_owned(),
            Some("callbacks") => "CALLS/S".to_owned(),
            // A phrase is no heading.
            Some(word) if word.chars().count() > WORD_MAX => self.title().to_owned(),
            Some(word) => format!("{}/S", word.to_uppercase()),
        }
    }

    /// Returns how wide it is, at least.
    pub fn width(self) -> u16 {
        match self {
            Column::Pid | Column::Lag99 | Column::LagMax => 7,
            Column::Iterations | Column::Callbacks => WORD_MAX as u16 + 2,
            Column::Process | Column::Loop => 10,
            Column::State => 15,
            Column::Busy | Column::Stalls => 6,
            Column::Blocked => 9,
            Column::Pool => 9,
            // With the other six that matter most, 80 columns.
            Column::Now => 20,
        }
    }

    /// Returns what it says of a loop.
    pub fn cell(self, (process, entry): Row<'_>) -> String {
        let lag = |ns: u64| if ns == 0 { "-".to_owned() } else { show_ns(ns) };
        let lag_of =
            |ns: fn(&LagView) -> u64| entry.lag.as_ref().map_or("?".to_owned(), |view| lag(ns(view)));
        let rate_of = |value: Option<f64>| value.map_or("?".to_owned(), rate);
        match self {
            Column::Pid => process.pid.to_string(),
            Column::Process => process.name.clone(),
            Column::Loop => loop_name(entry),
            Column::State => state(entry),
            Column::Busy => {
                entry.utilization_ratio.map_or("?".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0))
            }
            Column::Lag99 => lag_of(|lag| lag.p99_ns),
            Column::LagMax => lag_of(|lag| lag.max_ns),
            Column::Iterations => rate_of(entry.iterations_per_second),
            Column::Callbacks => rate_of(entry.callbacks_per_second),
            Column::Stalls => match entry.stalls.warning_count_new {
                0 => entry.stalls.warning_count.to_string(),
                new => format!("{} +{new}", entry.stalls.warning_count),
            },
            Column::Blocked => lag(entry.stalls.blocked_ns),
            Column::Pool => entry.pool.map_or_else(
                || "-".to_owned(),
                |pool| {
                    let known =
                        |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
                    match pool.queued {
                        Some(0) => format!("{}/{}", known(pool.busy), known(pool.threads)),
                        queued => format!("{}/{} +{}", known(pool.busy), known(pool.threads), known(queued)),
                    }
                },
            ),
            Column::Now => now(entry),
        }
    }
}

/// Returns what the loop is called: a runtime with the number of its workers, a worker by its own.
fn loop_name(entry: &LoopView) -> String {
    match (entry.worker, entry.workers.len()) {
        (Some(worker), 0) => format!("  worker {worker}"),
        (_, 0) => entry.name.clone(),
        (_, count) => format!("{} x{count}", entry.name),
    }
}

/// Returns the columns for which there is room, as they stand, and those for which there is none.
pub fn fitting(width: u16) -> (Vec<Column>, Vec<Column>) {
    let mut left = width;
    let mut fits = |column: &Column| {
        // A column and the gap after it.
        let wanted = column.width() + 1;
        let has_room = wanted <= left.saturating_add(1);
        left = if has_room { left.saturating_sub(wanted) } else { left };
        has_room
    };
    let there: Vec<Column> = WANTED.into_iter().filter(|column| fits(column)).collect();
    ALL.into_iter().partition(|column| there.contains(column))
}

/// Says what a loop does, and for how long where that is too long.
pub fn state(entry: &LoopView) -> String {
    let state = &entry.state;
    match state.kind {
        StateKind::Idle => "idle".to_owned(),
        StateKind::Running => "running".to_owned(),
        StateKind::ExpectedBlock => format!("expected {}", show_ns(state.expected_ns)),
        StateKind::Stalled => format!("STALLED {}", show_ns(state.busy_ns)),
        StateKind::Stopped => "stopped".to_owned(),
        StateKind::Ended if state.busy_ns > 0 => "ended, busy".to_owned(),
        StateKind::Ended => "ended".to_owned(),
    }
}

/// Says what runs now: who is to blame where the loop is stalled.
pub fn now(entry: &LoopView) -> String {
    let words = words_of_state(entry);
    match entry.worker.filter(|_| !entry.workers.is_empty() && !words.is_empty()) {
        // A runtime tells its worst worker's.
        Some(worker) => format!("worker {worker}: {words}"),
        None => words,
    }
}

fn words_of_state(entry: &LoopView) -> String {
    let state = &entry.state;
    let verdict = state.verdict.as_ref().map(|verdict| verdict.words.as_str());
    let running = state.running.as_ref().map(|running| running.words.as_str());
    match state.kind {
        StateKind::Idle => entry.words.about.clone(),
        StateKind::ExpectedBlock => one_line(state.expected.as_deref().or(running).unwrap_or_default()),
        _ => one_line(verdict.or(running).unwrap_or_default()),
    }
}

/// Writes a rate in at most six letters.
pub fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        ..9.95 => format!("{per_second:.1}"),
        ..99_999.5 => format!("{per_second:.0}"),
        ..9_999_500.0 => format!("{:.0}k", per_second / 1e3),
        _ => format!("{:.0}M", per_second / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_important_columns_are_there_where_there_is_little_room() {
        let titles = |columns: Vec<Column>| columns.into_iter().map(Column::title).collect::<Vec<_>>();
        let (there, hidden) = fitting(80);
        assert_eq!(titles(there), ["PROCESS", "LOOP", "STATE", "BUSY", "LAG P99", "STALLS", "NOW"]);
        assert_eq!(hidden.len(), 6);
        assert_eq!(titles(fitting(40).0), ["LOOP", "STATE", "BUSY", "STALLS"]);
        assert_eq!(titles(fitting(140).1), [""; 0]);
        assert_eq!(fitting(5).0, []);
        for width in 0..200 {
            let needed: u16 = fitting(width).0.iter().map(|column| column.width() + 1).sum();
            assert!(needed <= width + 1, "{width}");
        }
    }

    #[test]
    fn rates_are_without_directories() {
        for (rate_per_second, text) in
            [(0.0, "0"), (0.51, "0.5"), (12.4, "12"), (54_321.0, "54321"), (123_456.0, "123k"), (2e7, "20M")]
        {
            assert_eq!(rate(rate_per_second), text);
        }
    }
}
