//! In place of TLS and passwords, where the crate was built without the feature `web-config`: there is never a
//! configuration.

use crate::web::guard::Peer;
use hyper::header::{HeaderName, HeaderValue};
use std::convert::Infallible;
use std::io;
use std::path::Path;

/// Never made.
#[derive(Debug)]
pub(crate) struct WebConfig(Infallible);

/// Never made.
pub(crate) struct Acceptor(Infallible);

impl WebConfig {
    pub(crate) fn read(path: &Path) -> Result<WebConfig, String> {
        Err(format!(
            "the web configuration {}: this program was built without the feature `web-config` of loopscope-agent",
            path.display()
        ))
    }

    pub(crate) fn refresh(&self) -> Option<String> {
        match self.0 {}
    }

    pub(crate) fn acceptor(&self) -> Option<Acceptor> {
        match self.0 {}
    }

    pub(crate) fn has_users(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        match self.0 {}
    }

    pub(crate) async fn check(&self, _offered: &str) -> Option<bool> {
        match self.0 {}
    }
}

impl Acceptor {
    pub(crate) async fn accept<S>(&self, _stream: S) -> io::Result<(S, Peer)> {
        match self.0 {}
    }
}
