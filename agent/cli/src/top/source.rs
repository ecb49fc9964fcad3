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
    /// What was found at the start, until it is looked at: opening all pages again would hold up the first picture.
    found: Option<Vec<Process>>,
}

impl Source {
    /// Makes sure that there is something to look at.
    ///
    /// # Errors
    /// Nothing fits the target, or it is a URL.
    pub fn find(target: Option<&str>) -> Result<Source, Failure> {
        let mut source =
            Source { target: target.map(str::to_owned), observer: ViewBuilder::new(), found: None };
        source.found = Some(source.processes()?);
        Ok(source)
    }

    /// Looks once. Where the target has left, there is nothing in the view.
    ///
    /// # Errors
    /// The runtime directory can no longer be read.
    pub fn look(&mut self) -> Result<View, Failure> {
        let processes = match self.found.take().map_or_else(|| self.processes(), Ok) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::processes_in;
    use loopscope_probe::{Clock, Writer};
    use std::fs::DirBuilder;
    use std::os::unix::fs::DirBuilderExt;
    use std::path::PathBuf;

    #[test]
    fn the_first_look_opens_no_page_again() {
        let directory = PathBuf::from(format!("/dev/shm/loopscope-top-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        let writer = Writer::builder("web").directory(&directory).build();
        let found = processes_in(directory.clone(), |_, _| Some(Clock::monotonic())).unwrap();
        let mut source =
            Source { target: Some("0".to_owned()), observer: ViewBuilder::new(), found: Some(found) };
        let names = |view: View| -> Vec<String> {
            let loops = view.processes.into_iter().flat_map(|process| process.loops);
            loops.map(|one| one.name).collect()
        };
        assert_eq!(names(source.look().unwrap()), ["web"]);
        assert!(names(source.look().unwrap()).is_empty(), "from then on, what there is");
        drop(writer);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
