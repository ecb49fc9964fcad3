//! Finding the number of a place in the program: when a callback is registered, not each time it is called.

use crate::kind::Kind;
use crate::site::{Site, SiteAddress, SiteId, site_at};
use crate::spans::{SpanContext, SpanGuard};
use crate::writer::Writer;
use std::panic::Location;

impl Writer {
    /// Finds the site of a source location; 1 to 5 ns. For registration time, not for each call.
    ///
    /// ```
    /// use loopscope_probe::{Kind, SiteId, Writer};
    /// use std::panic::Location;
    ///
    /// #[track_caller] // the caller's place is the site
    /// fn register(writer: &mut Writer) -> SiteId {
    ///     writer.site(Location::caller(), Kind::Timer)
    /// }
    /// # let mut writer = Writer::builder("web").private().build();
    /// let sites = [0; 2].map(|_| register(&mut writer));
    /// assert_eq!(sites[0], sites[1]);
    /// ```
    #[inline]
    pub fn site(&mut self, at: &'static Location<'static>, kind: Kind) -> SiteId {
        let SpanContext { page, pen, .. } = &*self.track;
        self.track.sites.borrow_mut().at(pen, &page.sites, at, kind)
    }

    /// Finds the site of a callback by its place and its function, for runtimes that know the callback's type: 1 to 5 ns.
    /// `function` is a text whose address stands for the function, such as [`std::any::type_name`] gives; empty where
    /// there is none. `name` is asked the first time for what people call it. Two texts of one name are one site.
    ///
    /// ```
    /// # use loopscope_probe::{Kind, Writer};
    /// # use std::panic::Location;
    /// # let mut writer = Writer::builder("web").private().build();
    /// fn expire() {}
    /// fn name_of<F>(_: F) -> &'static str {
    ///     std::any::type_name::<F>()
    /// }
    /// let at = Location::caller();
    /// let site = writer.function_site(at, Kind::Timer, name_of(expire), || "expire".to_owned());
    /// assert_eq!(writer.function_site(at, Kind::Timer, name_of(expire), || unreachable!()), site);
    /// ```
    #[inline]
    pub fn function_site(
        &mut self,
        at: &'static Location<'static>,
        kind: Kind,
        function: &'static str,
        name: impl FnOnce() -> String,
    ) -> SiteId {
        let SpanContext { page, pen, .. } = &*self.track;
        let address = SiteAddress::of_function(at, function, kind);
        let make = || site_at(at, kind, &name());
        self.track.sites.borrow_mut().addressed(pen, &page.sites, address, make)
    }

    /// Finds the site of a source location under a name that the user gave.
    ///
    /// ```
    /// # use loopscope_probe::{Kind, Writer};
    /// # use std::panic::Location;
    /// # let mut writer = Writer::builder("web").private().build();
    /// let site = writer.named_site(Location::caller(), Kind::Timer, "expire");
    /// let snapshot = writer.page().snapshot(writer.clock());
    /// assert_eq!(snapshot.site(site).map(|site| &*site.name), Some("expire"));
    /// ```
    pub fn named_site(&mut self, at: &'static Location<'static>, kind: Kind, name: &str) -> SiteId {
        let SpanContext { page, pen, .. } = &*self.track;
        self.track.sites.borrow_mut().intern(pen, &page.sites, site_at(at, kind, name))
    }

    /// Finds the site with these values: for runtimes whose places are not Rust source locations.
    ///
    /// ```
    /// use loopscope_probe::{Kind, Site, Writer};
    ///
    /// let mut writer = Writer::builder("scripts").build();
    /// let (name, file) = ("onRequest".to_owned(), "server.js".to_owned());
    /// let site = writer.foreign_site(Site { kind: Kind::IoRead, name, file, line: 12, ..Site::default() });
    /// # let _ = site;
    /// ```
    pub fn foreign_site(&mut self, site: Site) -> SiteId {
        let SpanContext { page, pen, .. } = &*self.track;
        self.track.sites.borrow_mut().intern(pen, &page.sites, site)
    }

    /// Finds the site that stands for an address, with the values that `make` gives the first time: a few
    /// nanoseconds, without a look at a string. Of two addresses with the same values both have the same site.
    ///
    /// What lies at the address must mean the same site for as long as the writer lives: a `&'static Location`, or a
    /// text that the caller keeps, such as a route's `Arc<str>`.
    ///
    /// ```
    /// # use loopscope_probe::{Kind, Site, Writer};
    /// # use std::sync::Arc;
    /// # let mut writer = Writer::builder("web").private().build();
    /// let route: Arc<str> = "/users/:id".into(); // kept for as long as the writer lives
    /// let address = route.as_ptr() as usize;
    /// let make = || Site { kind: Kind::Task, name: route.to_string(), ..Site::default() };
    /// let site = writer.addressed_site(address, Kind::Task, make);
    /// assert_eq!(writer.addressed_site(address, Kind::Task, || unreachable!()), site);
    /// ```
    #[inline]
    pub fn addressed_site(&mut self, address: usize, kind: Kind, make: impl FnOnce() -> Site) -> SiteId {
        let SpanContext { page, pen, .. } = &*self.track;
        self.track.sites.borrow_mut().addressed(pen, &page.sites, SiteAddress::of(address, kind), make)
    }

    /// Makes this loop the one that spans on this thread belong to, until the result is dropped.
    pub fn install_spans(&self) -> SpanGuard {
        crate::spans::install(&self.track)
    }
}
