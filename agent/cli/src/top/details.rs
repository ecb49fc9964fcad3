//! Everything about one loop, as lines.

use crate::top::board::Row;
use crate::top::column::{now, rate, short, state};
use crate::top::theme::Theme;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::PoolState;
use loopscope_report::live::{LoopView, StateKind, View};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Cells of a bar, on a wide and on a narrow screen.
const BAR: usize = 20;
const BAR_NARROW: usize = 5;

/// From so many columns on, a screen is wide.
const WIDE_FROM: u16 = 100;

/// Shades for how many waited so long.
const SHADES: [&str; 5] = [" ", "░", "▒", "▓", "█"];

/// Returns the style of a loop's state.
pub fn style_of(entry: &LoopView, theme: Theme) -> Style {
    match entry.state.kind {
        StateKind::Stalled => theme.alarm(),
        StateKind::ExpectedBlock => theme.warning(),
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
        "Loop",
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
    lines.push(fact("Lag", lag(entry), theme));
    lines.push(fact("", heat(view, entry), theme));
    let share = format!("{:.1}% busy, ", entry.utilization_ratio * 100.0);
    let turns = format!(
        "{} iterations/s, {} callbacks/s",
        rate(entry.iterations_per_second),
        rate(entry.callbacks_per_second)
    );
    lines.push(fact("Turns", share + &turns, theme));
    lines.push(fact("Stalls", stalls(entry), theme));
    lines.extend(pool(entry, theme));
    lines.push(Line::default());
    lines.push(heading("Phases", theme));
    for phase in &entry.phases {
        let rate = rate(phase.callbacks_per_second);
        lines.push(Line::raw(format!(
            "  {} {:<10} {rate:>7} callbacks/s",
            bar(phase.share_ratio, BAR),
            phase.phase
        )));
    }
    lines.push(Line::default());
    lines.push(heading("Sites, the heaviest first", theme));
    lines.extend(sites(entry, width, theme));
    lines.extend(drains(entry, theme));
    lines
}

/// Says which thread the loop has, or how many workers the runtime.
fn threads(entry: &LoopView) -> String {
    match entry.workers.len() {
        0 => format!("thread {} {}", entry.tid, entry.thread),
        1 => "1 worker".to_owned(),
        count => format!("{count} workers"),
    }
}

/// Writes the heaviest sites, for a screen of so many columns.
pub fn sites(entry: &LoopView, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    let cells = if width >= WIDE_FROM { BAR } else { BAR_NARROW };
    for site in &entry.sites {
        let text = format!(
            "  {} {:>7} calls/s  longest {:>7}  {} {}",
            bar(site.share_ratio, cells),
            rate(site.calls_per_second),
            show_ns(site.longest_ns),
            site.kind,
            short(&site.label)
        );
        let style = if site.is_running { style_of(entry, theme) } else { Style::new() };
        lines.push(Line::styled(text, style));
    }
    if entry.sites_left_out > 0 {
        lines.push(Line::styled(format!("  and {} more", entry.sites_left_out), theme.faint()));
    }
    if lines.is_empty() {
        lines.push(Line::styled("  nothing ran since the last look", theme.faint()));
    }
    lines
}

fn drains(entry: &LoopView, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default(), heading("Queues", theme)];
    for drain in &entry.drains {
        lines.push(Line::raw(format!(
            "  {:<10} {:>7} drains/s  {:>7} jobs/s  p99 {:>7}  at most {} queued in the last minute",
            drain.queue,
            rate(drain.drains_per_second),
            rate(drain.jobs_per_second),
            show_ns(drain.p99_ns),
            drain.depth_max
        )));
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
    let used = pool.utilization_ratio.map(|ratio| format!(" ({:.0}% of the time)", ratio * 100.0));
    let text = format!(
        "{}{}, p95 wait {}, {} jobs/s",
        state.words(),
        used.unwrap_or_default(),
        show_ns(pool.wait_p95_ns),
        rate(pool.jobs_per_second)
    );
    let style = if pool.saturated_ns > 0 { theme.warning() } else { Style::new() };
    Some(Line::from(vec![Span::styled(label("Pool"), theme.heading()), Span::styled(text, style)]))
}

fn lag(entry: &LoopView) -> String {
    let lag = &entry.lag;
    let [p50, p90, p99, max] = [lag.p50_ns, lag.p90_ns, lag.p99_ns, lag.max_ns].map(show_ns);
    format!("p50 {p50}  p90 {p90}  p99 {p99}  max {max}")
}

/// Draws the row of the heatmap, with the bounds at its ends.
fn heat(view: &View, entry: &LoopView) -> String {
    let most = entry.lag.row.iter().copied().max().unwrap_or(0).max(1);
    let shade = |count: &u64| match *count {
        0 => SHADES[0],
        // By magnitude: one that waited long matters beside a thousand that did not.
        count => {
            let steps = (count as f64 + 1.0).ln() / (most as f64 + 1.0).ln() * 4.0;
            SHADES[(steps.ceil() as usize).clamp(1, 4)]
        }
    };
    let cells: String = entry.lag.row.iter().map(shade).collect();
    let ends = (view.lag_bounds_ns.first(), view.lag_bounds_ns.last());
    let (Some(first), Some(last)) = ends else { return String::new() };
    format!("{} ▕{cells}▏ over {}", show_ns(*first), show_ns(*last))
}

fn stalls(entry: &LoopView) -> String {
    let stalls = &entry.stalls;
    format!(
        "{} over {}, {} of them over {}; {} in all",
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
    format!("{name:<8}")
}

fn fact(name: &str, text: String, theme: Theme) -> Line<'static> {
    Line::from(vec![Span::styled(label(name), theme.heading()), Span::raw(text)])
}
