//! A handler of axum whose polls are named, without a layer.

use super::{name_by_pattern, note_site};
use crate::probed::{End, Probed};
use crate::worker_page::{self, Label};
use axum::extract::Request;
use axum::handler::Handler;
use std::panic::Location;

/// Names the polls of a handler by the route that it serves, as [`RouteLayer`](super::RouteLayer) does those of a whole router. Cheaper:
/// axum boxes the service and the future of a route once more for any layer.
///
/// ```
/// use axum::{Router, routing::get};
/// use loopscope_tokio::route::by_route;
///
/// async fn show_user() -> &'static str {
///     "a user"
/// }
/// let app: Router = Router::new().route("/users/{id}", get(by_route(show_user)));
/// ```
#[track_caller]
pub fn by_route<H>(handler: H) -> RouteHandler<H> {
    RouteHandler { handler, at: Location::caller() }
}

/// A handler whose polls are named. Made by [`by_route`].
#[derive(Clone, Copy, Debug)]
pub struct RouteHandler<H> {
    handler: H,
    at: &'static Location<'static>,
}

impl<H, T, S> Handler<T, S> for RouteHandler<H>
where
    H: Handler<T, S>,
{
    type Future = Probed<H::Future>;

    fn call(self, request: Request, state: S) -> Probed<H::Future> {
        let (name, before) = name_by_pattern(&request);
        let label = Label { at: self.at, name: Some(name) };
        // As in a layer's service, what is before the future counts, too.
        let mut known = before;
        let end = End(worker_page::enter(&label, &mut known));
        if known.is_of_another_lane(before) {
            note_site(&request, known);
        }
        let future = self.handler.call(request, state);
        worker_page::leave_call(end.into_frame(), &mut known);
        Probed::known(label, known, future)
    }
}
