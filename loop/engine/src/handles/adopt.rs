//! Sources of the program's own that the loop watches.

use crate::callback::State;
use crate::key::Key;
use crate::queues::sockets::Edges;
use mio::event::Source;
use std::any::Any;

/// What an adopted source is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// There is something to read, or an end or error that reading tells.
    pub is_readable: bool,
    /// There is room to write, or an error that writing tells.
    pub is_writable: bool,
    /// The other side closed, or an error waits.
    pub is_closed: bool,
}

/// A callback for an adopted source.
pub(crate) type OnReady<S> = Box<dyn FnMut(&mut <S as State>::Cx<'_>, Key, Readiness)>;

/// A source whose type is forgotten.
pub(crate) trait AnySource: Source + Any {
    fn as_source(&mut self) -> &mut dyn Source;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<T: Source + Any> AnySource for T {
    fn as_source(&mut self) -> &mut dyn Source {
        self
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// A source of the program's own.
pub(crate) struct Adopted<S: State> {
    pub(crate) source: Box<dyn AnySource>,
    pub(crate) edges: Edges,
    /// Missing while it runs.
    pub(crate) run: Option<OnReady<S>>,
}

impl<S: State> Adopted<S> {
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        self.source.as_source()
    }
}
