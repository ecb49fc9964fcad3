//! Sites of what has no name of its own.

use loopscope_probe::Site;
use loopscope_probe::{Kind, SiteId, Writer};

#[derive(Debug)]
pub(super) struct Sites {
    pub(super) main: SiteId,
    pub(super) ticks: SiteId,
    pub(super) microtasks: SiteId,
    pub(super) timers: SiteId,
    pub(super) immediates: SiteId,
    pub(super) closing: SiteId,
    /// Node makes or changes an object, for nobody's callback.
    pub(super) node: SiteId,
    pub(super) unnamed: SiteId,
}

impl Sites {
    pub(super) fn new(writer: &mut Writer) -> Sites {
        let mut site = |kind, name: &str| {
            let (file, line, column) = (String::new(), 0, 0);
            writer.foreign_site(Site { kind, name: name.to_owned(), file, line, column })
        };
        Sites {
            main: site(Kind::Other, "main script"),
            ticks: site(Kind::Tick, "nextTick queue"),
            microtasks: site(Kind::Microtask, "microtask queue"),
            timers: site(Kind::Timer, "timers"),
            immediates: site(Kind::Immediate, "immediates"),
            closing: site(Kind::Close, "closing"),
            node: site(Kind::Other, "Node itself"),
            unnamed: site(Kind::Other, "unnamed"),
        }
    }
}
