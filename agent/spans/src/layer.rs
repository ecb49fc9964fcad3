//! A `tracing` layer that makes the spans inside a callback its sub-frames.
//!
//! For every thread that is not running a loop it costs one thread-local load per span entry and exit. On a loop's
//! thread a span costs two clock reads and a look-up in a list as long as the loop has span places; nothing is
//! allocated once every place was seen and the deepest nesting was reached, save the text of a span's fields, which is
//! made when the span is: so that an agent can tell which request it is that blocks.

use crate::fields::FieldText;
use loopscope_probe::SiteId;
use loopscope_probe::spans::{self, Entered};
use std::cell::RefCell;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Makes the spans entered inside a callback frames of its own: add it to the program's subscriber.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
/// let subscriber = tracing_subscriber::registry().with(loopscope_spans::SpanLayer::new());
/// # drop(subscriber);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanLayer {
    _private: (),
}

impl SpanLayer {
    /// Returns the layer.
    pub fn new() -> Self {
        SpanLayer::default()
    }
}

/// A span place on a loop's page. Metadata live as long as the program, so their address names the place.
#[derive(Clone, Copy)]
struct Place {
    metadata: usize,
    site: SiteId,
}

/// What a thread remembers.
struct Memory {
    /// The loop that `places` belong to.
    identity: u64,
    places: Vec<Place>,
    /// Spans entered on this thread and not left, innermost last.
    open: Vec<(Id, Option<Entered>)>,
}

thread_local! {
    static MEMORY: RefCell<Memory> =
        const { RefCell::new(Memory { identity: 0, places: Vec::new(), open: Vec::new() }) };
}

/// Calls `f` with what the thread remembers. Not where the thread ends and forgets: a span may be left as late as in the
/// destructor of another of its variables.
fn with_memory(f: impl FnOnce(&mut Memory)) {
    let call = |memory: &RefCell<Memory>| {
        if let Ok(mut memory) = memory.try_borrow_mut() {
            f(&mut memory);
        }
    };
    // Then there is nothing to remember, and nobody who would ask.
    let _ = MEMORY.try_with(call);
}

impl Memory {
    fn site(&mut self, identity: u64, metadata: &'static Metadata<'static>) -> Option<SiteId> {
        if self.identity != identity {
            self.identity = identity;
            self.places.clear();
        }
        let address = std::ptr::from_ref(metadata) as usize;
        if let Some(place) = self.places.iter().find(|place| place.metadata == address) {
            return Some(place.site);
        }
        let site = spans::site(metadata.name(), metadata.file().unwrap_or(""), metadata.line().unwrap_or(0))?;
        self.places.push(Place { metadata: address, site });
        Some(site)
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.fields().is_empty() || spans::loop_identity() == 0 {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut text = FieldText::default();
        attributes.record(&mut text);
        span.extensions_mut().insert(text);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if span.extensions().get::<FieldText>().is_none() {
            return;
        }
        // Formatted before the lock is taken: a value's own formatting may enter this very span.
        let mut added = FieldText::default();
        values.record(&mut added);
        if let Some(text) = span.extensions_mut().get_mut::<FieldText>() {
            text.append(&added);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let identity = spans::loop_identity();
        if identity == 0 {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let extensions = span.extensions();
        let fields = extensions.get::<FieldText>().map_or("", FieldText::as_str);
        with_memory(|memory| {
            let entered = memory.site(identity, span.metadata()).and_then(|site| spans::enter(site, fields));
            memory.open.push((id.clone(), entered));
        });
    }

    fn on_exit(&self, id: &Id, _context: Context<'_, S>) {
        with_memory(|memory| {
            // Usually the innermost. One that is left out of order takes those inside it along.
            let Some(at) = memory.open.iter().rposition(|(open, _)| open == id) else { return };
            if let Some(entered) = memory.open[at].1 {
                spans::leave(entered);
            }
            memory.open.truncate(at);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Clock, Kind, TaskTimes, VirtualClock, Writer};
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn open_spans_are_told_with_their_fields() {
        let mut writer = Writer::builder("fielded").private().build();
        let subscriber = tracing_subscriber::registry().with(SpanLayer::new());
        tracing::subscriber::with_default(subscriber, || {
            let _spans = writer.install_spans();
            writer.resume();
            writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            let request =
                tracing::info_span!("request", method = "GET", id = 7, user = tracing::field::Empty);
            request.record("user", tracing::field::debug(Some("ann")));
            let _request = request.entered();
            tracing::info_span!("bare").in_scope(|| {
                let page = writer.page();
                let open = page.open_spans();
                let told = |span: &loopscope_probe::raw::open_spans::OpenSpan| {
                    (page.sites().read_one(span.site).unwrap().name, span.fields.clone())
                };
                let expected = ["method=GET id=7 user=Some(\"ann\")", ""].map(str::to_owned);
                let names = ["request", "bare"].map(str::to_owned);
                assert_eq!(
                    open.iter().map(told).collect::<Vec<_>>(),
                    names.into_iter().zip(expected).collect::<Vec<_>>()
                );
            });
            assert_eq!(writer.page().open_spans().len(), 1);
            writer.end();
            assert_eq!(writer.page().open_spans(), []);
        });
    }

    /// Its text is what it is because of a span that is entered meanwhile.
    struct Enters(tracing::Span);

    impl std::fmt::Debug for Enters {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.in_scope(|| out.write_str("value"))
        }
    }

    #[test]
    fn a_recorded_value_may_enter_its_own_span() {
        let mut writer = Writer::builder("recorded").private().build();
        let subscriber = tracing_subscriber::registry().with(SpanLayer::new());
        tracing::subscriber::with_default(subscriber, || {
            let _spans = writer.install_spans();
            writer.resume();
            writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            let request = tracing::info_span!("request", method = "GET", user = tracing::field::Empty);
            request.record("user", tracing::field::debug(Enters(request.clone())));
            let _request = request.entered();
            assert_eq!(writer.page().open_spans()[0].fields, "method=GET user=value");
        });
    }

    #[test]
    fn spans_are_frames_of_the_callback_they_run_in() {
        let time = VirtualClock::starting_at(1_000);
        let mut writer = Writer::builder("layered").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(std::panic::Location::caller(), Kind::Timer, "flush");
        let subscriber = tracing_subscriber::registry().with(SpanLayer::new());
        tracing::subscriber::with_default(subscriber, || {
            let _outside = tracing::info_span!("outside").entered();
            let _spans = writer.install_spans();
            writer.resume();
            for _ in 0..2 {
                writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
                time.advance_ns(5);
                let query = tracing::info_span!("query").entered();
                time.advance_ns(7);
                tracing::info_span!("parse").in_scope(|| time.advance_ns(11));
                drop(query);
                time.advance_ns(13);
                writer.end();
            }
            writer.park();
        });
        let clock = writer.clock().clone();
        let snapshot = writer.page().snapshot(&clock);
        let told: Vec<_> = snapshot
            .paths
            .iter()
            .filter(|path| path.site != SiteId::NONE && path.calls > 0)
            .map(|path| (snapshot.sites[path.site.index()].name.as_str(), path.calls, path.self_ns))
            .collect();
        assert_eq!(told, [("flush", 2, 36), ("query", 2, 14), ("parse", 2, 22)]);
    }
}
