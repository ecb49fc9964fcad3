//! `loopscope top`: the loops of this machine on a terminal, as they are now.
//!
//! ```text
//!   pages --> Source --> live::View --> LoopTable (sorted, filtered, chosen) --> draw
//!   agents, pages of the dead --> incidents, on a thread of their own --^      ^-- keys
//! ```

mod column;
pub mod details;
mod help;
pub mod loop_table;
pub mod once;
mod recent_incidents;
mod render;
mod screen;
mod site_window;
mod source;
pub mod theme;

use crate::args::TopArguments;
use crate::duration::show;
use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::output::tell;
use loop_table::{LoopTable, Step};
use loopscope_probe::Clock;
use ratatui::crossterm::event::{self, Event};
use recent_incidents::RecentIncidents;
use screen::Screen;
use site_window::SiteWindow;
use source::Source;
use std::io::IsTerminal;
use std::time::Duration;
use theme::Theme;

/// A signal is noticed within this time.
const NOTICE: Duration = Duration::from_millis(100);

/// Shows the loops until it is asked to end, or prints them once.
///
/// # Errors
/// There is no such target, or the terminal cannot be used.
pub fn run(options: &TopArguments) -> Result<(), Failure> {
    let mut source = Source::find(options.target.as_deref())?;
    if options.once {
        return once::run(&mut source, options);
    }
    if let Some(because) = no_screen() {
        tell(&format!("loopscope: {because}: printing once, as with --once\n"));
        return once::run(&mut source, options);
    }
    let mut interrupt = Interrupt::install()?;
    let mut board = LoopTable::new(&show(options.every));
    let mut screen = Screen::open()?;
    let theme = Theme::of_environment();
    let clock = Clock::monotonic();
    let mut sites = SiteWindow::default();
    let (mut looked, mut happened) = (None, None);
    loop {
        let since_ns = looked.map_or(u64::MAX, |looked| clock.ns_between(looked, clock.now()));
        if u128::from(since_ns) >= options.every.as_nanos() {
            looked = Some(clock.now());
            let mut view = source.look()?;
            sites.replace(&mut view);
            board.show(view);
        }
        if let Some(incidents) = happened.as_ref().and_then(RecentIncidents::newest) {
            board.tell(incidents);
        }
        screen.draw(|frame| render::draw(frame, &mut board, &theme))?;
        // It reads all pages, too, and asks agents: the first picture does not share the machine with that.
        if happened.is_none() {
            happened = Some(RecentIncidents::start(options.target.clone())?);
        }
        if wait_for_key(&mut board, options.every)? == Step::Quit || interrupt.wait(Duration::ZERO) {
            return Ok(());
        }
    }
}

/// Waits for something to show, and lets the board have all keys that came.
fn wait_for_key(board: &mut LoopTable, every: Duration) -> Result<Step, Failure> {
    let refused = |error| Failure::system("read the keyboard", error);
    let mut patience = NOTICE.min(every);
    while event::poll(patience).map_err(refused)? {
        if let Event::Key(key) = event::read().map_err(refused)?
            && board.key(key) == Step::Quit
        {
            return Ok(Step::Quit);
        }
        patience = Duration::ZERO;
    }
    Ok(Step::Go)
}

/// Says why there can be no screen here.
fn no_screen() -> Option<&'static str> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    match () {
        () if !std::io::stdout().is_terminal() => Some("stdout is not a terminal"),
        () if !std::io::stdin().is_terminal() => Some("stdin is not a terminal"),
        () if is_dumb => Some("TERM is dumb"),
        () => None,
    }
}
