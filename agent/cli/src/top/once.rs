//! The table once, for scripts and for terminals that are none.

use crate::args::TopArguments;
use crate::error::Failure;
use crate::incidents::list;
use crate::incidents::source::of_processes;
use crate::output::print;
use crate::paint::Paint;
use crate::top::column;
use crate::top::column::Column;
use crate::top::loop_table::LoopTable;
use crate::top::source::Source;
use crate::view;
use loopscope_probe::raw::clock::unix_ns;

/// Incidents below the table.
const INCIDENTS_MAX: usize = 10;

/// Looks twice, so that figures are of the interval between, and prints.
///
/// # Errors
/// The pages cannot be read, or stdout cannot be written.
pub fn run(source: &mut Source, options: &TopArguments) -> Result<(), Failure> {
    source.look()?;
    std::thread::sleep(options.every);
    let view = source.look()?;
    if options.json {
        return view::print(&view);
    }
    let mut board = LoopTable::new("");
    board.show(view);
    let mut text = table(&board);
    let catch = of_processes(options.target.as_deref()).unwrap_or_default().printable();
    if !catch.found.is_empty() {
        text += "\n";
        text += &list::text(Paint::stdout(), &catch, INCIDENTS_MAX, unix_ns());
    }
    print(&text)
}

/// Writes all columns, as wide as they are.
pub fn table(board: &LoopTable) -> String {
    let (rows, unreadable) = (board.rows(), board.unreadable());
    let unreadable: String = unreadable.iter().map(|page| format!("Not readable: {page}\n")).collect();
    if rows.is_empty() {
        return match unreadable.is_empty() {
            true => "No instrumented process; start one, for example `loopscope demo`.\n".to_owned(),
            false => unreadable,
        };
    }
    let head: Vec<String> = column::ALL.iter().map(|column| column.heading(&rows)).collect();
    let cells = rows.iter().map(|row| column::ALL.iter().map(|column| column.cell(*row)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let widths: Vec<usize> = (0..column::ALL.len())
        .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut written = String::new();
        for ((cell, width), column) in line.iter().zip(&widths).zip(column::ALL) {
            written += &match column {
                Column::Now => cell.clone(),
                _ => format!("{cell:width$}  "),
            };
        }
        text += written.trim_end();
        text.push('\n');
    }
    text += &match board.left_out() {
        0 => String::new(),
        1 => "1 process exited while idle; `ls --all` lists it.\n".to_owned(),
        exited => format!("{exited} processes exited while idle; `ls --all` lists them.\n"),
    };
    text + &unreadable
}
