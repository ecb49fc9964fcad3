//! The screen at three sizes, drawn into memory.

use super::*;
use crate::top::loop_table::tests::view;
use loopscope_report::incident::{Culprit, Incident};
use loopscope_report::live::{DamagedView, ProcessView, View};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

fn board() -> LoopTable {
    let mut board = LoopTable::new("500ms");
    board.show(view());
    let culprit = Culprit { kind: "timer".into(), name: "flush".into(), ..Culprit::default() };
    let incident = Incident {
        id: "4712-3".parse().unwrap(),
        pid: 4712,
        r#loop: "web".into(),
        duration_ns: 302_000_000,
        is_over: true,
        summary: "1 callback of 302 ms".into(),
        culprit,
        ..Incident::default()
    };
    board.tell(vec![Found {
        incident,
        origin: Origin::Agent(crate::endpoint::Endpoint::given("http://127.0.0.1:9464")),
    }]);
    board
}

/// Returns what is on a screen of that size, line by line.
fn drawn(board: &mut LoopTable, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board, &Theme::plain())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn a_wide_screen_has_all_columns_and_both_panes() {
    let lines = drawn(&mut board(), 140, 40);
    assert_eq!(lines[0], "loopscope top  2 processes, 3 loops  1 STALLED  by trouble  every 500ms");
    let board = self::board();
    let rows = board.rows();
    let columns = column::ALL.map(|column| column.heading(&rows));
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>().join(" "), columns.join(" "));
    for part in
        ["4712", "mail", "web", "STALLED 340 ms", "50.0%", "300 ms", "4/4 +12", "timer parse_invoices"]
    {
        assert!(lines[2].contains(part), "`{part}` is not in {}", lines[2]);
    }
    let all = lines.join("\n");
    for part in [
        "Sites of web (4712 mail), last 10 s",
        "timer parse_invoices (trouble.rs:40)",
        "Incidents",
        "4712-3",
        "timer flush: 1 callback of 302 ms",
    ] {
        assert!(all.contains(part), "`{part}` is not in {all}");
    }
    assert!(lines[39].starts_with("? help") && !all.contains("no room for"), "{all}");
}

#[test]
fn the_usual_screen_says_which_columns_it_leaves_out() {
    let lines = drawn(&mut board(), 80, 24);
    for part in ["mail", "web", "STALLED 340 ms", "50.0%", "timer parse_invoices"] {
        assert!(lines[2].contains(part), "`{part}` is not in {}", lines[2]);
    }
    let all = lines.join("\n");
    assert!(all.contains("Sites of web (4712 mail)") && all.contains("Incidents"), "{all}");
    // By the names that they have where there is room.
    let left_out = "? help  no room for: PID, LAG MAX, ITER/S, CALLS/S, BLOCKED";
    assert!(lines[23].starts_with(left_out), "{}", lines[23]);
    // The place is what one looks for: it is there before the whole name is.
    for part in ["timer parse_invoices (trouble.rs:40)", "4712-3", "timer flush: 1 callback of 302 ms"] {
        assert!(all.contains(part), "`{part}` is not in {all}");
    }
    // What is cut off is seen to be.
    let narrow = drawn(&mut board(), 60, 24);
    let sites = narrow.iter().filter(|line| line.contains(" calls/s "));
    assert!(sites.clone().count() > 0 && sites.clone().all(|line| line.contains('…')), "{narrow:#?}");
}

#[test]
fn how_deep_a_queue_was_is_not_cut_off() {
    let mut board = board();
    let queue = loopscope_report::live::DrainView {
        queue: "microtask".into(),
        drains_per_second: Some(12.0),
        jobs_per_second: Some(110_000.0),
        p99_ns: Some(300_000_000),
        depth_max: Some(41_234),
    };
    for entry in board.view.processes.iter_mut().flat_map(|process| &mut process.loops) {
        entry.drains = vec![queue.clone()];
    }
    board.key(KeyEvent::from(KeyCode::Enter));
    let all = drawn(&mut board, 80, 40).join("\n");
    assert!(all.contains("most queued 41234"), "{all}");
}

#[test]
fn one_is_not_many() {
    let mut board = board();
    board.view.processes.truncate(1);
    board.view.processes[0].loops.truncate(1);
    let lines = drawn(&mut board, 80, 24);
    assert!(lines[0].starts_with("loopscope top  1 process, 1 loop  "), "{}", lines[0]);
}

#[test]
fn a_small_screen_keeps_what_matters_most() {
    let lines = drawn(&mut board(), 40, 10);
    assert!(lines[1].starts_with("LOOP       STATE           BUSY   STALLS"), "{}", lines[1]);
    assert!(lines[2].contains("STALLED 340 ms"), "{}", lines[2]);
    assert!(lines[9].starts_with("? help  no room for: PID, PROCESS"), "{}", lines[9]);
    // Whatever the size, it is drawn.
    for (width, height) in [(1, 1), (5, 3), (300, 2), (3, 90)] {
        drawn(&mut board(), width, height);
    }
}

#[test]
fn details_tell_all_and_help_tells_the_keys() {
    let mut board = board();
    board.key(KeyEvent::from(KeyCode::Enter));
    let all = drawn(&mut board, 100, 40).join("\n");
    for part in [
        "web of 4712 mail",
        "STALLED 340 ms  timer parse_invoices",
        "p99 50 ms",
        "7 over 100 ms",
        "4 of 4 threads busy",
        "12 jobs wait",
        "Incidents of this loop",
        "4712-3",
        "Esc back",
    ] {
        assert!(all.contains(part), "`{part}` is not in {all}");
    }
    board.key(KeyEvent::from(KeyCode::Char('?')));
    assert!(drawn(&mut board, 100, 40).join("\n").contains("reverse the order"));
}

#[test]
fn where_there_is_nothing_it_says_so() {
    let mut empty = LoopTable::new("1s");
    assert!(drawn(&mut empty, 80, 24)[1].starts_with("No instrumented process."));
    let mut board = board();
    for letter in "/zzz".chars() {
        board.key(KeyEvent::from(KeyCode::Char(letter)));
    }
    let lines = drawn(&mut board, 80, 24);
    assert_eq!(
        (lines[1].as_str(), lines[23].as_str()),
        ("No match for the filter; Esc clears it.", "filter: zzz_")
    );
}

#[test]
fn a_page_that_cannot_be_read_is_told_where_there_is_no_loop() {
    let (file, because) = ("/dev/shm/7-1-0.page".to_owned(), "has page version 2".to_owned());
    let damaged = vec![DamagedView { file, because }];
    let process = ProcessView { pid: 7, damaged, ..ProcessView::default() };
    let mut board = LoopTable::new("1s");
    board.show(View { processes: vec![process], ..View::default() });
    let lines = drawn(&mut board, 80, 24);
    assert_eq!(lines[1], "Not readable: /dev/shm/7-1-0.page has page version 2");
}
