//! Without the feature `http` there is no server that could fail.

use std::fmt;

/// Why a server did not start: never, without the feature `http`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {}

impl fmt::Display for ServerError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for ServerError {}
