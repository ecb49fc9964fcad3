//! TLS and passwords, from a file in the format that Prometheus' own servers and exporters take (`--web.config.file`).
//!
//! The files are read again when they have changed, so a renewed certificate needs no restart. What cannot be read
//! then, or asks clients for less than before, is told once, and what was read before stays: an empty file is a valid
//! one, and is also what a full disk leaves behind.
//!
//! # Source
//! <https://prometheus.io/docs/prometheus/latest/configuration/https/>

mod file;
mod tls;
mod trust;
mod users;

pub(crate) use tls::Acceptor;
pub use trust::{Trust, explain_handshake};

use crate::file_version::FileVersion;
use crate::secure::file::{Clients, Written};
use crate::secure::users::Users;
use hyper::header::{HeaderName, HeaderValue};
use loopscope_probe::{Clock, Ticks};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether files have changed is not looked at more often than this.
const LOOK_NS: u64 = 1_000_000_000;

/// A web configuration in force.
#[derive(Debug)]
pub struct WebConfig {
    path: PathBuf,
    clock: Clock,
    held: Mutex<LoadedConfig>,
}

#[derive(Debug)]
struct LoadedConfig {
    loaded: Loaded,
    looked: Ticks,
    /// The stamps of files that could not be read, so that this is told once.
    refused: Option<Vec<Option<FileVersion>>>,
}

#[derive(Debug)]
struct Loaded {
    acceptor: Option<Acceptor>,
    /// Whether clients without a certificate are not answered.
    must_have_certificate: bool,
    users: Arc<Users>,
    headers: Vec<(HeaderName, HeaderValue)>,
    files: Vec<PathBuf>,
    /// `None` where there was no such file.
    stamps: Vec<Option<FileVersion>>,
}

impl WebConfig {
    /// Reads the file and all files that it names.
    ///
    /// # Errors
    /// One of them cannot be read or makes no sense; in words, with the remedy.
    pub(crate) fn read(path: &Path) -> Result<WebConfig, String> {
        let clock = Clock::monotonic();
        let held = LoadedConfig { loaded: load(path)?, looked: clock.now(), refused: None };
        Ok(WebConfig { path: path.to_owned(), clock, held: Mutex::new(held) })
    }

    /// Reads the files again if they have changed. Returns what is to be told where that did not work, or is not done
    /// without a restart.
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
        match load(&self.path).and_then(|loaded| held.loaded.checked(loaded, &self.path)) {
            Ok(loaded) => {
                held.loaded = loaded;
                held.refused = None;
                None
            }
            Err(message) => {
                held.refused = Some(stamps);
                Some(format!("{message}; the previous configuration stays in force"))
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

    fn held(&self) -> MutexGuard<'_, LoadedConfig> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    /// Returns the successor if it asks for all that this one asks for: TLS, certificates of clients, users. So what was
    /// checked at the start, such as that nobody gets past the agents' token, stays true.
    fn checked(&self, next: Loaded, path: &Path) -> Result<Loaded, String> {
        let gone = [
            (self.acceptor.is_some() && next.acceptor.is_none(), "TLS"),
            (self.must_have_certificate && !next.must_have_certificate, "certificates of clients"),
            (!self.users.is_empty() && next.users.is_empty(), "users"),
        ];
        let gone: Vec<&str> =
            gone.into_iter().filter_map(|(is_gone, what)| is_gone.then_some(what)).collect();
        if gone.is_empty() {
            return Ok(next);
        }
        let (shown, gone) = (path.display(), gone.join(" and "));
        Err(format!("the web configuration {shown} no longer has {gone}: restart the program to apply that"))
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
    let must_have_certificate =
        written.tls.as_ref().is_some_and(|tls| matches!(tls.clients, Clients::MustHave(_)));
    Ok(Loaded {
        acceptor,
        must_have_certificate,
        users: Arc::new(Users::new(written.users)),
        headers: written.headers,
        files,
        stamps,
    })
}

fn stamps(files: &[PathBuf]) -> Vec<Option<FileVersion>> {
    files.iter().map(|path| std::fs::metadata(path).ok().as_ref().map(FileVersion::of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    const MUST_HAVE: &str = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: server.crt\n";
    const USERS: &str =
        "basic_auth_users:\n  alice: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG\n";

    /// A directory with a certificate and its key, removed when dropped.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let name = format!("loopscope-web-config-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(folder.join("server.crt"), made.cert.pem()).unwrap();
            fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
            Scratch(folder)
        }

        fn write(&self, text: &str) -> PathBuf {
            let path = self.0.join("web.yml");
            // Another inode: seen as changed, however coarse the clock of the file system is.
            fs::write(self.0.join("new"), text).unwrap();
            fs::rename(self.0.join("new"), &path).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Looks as if the last look were long ago.
    fn refresh(config: &WebConfig) -> Option<String> {
        config.held().looked = Ticks::NONE;
        config.refresh()
    }

    fn protection(config: &WebConfig) -> (bool, bool, bool) {
        let held = config.held();
        (held.loaded.acceptor.is_some(), held.loaded.must_have_certificate, !held.loaded.users.is_empty())
    }

    #[test]
    fn a_reload_takes_no_protection_away_and_says_so_once() {
        let scratch = Scratch::new("less");
        let full = format!("{TLS}{MUST_HAVE}{USERS}");
        let config = WebConfig::read(&scratch.write(&full)).unwrap();
        for (text, gone) in [
            (String::new(), "no longer has TLS and certificates of clients and users:"),
            ("http_server_config:\n  http2: false\n".to_owned(), "no longer has TLS and"),
            (USERS.to_owned(), "no longer has TLS and certificates of clients:"),
            (format!("{TLS}{USERS}"), "no longer has certificates of clients:"),
            (format!("{TLS}{MUST_HAVE}"), "no longer has users:"),
        ] {
            let path = scratch.write(&text);
            let told = refresh(&config).expect("it is told");
            assert!(told.contains(gone) && told.contains(&path.display().to_string()), "{told}");
            assert!(told.ends_with("; the previous configuration stays in force"), "{told}");
            assert_eq!((refresh(&config), protection(&config)), (None, (true, true, true)), "{text}");
        }
        scratch.write(&full);
        assert_eq!((refresh(&config), protection(&config)), (None, (true, true, true)));
    }

    #[test]
    fn what_protects_more_comes_into_force() {
        let scratch = Scratch::new("more");
        let config = WebConfig::read(&scratch.write("")).unwrap();
        for (text, protects) in [
            (USERS.to_owned(), (false, false, true)),
            (format!("{TLS}{USERS}"), (true, false, true)),
            (format!("{TLS}{MUST_HAVE}{}", USERS.replace("alice", "bob")), (true, true, true)),
        ] {
            scratch.write(&text);
            assert_eq!((refresh(&config), protection(&config)), (None, protects), "{text}");
        }
    }
}
