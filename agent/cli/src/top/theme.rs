//! Colours, where they are wanted: what they say is always said in words or by weight, too.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    has_colour: bool,
}

impl Theme {
    /// Returns what `NO_COLOR` allows.
    pub fn of_environment() -> Theme {
        Theme { has_colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    /// Returns a theme of weights alone.
    #[cfg(test)]
    pub fn plain() -> Theme {
        Theme { has_colour: false }
    }

    fn coloured(self, colour: Color, style: Style) -> Style {
        if self.has_colour { style.fg(colour) } else { style }
    }

    /// What is wrong now.
    pub fn alarm(self) -> Style {
        self.coloured(Color::Red, Style::new().add_modifier(Modifier::BOLD))
    }

    /// What may become wrong.
    pub fn warning(self) -> Style {
        self.coloured(Color::Yellow, Style::new())
    }

    /// What is as it should be.
    pub fn good(self) -> Style {
        self.coloured(Color::Green, Style::new())
    }

    /// What is there for the sake of completeness.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings.
    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is chosen.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
