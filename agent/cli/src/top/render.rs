//! Draws the board: what there is room for, and what there is none for is said.

use crate::incidents::list;
use crate::incidents::source::{Found, Origin};
use crate::top::column::Column;
use crate::top::details::style_of;
use crate::top::loop_table::{LoopTable, Row, Shown, is_worker};
use crate::top::theme::Theme;
use crate::top::{column, details, help};
use loopscope_probe::raw::loop_id::LoopId;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::Severity;
use loopscope_report::live::{LagView, LoopView};
use loopscope_report::words::count;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState, Wrap};

/// Lines of the screen below which only the table is shown.
const PANES_FROM: u16 = 16;

/// Most lines of a pane below the table.
const SITES_LINES: u16 = 8;
const INCIDENT_LINES: u16 = 10;

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, board: &mut LoopTable, theme: &Theme) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(title(board, head.width, *theme)), head);
    let hidden = match board.shown {
        Shown::Help => {
            let lines: Vec<Line<'_>> = help::LINES.iter().map(|line| Line::raw(*line)).collect();
            frame.render_widget(Paragraph::new(lines), body);
            Vec::new()
        }
        Shown::Details(from) => {
            draw_details(frame, body, board, from, *theme);
            Vec::new()
        }
        Shown::Loops => draw_loops(frame, body, board, *theme),
    };
    frame.render_widget(Paragraph::new(footer(board, &hidden, *theme)), foot);
}

fn title(board: &LoopTable, columns: u16, theme: Theme) -> Line<'static> {
    let processes = board.listed().len();
    let exited = match board.left_out() {
        0 => String::new(),
        exited => format!(" ({exited} exited)"),
    };
    let loops = board.rows().iter().filter(|(_, entry)| !is_worker(entry)).count();
    let mut parts = vec![
        Span::styled("loopscope top", theme.heading()),
        Span::raw(format!(
            "  {}{exited}, {}  ",
            count(processes as u64, "process"),
            count(loops as u64, "loop")
        )),
    ];
    parts.push(match board.stalled() {
        0 => Span::styled("none stalled", theme.good()),
        stalled => Span::styled(format!("{stalled} STALLED"), theme.alarm()),
    });
    if board.is_paused {
        parts.push(Span::styled("  PAUSED", theme.warning()));
    }
    let order = if board.is_reversed { ", reversed" } else { "" };
    parts.push(Span::raw(format!("  by {}{order}", board.sort.name())));
    if !board.filter.is_empty() && !board.is_typing {
        parts.push(Span::raw(format!("  filter: {}", board.filter)));
    }
    let every = Span::styled(format!("  every {}", board.every), theme.faint());
    if parts.iter().chain([&every]).map(Span::width).sum::<usize>() <= usize::from(columns) {
        parts.push(every);
    }
    Line::from(parts)
}

fn footer(board: &LoopTable, hidden: &[String], theme: Theme) -> Line<'static> {
    if board.is_typing {
        return Line::raw(format!("filter: {}_", board.filter));
    }
    if !hidden.is_empty() {
        return Line::styled(format!("? help  no room for: {}", hidden.join(", ")), theme.faint());
    }
    let keys = match board.shown {
        Shown::Loops => "? help  Enter details  s sort  r reverse  / filter  space pause  q quit",
        Shown::Details(_) => "Esc back  up down scroll  space pause  ? help",
        Shown::Help => "Esc back",
    };
    Line::styled(keys, theme.faint())
}

/// Draws the table and what there is room for below it. Returns what there is none for.
fn draw_loops(frame: &mut Frame<'_>, body: Rect, board: &LoopTable, theme: Theme) -> Vec<String> {
    let rows = board.rows();
    if rows.is_empty() {
        let unreadable = board.unreadable();
        let text = match board.filter.is_empty() {
            true if !unreadable.is_empty() => {
                format!("Not readable: {}", unreadable.join("\nNot readable: "))
            }
            true => "No instrumented process. Start one in another terminal, for example `loopscope demo`."
                .to_owned(),
            false => "No match for the filter; Esc clears it.".to_owned(),
        };
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), body);
        return Vec::new();
    }
    let (columns, hidden) = column::fitting(body.width);
    let mut names: Vec<String> = hidden.into_iter().map(|column| column.heading(&rows)).collect();
    if body.height < PANES_FROM {
        draw_table(frame, body, board, &rows, &columns, theme);
        names.extend(["sites", "incidents"].map(str::to_owned));
        return names;
    }
    let chosen = rows[board.chosen_at(&rows)];
    let sites = details::sites(chosen.1, body.width, theme);
    let sites_height = (sites.len() as u16 + 2).min(SITES_LINES);
    let incidents_height = (board.incidents.len().max(1) as u16 + 2).min(INCIDENT_LINES);
    // Half of the screen is the table's, the other half is shared.
    let below = (sites_height + incidents_height).min(body.height / 2);
    let incidents_height = below.saturating_sub(sites_height).max(3);
    let areas = Layout::vertical([
        Constraint::Min(0),
        Constraint::Length(below - incidents_height),
        Constraint::Length(incidents_height),
    ]);
    let [table, sites_area, incidents] = areas.areas(body);
    draw_table(frame, table, board, &rows, &columns, theme);
    let of = format!("Sites of {} ({} {}), last 10 s", chosen.1.name, chosen.0.pid, chosen.0.name);
    draw_pane(frame, sites_area, of, sites, theme);
    draw_pane(frame, incidents, "Incidents".to_owned(), incident_lines(board, body.width, theme), theme);
    names
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, title: String, lines: Vec<Line<'_>>, theme: Theme) {
    let head = [Line::default(), Line::styled(title, theme.heading())];
    let lines = head.into_iter().chain(lines).map(|line| cut(line, area.width));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

/// Marks a line that goes on beyond the screen.
fn cut(mut line: Line<'_>, width: u16) -> Line<'_> {
    let width = usize::from(width);
    if line.width() <= width {
        return line;
    }
    let mut left = width.saturating_sub(1);
    for span in &mut line.spans {
        let kept: String = span.content.chars().take(left).collect();
        left -= kept.chars().count();
        span.content = kept.into();
    }
    line.spans.push(Span::raw("…"));
    line
}

fn draw_table(
    frame: &mut Frame<'_>,
    area: Rect,
    board: &LoopTable,
    rows: &[Row<'_>],
    columns: &[Column],
    theme: Theme,
) {
    let width = |column: &Column| match column {
        Column::Now => Constraint::Fill(1),
        Column::Process | Column::Loop => Constraint::Length(fitted(*column, rows, area.width)),
        column => Constraint::Length(column.width()),
    };
    let table_rows = rows.iter().map(|row| {
        let cells =
            columns.iter().map(|column| Cell::new(column.cell(*row)).style(style(*column, *row, theme)));
        TableRow::new(cells)
    });
    let head = TableRow::new(columns.iter().map(|column| column.heading(rows))).style(theme.heading());
    let table = Table::new(table_rows, columns.iter().map(width).collect::<Vec<_>>())
        .header(head)
        .column_spacing(1)
        .row_highlight_style(theme.chosen());
    let mut state = TableState::default().with_selected(Some(board.chosen_at(rows)));
    frame.render_stateful_widget(table, area, &mut state);
}

/// Returns how wide a column of names is: longer than the least only on a wide screen.
fn fitted(column: Column, rows: &[Row<'_>], screen: u16) -> u16 {
    let longest = rows.iter().map(|row| column.cell(*row).chars().count()).max().unwrap_or(0) as u16;
    let most = if screen >= 160 { 24 } else { column.width() };
    longest.clamp(column.width(), most)
}

fn style(column: Column, row: Row<'_>, theme: Theme) -> Style {
    let (_, entry) = row;
    let is_over =
        |ns: fn(&LagView) -> u64| entry.lag.as_ref().is_some_and(|lag| ns(lag) > entry.stalls.warning_ns);
    match column {
        Column::State | Column::Now => style_of(entry, theme),
        Column::Lag99 if is_over(|lag| lag.p99_ns) => theme.alarm(),
        Column::LagMax if is_over(|lag| lag.max_ns) => theme.alarm(),
        Column::Busy if entry.utilization_ratio > Some(0.9) => theme.warning(),
        Column::Stalls if entry.stalls.warning_count_new > 0 => theme.alarm(),
        Column::Pool if entry.pool.is_some_and(|pool| pool.saturated_ns > 0) => theme.warning(),
        _ => Style::new(),
    }
}

/// Draws everything about the chosen loop, and its incidents.
fn draw_details(frame: &mut Frame<'_>, body: Rect, board: &LoopTable, from: u16, theme: Theme) {
    let rows = board.rows();
    let Some(row) = rows.get(board.chosen_at(&rows)).copied() else {
        frame.render_widget(Paragraph::new("Loop ended. Esc to go back."), body);
        return;
    };
    let mut lines = details::lines(&board.view, row, body.width, theme);
    lines.push(Line::default());
    lines.push(Line::styled("Incidents of this loop", theme.heading()));
    // Those of a runtime are those of its workers.
    let loops = || std::iter::once(row.1).chain(&row.1.workers);
    let is_of = |entry: &LoopView, found: &Found| match (entry.id.parse::<LoopId>(), found.incident.loop_id) {
        (Ok(id), known) if known != LoopId::default() => known.agrees_with(id),
        // An older agent tells of labels only.
        _ => found.incident.pid == row.0.pid && found.incident.r#loop == entry.name,
    };
    let own = |found: &&Found| loops().any(|entry| is_of(entry, found));
    let own: Vec<Line<'_>> = board
        .incidents
        .iter()
        .filter(own)
        .map(|found| incident_line(found, (board.view.unix_ns, body.width), theme))
        .collect();
    let none = || vec![Line::styled("  none", theme.faint())];
    lines.extend(if own.is_empty() { none() } else { own });
    // As far as the last line at the bottom, no further.
    let most = (lines.len() as u16).saturating_sub(body.height);
    let lines: Vec<Line<'_>> = lines.into_iter().map(|line| cut(line, body.width)).collect();
    frame.render_widget(Paragraph::new(lines).scroll((from.min(most), 0)), body);
}

fn incident_lines(board: &LoopTable, width: u16, theme: Theme) -> Vec<Line<'static>> {
    if board.incidents.is_empty() {
        return vec![Line::styled("  none", theme.faint())];
    }
    board
        .incidents
        .iter()
        .take(50)
        .map(|found| incident_line(found, (board.view.unix_ns, width), theme))
        .collect()
}

fn incident_line(found: &Found, (unix_ns, width): (u64, u16), theme: Theme) -> Line<'static> {
    let incident = &found.incident;
    let is_now = !incident.is_over && matches!(found.origin, Origin::Agent(_) | Origin::Page);
    let when = match is_now {
        true => "now".to_owned(),
        false => list::ago(unix_ns.saturating_sub(incident.begin_unix_ns)),
    };
    let lasted = match found.origin {
        Origin::PageOfTheDead => format!("{}+, killed", show_ns(incident.duration_ns)),
        _ => show_ns(incident.duration_ns),
    };
    let text = format!("  {:<10} {when:>9}  {:<10} {lasted:>9}  ", incident.id, incident.loop_words());
    let room = usize::from(width).saturating_sub(text.chars().count());
    let text = text + &list::what_within(incident, room);
    let style = match (is_now, incident.severity) {
        (true, _) => theme.alarm(),
        (false, Severity::Critical) => theme.warning(),
        (false, _) => Style::new(),
    };
    Line::styled(text, style)
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
