//! `RouteLayer`: the polls of a handler, under the route that it serves.
//!
//! All connections of an HTTP server are spawned at one place, in the server's own code: who wants to know which
//! *route* blocks wraps the handlers. The name of a route is found by the address of its pattern, without a look at
//! the text.

#[cfg(feature = "axum")]
mod handler;
#[cfg(feature = "axum")]
mod pattern;
#[cfg(not(feature = "axum"))]
#[path = "pattern_absent.rs"]
mod pattern;

#[cfg(feature = "axum")]
pub use handler::{RouteHandler, by_route};

use crate::probed::{End, Probed};
use crate::worker_page::{self, Known, Label};
use http::{Method, Request};
use pattern::Pattern;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{PoisonError, RwLock};
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Routes that are told apart in a process; further ones share a name.
const ROUTES_MAX: usize = 256;
const OTHER: &str = "other route";

/// Routes that each thread remembers by the address of their pattern.
const RECENT: usize = 64;

/// Names the polls of what it wraps by the route, as `GET /users/{id}`. With axum, for `Router::route_layer`:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::get};
/// let app: Router = Router::new()
///     .route("/users/{id}", get(|| async { "a user" }))
///     .route_layer(loopscope_tokio::route::RouteLayer::new());
/// # }
/// ```
///
/// axum boxes the service and the future of a route once more for any layer, which costs more than this one itself: `by_route`
/// names the polls of a single handler without that.
///
/// Inside a poll that is [`probed`](crate::probed) it is a part of that.
#[derive(Clone, Copy, Debug)]
pub struct RouteLayer {
    at: &'static Location<'static>,
    has_pattern: bool,
}

impl RouteLayer {
    /// Names polls by the pattern that axum matched the request with (feature `axum`), which it tells layers that are
    /// added with `route_layer` only. Requests without one are named by their method.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "the place of the call is part of it")]
    pub fn new() -> RouteLayer {
        RouteLayer { at: Location::caller(), has_pattern: true }
    }

    /// Names polls by the path of the request: where all paths are known, as those of a gRPC server (tonic). 256 of
    /// them are told apart. Takes a lock for reading, and hashes the path.
    #[track_caller]
    pub fn by_path() -> RouteLayer {
        RouteLayer { at: Location::caller(), has_pattern: false }
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = RouteService<S>;

    fn layer(&self, inner: S) -> RouteService<S> {
        RouteService { inner, layer: *self }
    }
}

/// A service whose polls are named. Made by [`RouteLayer`].
#[derive(Clone, Debug)]
pub struct RouteService<S> {
    inner: S,
    layer: RouteLayer,
}

impl<S, B> Service<Request<B>> for RouteService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Probed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Probed<S::Future> {
        let (name, before) = match self.layer.has_pattern {
            true => name_by_pattern(&request),
            false => (intern(request.method(), request.uri().path()), Known::NOTHING),
        };
        let label = Label { at: self.layer.at, name: Some(name) };
        // A handler may block before there is a future.
        let mut known = before;
        let end = End(worker_page::enter(&label, &mut known));
        if known.is_of_another_lane(before) {
            note_site(&request, known);
        }
        let future = self.inner.call(request);
        worker_page::leave_call(end.into_frame(), &mut known);
        Probed::known(label, known, future)
    }
}

/// Returns the name of the route that the request was matched with, and its site where that is known.
#[inline]
fn name_by_pattern<B>(request: &Request<B>) -> (&'static str, Known) {
    match pattern::of(request.extensions()) {
        Some(pattern) => by_address(request.method(), pattern),
        None => (intern(request.method(), "(no route)"), Known::NOTHING),
    }
}

/// A route that a thread has met. Its pattern is kept, so that no other text can lie at the same address.
struct Met {
    method: Method,
    pattern: Pattern,
    name: &'static str,
    /// Its site on the thread's page, as it was last.
    known: Known,
}

impl Met {
    fn is(&self, method: &Method, pattern: &Pattern) -> bool {
        std::ptr::eq(self.pattern.as_str().as_ptr(), pattern.as_str().as_ptr()) && self.method == *method
    }
}

/// Where a route is remembered: those of one pattern and several methods lie beside each other.
fn place(method: &Method, pattern: &Pattern) -> usize {
    (pattern.as_str().as_ptr() as usize / 16 + method.as_str().len()) % RECENT
}

thread_local! {
    static MET: RefCell<Vec<Option<Met>>> = const { RefCell::new(Vec::new()) };
}

fn by_address(method: &Method, pattern: &Pattern) -> (&'static str, Known) {
    let known = MET.try_with(|met| {
        let met = met.try_borrow().ok()?;
        let met = met.get(place(method, pattern))?.as_ref()?;
        met.is(method, pattern).then_some((met.name, met.known))
    });
    known.ok().flatten().unwrap_or_else(|| (remember(method, pattern), Known::NOTHING))
}

/// Notes the site of the route that the request was matched with, where that is remembered.
#[cold]
fn note_site<B>(request: &Request<B>, known: Known) {
    let Some(pattern) = pattern::of(request.extensions()) else { return };
    let method = request.method();
    let _ = MET.try_with(|met| {
        let mut met = met.try_borrow_mut().ok()?;
        let met = met.get_mut(place(method, pattern))?.as_mut()?;
        if met.is(method, pattern) {
            met.known = known;
        }
        Some(())
    });
}

#[cold]
fn remember(method: &Method, pattern: &Pattern) -> &'static str {
    let name = intern(method, pattern.as_str());
    let met = Met { method: method.clone(), pattern: pattern.clone(), name, known: Known::NOTHING };
    let replaced = MET.try_with(|all| {
        let mut all = all.try_borrow_mut().ok()?;
        if all.is_empty() {
            all.resize_with(RECENT, || None);
        }
        all.get_mut(place(method, pattern))?.replace(met)
    });
    drop(replaced);
    name
}

type Names = HashMap<Method, HashMap<Box<str>, &'static str>>;
static NAMES: RwLock<Option<Names>> = RwLock::new(None);

/// Returns the name of a route, which lives for ever, as there is a bounded number of them.
fn intern(method: &Method, text: &str) -> &'static str {
    let known = {
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        names.as_ref().and_then(|names| names.get(method)?.get(text).copied())
    };
    known.unwrap_or_else(|| make_name(method, text))
}

#[cold]
fn make_name(method: &Method, text: &str) -> &'static str {
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if names.values().map(HashMap::len).sum::<usize>() >= ROUTES_MAX {
        return OTHER;
    }
    let of_method = names.entry(method.clone()).or_default();
    of_method.entry(text.into()).or_insert_with(|| Box::leak(format!("{method} {text}").into_boxed_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_name_and_there_are_not_too_many() {
        let get = intern(&Method::GET, "/a");
        assert_eq!((get, intern(&Method::POST, "/a")), ("GET /a", "POST /a"));
        assert!(std::ptr::eq(intern(&Method::GET, "/a"), get));
        (0..2 * ROUTES_MAX).for_each(|number| {
            intern(&Method::GET, &format!("/{number}"));
        });
        assert_eq!(intern(&Method::GET, "/one/more"), OTHER);
        assert!(std::ptr::eq(intern(&Method::GET, "/a"), get));
    }
}
