//! Sites and kinds of a page in words, each read once.

use crate::incident::Culprit;
use crate::words::kind_word;
use loopscope_probe::Site;
use loopscope_probe::description::Description;
use loopscope_probe::{Kind, Page, SiteId};
use std::collections::HashMap;
use std::sync::Arc;

/// The sites of one page.
pub(crate) struct SiteLabels<'a> {
    page: &'a Page,
    runtime: Arc<Description>,
    labels: HashMap<SiteId, String>,
}

impl<'a> SiteLabels<'a> {
    pub(crate) fn of(page: &'a Page) -> Self {
        SiteLabels { page, runtime: page.description(), labels: HashMap::new() }
    }

    /// Returns what the page's runtime says of itself.
    pub(crate) fn runtime(&self) -> Arc<Description> {
        self.runtime.clone()
    }

    /// Returns what a kind is called, the same as on displays: a drained job by its queue.
    pub(crate) fn kind(&self, kind: Kind) -> String {
        kind_word(&self.runtime, kind).to_owned()
    }

    pub(crate) fn site(&self, id: SiteId) -> Option<Site> {
        self.page.sites().read_one(id)
    }

    /// Returns the name and place of a site; `?` where not known.
    pub(crate) fn label(&mut self, id: SiteId) -> String {
        self.labels.entry(id).or_insert_with(|| self.page.sites().label(id)).clone()
    }

    /// Returns the name and place of a site; `None` for no site.
    pub(crate) fn known_label(&mut self, id: SiteId) -> Option<String> {
        (id != SiteId::NONE).then(|| self.label(id))
    }

    /// Returns who is to blame, where that is what runs or ran at `id`.
    pub(crate) fn culprit(&mut self, kind: Option<Kind>, id: SiteId) -> Culprit {
        let kind_name = kind.map_or("main".to_owned(), |kind| self.kind(kind));
        match self.site(id).filter(|_| kind.is_some()) {
            Some(site) => Culprit {
                kind: kind_name,
                label: site.label(),
                name: site.name,
                file: site.file,
                line: site.line,
                column: site.column,
            },
            None => Culprit { kind: kind_name, label: "?".to_owned(), ..Culprit::default() },
        }
    }
}
