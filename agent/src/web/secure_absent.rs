//! In place of TLS and passwords, where the crate was built without the feature `web-config`: there is never a
//! configuration.

use crate::web::guard::Peer;
use hyper::header::{HeaderName, HeaderValue};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// Never made.
#[derive(Debug)]
pub(crate) struct WebConfig(Infallible);

/// Never made.
pub(crate) struct Acceptor(Infallible);

/// Never made.
#[derive(Clone, Debug)]
pub(crate) struct Trust(Infallible);

impl WebConfig {
    pub(crate) fn read(path: &Path) -> Result<WebConfig, String> {
        Err(left_out("the web configuration", path))
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

impl Trust {
    pub(crate) fn read(path: &Path) -> Result<Trust, String> {
        Err(left_out("the authority", path))
    }

    pub(crate) async fn connect<S>(&self, _stream: S, _address: IpAddr) -> io::Result<S> {
        match self.0 {}
    }
}

fn left_out(what: &str, path: &Path) -> String {
    let shown = path.display();
    format!("{what} {shown}: this program was built without the feature `web-config` of loopscope-agent")
}
