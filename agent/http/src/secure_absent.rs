//! In place of TLS and passwords, where the crate was built without the feature `web-config`: there is never a
//! configuration.

use crate::client::ClientInfo;
use hyper::header::{HeaderName, HeaderValue};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// Never made.
#[derive(Debug)]
pub struct WebConfig(Infallible);

/// Never made.
pub struct Acceptor(Infallible);

/// Never made.
#[derive(Clone, Debug)]
pub struct Trust(Infallible);

impl WebConfig {
    pub fn read(path: &Path) -> Result<WebConfig, String> {
        Err(left_out("the web configuration", path))
    }

    pub fn refresh(&self) -> Option<String> {
        match self.0 {}
    }

    pub fn acceptor(&self) -> Option<Acceptor> {
        match self.0 {}
    }

    pub fn has_users(&self) -> bool {
        match self.0 {}
    }

    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        match self.0 {}
    }

    pub async fn check(&self, _offered: &str) -> Option<bool> {
        match self.0 {}
    }
}

impl Acceptor {
    pub async fn accept<S>(&self, _stream: S) -> io::Result<(S, ClientInfo)> {
        match self.0 {}
    }
}

impl Trust {
    pub fn read(path: &Path) -> Result<Trust, String> {
        Err(left_out("the authority", path))
    }

    pub async fn connect<S>(&self, _stream: S, _address: IpAddr) -> io::Result<S> {
        match self.0 {}
    }
}

pub fn explain_handshake(_error: &io::Error) -> Option<String> {
    None
}

fn left_out(what: &str, path: &Path) -> String {
    let shown = path.display();
    format!("{what} {shown}: this program was built without the feature `web-config` of loopscope-agent")
}
