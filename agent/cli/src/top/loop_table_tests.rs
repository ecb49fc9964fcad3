//! Sorting, filtering, choosing: what keys do to the board.

use super::*;
use loopscope_report::live::{LagView, PoolView, RunningView, SiteView, StallView, StateView, VerdictView};

const MS: u64 = 1_000_000;

fn a_loop(pid: u32, name: &str, busy: f64) -> LoopView {
    LoopView {
        id: format!("{pid}-{name}"),
        name: name.to_owned(),
        runtime: "mio".to_owned(),
        utilization_ratio: Some(busy),
        lag: Some(LagView {
            p99_ns: (busy * 100.0) as u64 * MS,
            max_ns: 300 * MS,
            row: vec![900, 0, 3],
            ..LagView::default()
        }),
        stalls: StallView { warning_ns: 100 * MS, critical_ns: 1_000 * MS, ..StallView::default() },
        ..LoopView::default()
    }
}

/// Two processes, three loops; `web` of the second is stalled.
pub fn view() -> View {
    let mut stalled = a_loop(4712, "web", 0.5);
    stalled.state = StateView {
        kind: StateKind::Stalled,
        busy_ns: 340 * MS,
        running: Some(RunningView {
            words: "timer parse_invoices (src/demo/trouble.rs:40)".into(),
            ..RunningView::default()
        }),
        verdict: Some(VerdictView {
            cause: "callback",
            words: "timer parse_invoices (src/demo/trouble.rs:40)".into(),
            ..VerdictView::default()
        }),
        ..StateView::default()
    };
    stalled.stalls.warning_count = 7;
    stalled.pool = Some(PoolView {
        threads: Some(4),
        busy: Some(4),
        queued: Some(12),
        saturated_ns: 1,
        ..PoolView::default()
    });
    stalled.sites = vec![SiteView {
        label: "parse_invoices (src/demo/trouble.rs:40)".into(),
        kind: "timer".to_owned(),
        share_ratio: 0.45,
        longest_ns: 340 * MS,
        is_running: true,
        ..SiteView::default()
    }];
    let process = |pid, name: &str, loops| ProcessView {
        pid,
        name: name.to_owned(),
        is_alive: true,
        loops,
        ..ProcessView::default()
    };
    View {
        lag_bounds_ns: vec![MS, 100 * MS],
        processes: vec![
            process(4711, "shop", vec![a_loop(4711, "web", 0.9), a_loop(4711, "load", 0.1)]),
            process(4712, "mail", vec![stalled]),
        ],
        ..View::default()
    }
}

fn board() -> LoopTable {
    let mut board = LoopTable::new("500ms");
    board.show(view());
    board
}

fn press(board: &mut LoopTable, keys: &str) -> Step {
    let code = |letter| match letter {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        'v' => KeyCode::Down,
        letter => KeyCode::Char(letter),
    };
    keys.chars().map(|letter| board.key(KeyEvent::from(code(letter)))).last().unwrap_or(Step::Go)
}

fn names(board: &LoopTable) -> Vec<String> {
    board.rows().iter().map(|(process, entry)| format!("{}/{}", process.name, entry.name)).collect()
}

#[test]
fn what_is_wrong_comes_first_and_other_orders_are_a_key_away() {
    let mut board = board();
    assert_eq!(names(&board), ["mail/web", "shop/web", "shop/load"]);
    press(&mut board, "s");
    assert_eq!((board.sort, names(&board)[0].as_str()), (Sort::Busy, "shop/web"));
    press(&mut board, "sss");
    assert_eq!((board.sort, names(&board)[1].as_str()), (Sort::Name, "shop/load"));
    press(&mut board, "r");
    assert_eq!(names(&board), ["shop/web", "shop/load", "mail/web"]);
    press(&mut board, "s");
    assert_eq!(board.sort, Sort::Trouble, "they come round");
}

#[test]
fn who_exited_while_idle_is_listed_where_that_is_wanted_or_nobody_else_is_there() {
    let mut view = view();
    let mut ended = |at: usize, busy_ns| {
        view.processes[at].is_alive = false;
        for entry in &mut view.processes[at].loops {
            entry.state = StateView { kind: StateKind::Ended, busy_ns, ..StateView::default() };
        }
        let mut board = LoopTable::new("500ms");
        board.show(view.clone());
        board
    };
    assert_eq!(names(&ended(0, MS)).len(), 3, "who was killed in the middle of something is not idle");
    let mut board = ended(0, 0);
    assert_eq!(names(&board), ["mail/web"]);
    press(&mut board, "a");
    assert_eq!(names(&board).len(), 3);
    press(&mut board, "a");
    assert_eq!(names(&board).len(), 1);
    assert_eq!(names(&ended(1, 0)).len(), 3, "nobody else is there");
}

#[test]
fn workers_stand_below_their_runtime_once_they_are_asked_for() {
    let mut view = view();
    let runtime = &mut view.processes[0].loops[0];
    runtime.worker = Some(1);
    let worker =
        |number, busy| LoopView { worker: Some(number), ..a_loop(4711, &format!("web/{number}"), busy) };
    runtime.workers = vec![worker(0, 0.1), worker(1, 0.99)];
    let mut board = LoopTable::new("500ms");
    board.show(view);
    assert_eq!(names(&board), ["mail/web", "shop/web", "shop/load"]);
    press(&mut board, "w");
    assert_eq!(names(&board), ["mail/web", "shop/web", "shop/web/0", "shop/web/1", "shop/load"]);
    press(&mut board, "/web/1\n");
    assert_eq!(names(&board), ["shop/web", "shop/web/0", "shop/web/1"]);
    press(&mut board, "w");
    assert_eq!(names(&board), ["shop/web"]);
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut board = board();
    assert_eq!(press(&mut board, "/shoq"), Step::Go, "letters of a filter are no commands");
    assert!(board.rows().is_empty());
    board.key(KeyEvent::from(KeyCode::Backspace));
    press(&mut board, "P\n");
    assert_eq!((board.is_typing, names(&board).len()), (false, 2));
    press(&mut board, "\x1b");
    assert_eq!(names(&board).len(), 3);
    press(&mut board, "/4712\n");
    assert_eq!(names(&board), ["mail/web"]);
}

#[test]
fn the_chosen_loop_stays_chosen_when_the_order_changes() {
    let mut board = board();
    press(&mut board, "v");
    assert_eq!(board.chosen_at(&board.rows()), 1);
    press(&mut board, "ss");
    let rows = board.rows();
    assert_eq!(rows[board.chosen_at(&rows)].0.name, "shop");
    press(&mut board, "vvvvv");
    assert_eq!(board.chosen_at(&board.rows()), 2, "the last one is the last");
    press(&mut board, "\n");
    assert_eq!(board.shown, Shown::Details(0));
    press(&mut board, "v");
    assert_eq!(board.shown, Shown::Details(1));
    assert_eq!((press(&mut board, "q"), board.shown), (Step::Go, Shown::Loops));
    assert_eq!((press(&mut board, "?"), board.shown), (Step::Go, Shown::Help));
    assert_eq!((press(&mut board, "\x1b"), press(&mut board, "q")), (Step::Go, Step::Quit));
}

#[test]
fn a_pause_holds_what_is_shown_and_ctrl_c_always_ends() {
    let mut board = board();
    press(&mut board, " ");
    board.show(View::default());
    assert_eq!(names(&board).len(), 3);
    press(&mut board, " ");
    board.show(View::default());
    assert!(names(&board).is_empty());
    press(&mut board, "\n");
    assert_eq!(board.shown, Shown::Loops, "there is none to open");
    press(&mut board, "/");
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(board.key(key), Step::Quit);
}

#[test]
fn a_stopped_process_is_worse_than_one_that_is_well_and_better_than_one_that_is_stalled() {
    let of = |kind, is_critical| {
        let state = StateView { kind, is_critical, busy_ns: MS, ..StateView::default() };
        trouble(&LoopView { state, ..a_loop(1, "web", 0.5) })
    };
    let order = [
        of(StateKind::Ended, false),
        of(StateKind::Idle, false),
        of(StateKind::Stopped, false),
        of(StateKind::Stalled, false),
        of(StateKind::Stalled, true),
    ];
    assert!(order.is_sorted_by(|better, worse| better < worse), "{order:?}");
}
