//! Names that the program gives to what runs.

use super::drains::Drain;
use super::{Entries, Frame, Runtime};
use loopscope_probe::Site;
use loopscope_probe::{Kind, SiteId, TaskTimes};

impl<R: Runtime> Entries<R> {
    /// Gives what runs a name: an entry and a drain as a whole. Of a batch the member that runs; where nobody tells
    /// its members apart, what runs from now on, up to the next drain inside of it. Returns whether it is such a
    /// batch.
    pub fn label(&mut self, name: &str) -> bool {
        if !matches!(self.drain, Drain::None) {
            let site = self.labelled(Kind::Microtask, name);
            self.writer.begin_many(Kind::Microtask, site);
            return false;
        }
        match self.ask_for_ticks() {
            true => self.is_surely_ticks(),
            false if self.is_nobodys && self.frame == Frame::Tick => self.is_no_ticks(),
            false => {}
        }
        match (self.frame, self.batch) {
            (Frame::None, _) => false,
            (Frame::Tick, _) => {
                self.further_round_begins();
                let site = self.labelled(Kind::Tick, name);
                self.writer.begin_many(Kind::Tick, site);
                // Who names it runs in it.
                self.is_round_sure = true;
                false
            }
            (Frame::Callback, None) => {
                let site = self.labelled(self.kind, name);
                self.writer.begin(self.kind, site, TaskTimes::UNKNOWN);
                false
            }
            (Frame::Callback, Some(batch)) => {
                let site = self.labelled(self.kind, name);
                self.name_member(batch, site);
                !self.has_checkpoints
            }
        }
    }

    fn labelled(&mut self, kind: Kind, name: &str) -> SiteId {
        let (name, file, line, column) = (name.to_owned(), String::new(), 0, 0);
        self.writer.foreign_site(Site { kind, name, file, line, column })
    }
}
