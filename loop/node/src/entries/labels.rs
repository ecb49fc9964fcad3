//! Names that the program gives to what runs.

use super::drains::Drain;
use super::{Entries, Frame, Runtime};
use loopscope_probe::site::Site;
use loopscope_probe::{Kind, Life, SiteId};

impl<R: Runtime> Entries<R> {
    /// Gives what runs a name: an entry and a drain as a whole. Of a batch, whose members nobody tells, what runs from now on, up
    /// to the next drain inside of it. Returns whether it is a batch.
    pub fn label(&mut self, name: &str) -> bool {
        if !matches!(self.drain, Drain::None) {
            let site = self.labelled(Kind::Microtask, name);
            self.writer.begin_many(Kind::Microtask, site);
            return false;
        }
        match self.frame {
            Frame::None => false,
            Frame::Tick => {
                let site = self.labelled(Kind::Tick, name);
                self.writer.begin_many(Kind::Tick, site);
                false
            }
            Frame::Callback => {
                let is_batch = self.batch != SiteId::NONE;
                let site = self.labelled(self.kind, name);
                if is_batch {
                    self.writer.end();
                    self.writer.drained();
                }
                self.is_labelled = true;
                self.writer.begin(self.kind, site, Life::UNKNOWN);
                is_batch
            }
        }
    }

    fn labelled(&mut self, kind: Kind, name: &str) -> SiteId {
        let (name, file, line, column) = (name.to_owned(), String::new(), 0, 0);
        self.writer.foreign_site(Site { kind, name, file, line, column })
    }

    /// A drain inside a batch has ended: what comes is another member of it, and not what was named.
    pub(super) fn next_of_batch(&mut self) {
        if self.batch != SiteId::NONE && std::mem::take(&mut self.is_labelled) {
            self.writer.begin_many(self.kind, self.batch);
        }
    }
}
