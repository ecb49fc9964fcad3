//! What a server answers with, behind its connections.

use crate::answer::Answer;
use hyper::http::request::Parts;
use std::pin::Pin;

/// An answer that is being made.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// What a server answers: the paths of one process's agent, or those of a whole host.
pub trait Service: Send + Sync {
    /// Answers one request, and counts the answer.
    fn answer<'a>(&'a self, request: &'a Parts) -> Answering<'a>;
    /// Counts a refusal that was given without asking; `path` is one of a fixed list.
    fn count(&self, path: &'static str, code: u16);
    /// Tells the program's log.
    fn warn(&self, note: String);
}
