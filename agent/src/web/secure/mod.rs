//! TLS and passwords, from a file in the format that Prometheus' own servers and exporters take (`--web.config.file`).
//!
//! The files are read again when they have changed, so a renewed certificate needs no restart. What cannot be read
//! then is told once, and what was read before stays.
//!
//! # Source
//! <https://prometheus.io/docs/prometheus/latest/configuration/https/>

mod file;
mod tls;
mod trust;
mod users;

pub(crate) use tls::Acceptor;
pub(crate) use trust::Trust;

use crate::web::secure::file::Written;
use crate::web::secure::users::Users;
use crate::web::stamp::Stamp;
use hyper::header::{HeaderName, HeaderValue};
use loopscope_probe::{Clock, Ticks};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether files have changed is not looked at more often than this.
const LOOK_NS: u64 = 1_000_000_000;

/// A web configuration in force.
#[derive(Debug)]
pub(crate) struct WebConfig {
    path: PathBuf,
    clock: Clock,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    loaded: Loaded,
    looked: Ticks,
    /// The stamps of files that could not be read, so that this is told once.
    refused: Option<Vec<Option<Stamp>>>,
}

#[derive(Debug)]
struct Loaded {
    acceptor: Option<Acceptor>,
    users: Arc<Users>,
    headers: Vec<(HeaderName, HeaderValue)>,
    files: Vec<PathBuf>,
    /// `None` where there was no such file.
    stamps: Vec<Option<Stamp>>,
}

impl WebConfig {
    /// Reads the file and all files that it names.
    ///
    /// # Errors
    /// One of them cannot be read or makes no sense; in words, with the remedy.
    pub(crate) fn read(path: &Path) -> Result<WebConfig, String> {
        let clock = Clock::monotonic();
        let held = Held { loaded: load(path)?, looked: clock.now(), refused: None };
        Ok(WebConfig { path: path.to_owned(), clock, held: Mutex::new(held) })
    }

    /// Reads the files again if they have changed. Returns what is to be told where that did not work.
    pub(crate) fn refresh(&self) -> Option<String> {
        let mut held = self.held();
        let now = self.clock.now();
        if now.since(held.looked) < LOOK_NS {
            return None;
        }
        held.looked = now;
        let stamps = stamps(&held.loaded.files);
        if stamps == held.loaded.stamps || held.refused.as_ref() == Some(&stamps) {
            return None;
        }
        match load(&self.path) {
            Ok(loaded) => {
                held.loaded = loaded;
                held.refused = None;
                None
            }
            Err(message) => {
                held.refused = Some(stamps);
                Some(format!("{message}; the configuration from before stays in force"))
            }
        }
    }

    /// Returns what makes connections secure, `None` where they are plain.
    pub(crate) fn acceptor(&self) -> Option<Acceptor> {
        self.held().loaded.acceptor.clone()
    }

    /// Tells whether every request needs a user and a password.
    pub(crate) fn has_users(&self) -> bool {
        !self.held().loaded.users.is_empty()
    }

    /// Returns the headers that every answer is to have.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.held().loaded.headers.clone()
    }

    /// Checks what a client sent behind `Basic`. Returns whether it is right, `None` where too many are being checked.
    pub(crate) async fn check(&self, offered: &str) -> Option<bool> {
        let users = self.held().loaded.users.clone();
        users.check(offered).await
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(path: &Path) -> Result<Loaded, String> {
    // Looked at before they are read: a change in between is seen at the next look.
    let own = stamps(&[path.to_owned()]);
    let written = Written::read(path)?;
    let mut files = written.files();
    let mut stamps = stamps(&files);
    files.push(path.to_owned());
    stamps.extend(own);
    let acceptor = written.tls.as_ref().map(tls::acceptor).transpose()?;
    Ok(Loaded {
        acceptor,
        users: Arc::new(Users::new(written.users)),
        headers: written.headers,
        files,
        stamps,
    })
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| std::fs::metadata(path).ok().as_ref().map(Stamp::of)).collect()
}
