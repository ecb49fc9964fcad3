//! Everything about one loop, as lines.

use crate::top::column::{now, rate, state};
use crate::top::loop_table::Row;
use crate::top::theme::Theme;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::PoolState;
use loopscope_report::live::{JobView, LagView, LoopView, StateKind, View};
use loopscope_report::short_names::{keeping_place, one_line};
use loopscope_report::words::capitalized;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Cells of a bar, on a wide and on a narrow screen.
const BAR: usize = 20;
const BAR_NARROW: usize = 5;

/// From so many columns on, a screen is wide.
const WIDE_FROM: u16 = 100;

/// At most so many running jobs of a pool are shown, the oldest.
const POOL_JOBS_SHOWN: usize = 8;

/// Shades for how many waited so long.
const SHADES: [&str; 5] = [" ", "░", "▒", "▓", "█"];

/// Returns the style of a loop's state.
pub fn style_of(entry: &LoopView, theme: Theme) -> Style {
    match entry.state.kind {
        StateKind::Stalled => theme.alarm(),
        StateKind::ExpectedBlock | StateKind::Stopped => theme.warning(),
        StateKind::Running => theme.good(),
        StateKind::Idle => Style::new(),
        StateKind::Ended => theme.faint(),
    }
}

/// Writes all of it, for a screen of so many columns.
pub fn lines(view: &View, row: Row<'_>, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let (process, entry) = row;
    let mut lines = Vec::new();
    let agent = process.agent.as_deref().unwrap_or("no agent that listens");
    lines.push(fact(
        &if entry.workers.is_empty() { capitalized(&entry.words.lane) } else { "Runtime".to_owned() },
        format!(
            "{} of {} {} ({}, {}; {}; {agent})",
            entry.name,
            process.pid,
            process.name,
            entry.runtime,
            entry.backend,
            threads(entry)
        ),
        theme,
    ));
    lines.push(Line::from(vec![
        Span::styled(label("State"), theme.heading()),
        Span::styled(state(entry), style_of(entry, theme)),
        Span::raw(format!("  {}", now(entry))),
    ]));
    for span in &entry.state.spans {
        lines.push(fact("", format!("inside {} {}", span.name, span.fields), theme));
    }
    if let Some(view_of_lag) = &entry.lag {
        lines.push(fact("Lag", lag(view_of_lag), theme));
        lines.push(fact("", heat(view, view_of_lag), theme));
    }
    lines.extend(turns(entry).map(|text| fact("Turns", text, theme)));
    lines.push(fact("Stalls", stalls(entry), theme));
    lines.extend(pool(entry, theme));
    lines.extend(pool_jobs(entry, theme));
    lines.extend(phases(entry, theme));
    lines.push(Line::default());
    lines.push(heading("Sites, heaviest first", theme));
    lines.extend(sites(entry, width, theme));
    lines.extend(drains(entry, theme));
    lines.extend(numbers(entry, theme));
    lines
}

/// Writes how busy it is and how often it does what: what is known of it.
fn turns(entry: &LoopView) -> Option<String> {
    let words = &entry.words;
    let busy = entry.utilization_ratio.map(|ratio| format!("{:.1}% busy", ratio * 100.0));
    let rate_of = |value: Option<f64>, noun: &str| value.map(|value| format!("{} {noun}/s", rate(value)));
    let parts = [
        busy,
        rate_of(entry.iterations_per_second, &words.iterations),
        rate_of(entry.callbacks_per_second, &words.callbacks),
    ];
    let told: Vec<String> = parts.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// Writes the time by phase, where the runtime tells of phases.
fn phases(entry: &LoopView, theme: Theme) -> Vec<Line<'static>> {
    if entry.phase_names.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::default(), heading("Phases", theme)];
    let callbacks = &entry.words.callbacks;
    for phase in &entry.phases {
        let rate = phase.callbacks_per_second.map(|value| format!(" {:>7} {callbacks}/s", rate(value)));
        let bar = bar(phase.share_ratio, BAR);
        lines.push(Line::raw(format!("  {bar} {:<10}{}", phase.phase, rate.unwrap_or_default())));
    }
    lines
}

/// Writes the numbers that only its runtime has.
fn numbers(entry: &LoopView, theme: Theme) -> Vec<Line<'static>> {
    if entry.numbers.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::default(), heading("Numbers of the runtime", theme)];
    for number in &entry.numbers {
        let name = match number.kind.as_str() {
            "" => number.name.clone(),
            kind => format!("{} {kind}", number.name),
        };
        let value = match number.unit {
            "nanoseconds" => show_ns(number.value as u64),
            "bytes" => format!("{:.1} MiB", number.value / f64::from(1 << 20)),
            _ => rate(number.value),
        };
        let per_second = if number.is_rate { "/s" } else { "" };
        let p99 = number.p99_ns.map(|ns| format!("  p99 {}", show_ns(ns)));
        lines.push(Line::raw(format!("  {name:<30} {value:>9}{per_second}{}", p99.unwrap_or_default())));
    }
    lines
}

/// Says which thread the loop has, or how many workers the runtime; what it is of, where it has none.
fn threads(entry: &LoopView) -> String {
    match entry.workers.len() {
        0 if !entry.words.about.is_empty() => entry.words.about.clone(),
        0 => format!("thread {} {}", entry.tid, entry.thread),
        1 => "1 worker".to_owned(),
        count => format!("{count} workers"),
    }
}

/// Writes the heaviest sites, for a screen of so many columns.
pub fn sites(entry: &LoopView, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    for site in &entry.sites {
        let (calls, longest) = (rate(site.calls_per_second), show_ns(site.longest_ns));
        let figures = match width >= WIDE_FROM {
            true => format!("{} {calls:>7} calls/s  longest {longest:>7}", bar(site.share_ratio, BAR)),
            false => format!("{} {calls:>5} calls/s  max {longest:>6}", bar(site.share_ratio, BAR_NARROW)),
        };
        let text = format!("  {figures}  {} ", site.kind);
        let room = usize::from(width).saturating_sub(text.chars().count());
        let text = text + &keeping_place(&one_line(&site.label), room);
        let style = if site.is_running { style_of(entry, theme) } else { Style::new() };
        lines.push(Line::styled(text, style));
    }
    if entry.sites_left_out > 0 {
        lines.push(Line::styled(format!("  and {} more", entry.sites_left_out), theme.faint()));
    }
    if lines.is_empty() {
        lines.push(Line::styled("  nothing ran in the last 10 s", theme.faint()));
    }
    lines
}

fn drains(entry: &LoopView, theme: Theme) -> Vec<Line<'static>> {
    if entry.drains.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::default(), heading("Queues", theme)];
    for drain in &entry.drains {
        let parts = [
            drain.drains_per_second.map(|value| format!("{:>7} drains/s", rate(value))),
            drain.jobs_per_second.map(|value| format!("{:>7} jobs/s", rate(value))),
            drain.p99_ns.map(|ns| format!("p99 {:>7}", show_ns(ns))),
            drain.depth_max.map(|depth| format!("most queued {depth}")),
        ];
        let told: Vec<String> = parts.into_iter().flatten().collect();
        lines.push(Line::raw(format!("  {:<10} {}", drain.queue, told.join("  "))));
    }
    lines
}

fn pool(entry: &LoopView, theme: Theme) -> Option<Line<'static>> {
    let pool = entry.pool?;
    let state = PoolState {
        threads: pool.threads,
        running: pool.busy,
        queued: pool.queued,
        oldest_wait_ns: pool.oldest_wait_ns,
    };
    let used = pool.utilization_ratio.map(|ratio| format!(" (full {:.0}% of the time)", ratio * 100.0));
    let state = format!("{}{}", state.words(), used.unwrap_or_default());
    let wait = pool.wait_p95_ns.map(|ns| format!("p95 wait {}", show_ns(ns)));
    let jobs = pool.jobs_per_second.map(|value| format!("{} {}/s", rate(value), entry.words.jobs));
    let parts = [Some(state).filter(|state| !state.is_empty()), wait, jobs];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let style = if pool.saturated_ns > 0 { theme.warning() } else { Style::new() };
    Some(Line::from(vec![Span::styled(label("Pool"), theme.heading()), Span::styled(text, style)]))
}

/// Writes what the pool runs, the oldest first.
fn pool_jobs(entry: &LoopView, theme: Theme) -> Vec<Line<'static>> {
    let line = |job: &JobView| {
        let text = format!("{} {} for {}", job.kind, one_line(&job.label), show_ns(job.running_ns));
        fact("", text, theme)
    };
    let mut lines: Vec<Line<'static>> = entry.pool_jobs.iter().take(POOL_JOBS_SHOWN).map(line).collect();
    let more = entry.pool_jobs.len().saturating_sub(POOL_JOBS_SHOWN);
    if more > 0 {
        lines.push(fact("", format!("and {more} more"), theme));
    }
    lines
}

fn lag(lag: &LagView) -> String {
    let [p50, p90, p99, max] = [lag.p50_ns, lag.p90_ns, lag.p99_ns, lag.max_ns].map(show_ns);
    format!("p50 {p50}  p90 {p90}  p99 {p99}  max {max}")
}

/// Draws the row of the heatmap, with the bounds at its ends.
fn heat(view: &View, lag: &LagView) -> String {
    let most = lag.row.iter().copied().max().unwrap_or(0).max(1);
    let shade = |count: &u64| match *count {
        0 => SHADES[0],
        // By magnitude: one that waited long matters beside a thousand that did not.
        count => {
            let steps = (count as f64 + 1.0).ln() / (most as f64 + 1.0).ln() * 4.0;
            SHADES[(steps.ceil() as usize).clamp(1, 4)]
        }
    };
    let cells: String = lag.row.iter().map(shade).collect();
    let ends = (view.lag_bounds_ns.first(), view.lag_bounds_ns.last());
    let (Some(first), Some(last)) = ends else { return String::new() };
    format!("{} ▕{cells}▏ over {}", show_ns(*first), show_ns(*last))
}

fn stalls(entry: &LoopView) -> String {
    let stalls = &entry.stalls;
    format!(
        "{} over {}, {} of them over {}; {} in total",
        stalls.warning_count,
        show_ns(stalls.warning_ns),
        stalls.critical_count,
        show_ns(stalls.critical_ns),
        show_ns(stalls.blocked_ns)
    )
}

fn bar(ratio: f64, cells: usize) -> String {
    let full = (ratio.clamp(0.0, 1.0) * cells as f64).round() as usize;
    format!("{}{} {:>5.1}%", "█".repeat(full), "·".repeat(cells - full), ratio * 100.0)
}

fn heading(text: &'static str, theme: Theme) -> Line<'static> {
    Line::styled(text, theme.heading())
}

fn label(name: &str) -> String {
    format!("{name:<7} ")
}

fn fact(name: &str, text: String, theme: Theme) -> Line<'static> {
    Line::from(vec![Span::styled(label(name), theme.heading()), Span::raw(text)])
}
