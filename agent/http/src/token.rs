//! A bearer token: a secret in a file, which whoever wants to see incidents or start captures must send.

use crate::file_version::FileVersion;
use hyper::header::HeaderValue;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

/// Shorter ones can be tried out.
const CHARACTERS_MIN: usize = 16;

/// Longer ones are somebody's whole file.
const BYTES_MAX: u64 = 4 << 10;

/// The token of a file; a changed file is read again.
#[derive(Debug)]
pub struct Token {
    path: PathBuf,
    read: Mutex<Reading>,
}

/// What was read, and the file's stamp then.
struct Reading {
    secret: Vec<u8>,
    stamp: FileVersion,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

impl Token {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, others than its owner may read it, or what is in it is no token; in words, with the remedy.
    pub fn read(path: &Path) -> Result<Token, String> {
        Ok(Token { path: path.to_owned(), read: Mutex::new(read(path)?) })
    }

    /// Tells whether this is the token. Takes as long for a wrong one as for the right one of the same length.
    pub(crate) fn is(&self, offered: &[u8]) -> bool {
        self.present().secret.ct_eq(offered).into()
    }

    /// Returns what a client sends as `Authorization`.
    pub fn header(&self) -> HeaderValue {
        let text = [b"Bearer ", &*self.present().secret].concat();
        let mut header = HeaderValue::from_bytes(&text).expect("a token has visible characters only");
        header.set_sensitive(true);
        header
    }

    /// Returns what is in the file now. One that is gone or no longer good changes nothing: whoever exchanges it writes it
    /// in two steps.
    fn present(&self) -> MutexGuard<'_, Reading> {
        let mut held = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if std::fs::metadata(&self.path).is_ok_and(|found| FileVersion::of(&found) != held.stamp)
            && let Ok(changed) = read(&self.path)
        {
            *held = changed;
        }
        held
    }
}

fn read(path: &Path) -> Result<Reading, String> {
    let shown = path.display();
    let refused = |error: io::Error| format!("the token file {shown} cannot be read: {error}");
    let mut file = File::open(path).map_err(refused)?;
    let found = file.metadata().map_err(refused)?;
    // A file of root's that one group may read was made so for us: a secret that is mounted into a container.
    let is_allowed = if found.uid() == 0 { 0o740 } else { 0o700 };
    if found.mode() & 0o777 & !is_allowed != 0 {
        return Err(format!(
            "the token file {shown} is readable by others than its owner (mode {:o}): chmod 600 {shown}",
            found.mode() & 0o777
        ));
    }
    let mut text = String::new();
    if found.len() > BYTES_MAX || (&mut file).take(BYTES_MAX).read_to_string(&mut text).is_err() {
        return Err(format!("the token file {shown} is empty: it must have one line"));
    }
    let secret = text.trim();
    let is_token = secret.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token || secret.len() < CHARACTERS_MIN {
        return Err(format!(
            "the token file {shown} must have one line of at least {CHARACTERS_MIN} letters, digits or signs; \
             create a token with `openssl rand -hex 32`"
        ));
    }
    Ok(Reading { secret: secret.as_bytes().to_vec(), stamp: FileVersion::of(&found) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("loopscope-token-{}-{name}", std::process::id()));
            Scratch(path)
        }

        fn write(&self, text: &str, mode: u32) {
            // Another inode, as a careful exchange makes it.
            let _ = fs::remove_file(&self.0);
            fs::write(&self.0, text).unwrap();
            fs::set_permissions(&self.0, Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn only_the_token_is_the_token_and_a_changed_file_counts() {
        let file = Scratch::new("changes");
        file.write("0123456789abcdef\n", 0o600);
        let token = Token::read(&file.0).unwrap();
        assert!(token.is(b"0123456789abcdef"));
        assert_eq!(token.header(), "Bearer 0123456789abcdef");
        for wrong in [&b""[..], b"0123456789abcdeg", b"0123456789abcde", b"0123456789abcdef\n"] {
            assert!(!token.is(wrong));
        }
        file.write("another-one-of-good-length", 0o600);
        assert!(token.is(b"another-one-of-good-length") && !token.is(b"0123456789abcdef"));
        // Half of an exchange, and one that went wrong: the last good one stays.
        file.write("short", 0o600);
        assert!(token.is(b"another-one-of-good-length") && !token.is(b"short"));
    }

    #[test]
    fn a_group_may_read_what_is_root_s_only() {
        let file = Scratch::new("group");
        file.write("0123456789abcdef", 0o440);
        let is_root_s = fs::metadata(&file.0).unwrap().uid() == 0;
        assert_eq!(Token::read(&file.0).is_ok(), is_root_s);
    }

    #[test]
    fn a_file_that_is_no_secret_is_refused_with_the_remedy() {
        let file = Scratch::new("refused");
        for (text, mode, part) in [
            ("0123456789abcdef", 0o644, "chmod 600"),
            ("0123456789abcdef", 0o620, "mode 620"),
            ("0123456789abcdef", 0o444, "mode 444"),
            ("short", 0o600, "at least 16"),
            ("0123456789 abcdef", 0o600, "one line"),
            ("", 0o600, "openssl rand"),
            (&"x".repeat(5_000), 0o600, "is empty"),
        ] {
            file.write(text, mode);
            let message = Token::read(&file.0).unwrap_err();
            assert!(message.contains(part) && message.contains("loopscope-token"), "{message}");
        }
        assert!(Token::read(Path::new("/nowhere")).unwrap_err().contains("/nowhere cannot be read"));
    }
}
