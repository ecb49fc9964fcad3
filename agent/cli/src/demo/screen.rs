//! The demo's terminal: a live line at the bottom, and log lines that pass above it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Where the demo prints. Clones are the same screen.
#[derive(Clone, Debug)]
pub struct DemoScreen {
    /// The live line: a bar that is only a message. `None` where stdout is not a terminal.
    bar: Option<ProgressBar>,
}

impl DemoScreen {
    /// Returns the screen of stdout: with a live line if that is a terminal.
    pub fn new() -> DemoScreen {
        let bar = io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
            // Cut to the terminal's width: a line that wraps cannot be cleared.
            bar.set_style(ProgressStyle::with_template("{wide_msg}").unwrap_or(ProgressStyle::default_bar()));
            bar
        });
        DemoScreen { bar }
    }

    /// Tells whether there is a live line, so that colours make sense.
    pub fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    /// Prints lines that stay.
    pub fn print(&self, text: &str) {
        // A terminal or reader that has gone away is no reason to stop serving, and there is nobody to tell.
        let _ = self.aside(|| io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()));
    }

    /// Shows `text` as the live line; where there is none, prints it as a line of its own.
    pub fn live(&self, text: &str) {
        match &self.bar {
            None => self.print(&format!("{text}\n")),
            Some(bar) => {
                bar.set_message(text.to_owned());
                bar.tick();
            }
        }
    }

    /// Takes the live line away for good.
    pub fn end_live(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Runs `write` with the live line out of the way.
    fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.bar {
            None => write(),
            Some(bar) => bar.suspend(write),
        }
    }
}

/// Writes log lines to stderr without tearing the live line.
#[derive(Debug)]
pub struct LogLine(DemoScreen);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The subscriber writes a whole event at once.
        self.0.aside(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for DemoScreen {
    type Writer = LogLine;

    fn make_writer(&self) -> LogLine {
        LogLine(self.clone())
    }
}
