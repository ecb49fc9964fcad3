//! Where the figures come from: the pages of the target, looked at again and again.

use crate::error::Failure;
use crate::pages::Process;
use crate::target::Reached;
use crate::{target, view};
use loopscope_report::live::{View, ViewBuilder};

/// The target, and what was seen of it last.
#[derive(Debug)]
pub struct Source {
    target: Option<String>,
    observer: ViewBuilder,
}

impl Source {
    /// Makes sure that there is something to look at.
    ///
    /// # Errors
    /// Nothing fits the target, or it is a URL.
    pub fn find(target: Option<&str>) -> Result<Source, Failure> {
        let source = Source { target: target.map(str::to_owned), observer: ViewBuilder::new() };
        source.processes()?;
        Ok(source)
    }

    /// Looks once. Where the target has left, there is nothing in the view.
    ///
    /// # Errors
    /// The runtime directory can no longer be read.
    pub fn look(&mut self) -> Result<View, Failure> {
        let processes = match self.processes() {
            Err(Failure::NotFound(_)) => Vec::new(),
            processes => processes?,
        };
        Ok(view::observe(&mut self.observer, &processes))
    }

    fn processes(&self) -> Result<Vec<Process>, Failure> {
        match target::reach(self.target.as_deref())? {
            Reached::Processes(processes) => Ok(processes),
            Reached::Url(url) => Err(Failure::Usage(format!(
                "{url}: top only reads pages of this machine; for another machine, open the URL in a browser"
            ))),
        }
    }
}
