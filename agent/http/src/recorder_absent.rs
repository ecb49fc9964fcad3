//! Without the feature `recorder` there is none.

/// Never there.
#[derive(Clone, Debug)]
pub enum Handle {}

impl Handle {
    /// Never called.
    pub fn render(&self) -> String {
        match *self {}
    }

    /// Never called.
    pub fn run_upkeep(&self) {
        match *self {}
    }
}

/// Installs nothing.
pub fn install() -> Option<Handle> {
    None
}
