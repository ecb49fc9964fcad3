//! The terminal as a screen, and as it was before, whatever happens: at the end, on an error, on a panic.

use crate::error::Failure;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};
use std::io::{self, Stdout};
use std::sync::Once;

/// The screen; gives the terminal back when dropped.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It does not let itself be.
    pub fn open() -> Result<Screen, Failure> {
        let refused = |error: io::Error| {
            give_back();
            Failure::system("set up the terminal", error)
        };
        // A message in the alternate screen is gone with it: give the terminal back before it is written.
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let others = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                others(panic);
            }));
        });
        enable_raw_mode().map_err(refused)?;
        execute!(io::stdout(), EnterAlternateScreen).map_err(refused)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(refused)?;
        Ok(Screen { terminal })
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal has gone away.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        let drawn = self.terminal.draw(draw);
        drawn.map(|_| ()).map_err(|error| Failure::system("write to the terminal", error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Returns the terminal to what it was. Doing so twice does no harm; where it has gone away, there is nobody to tell.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}
