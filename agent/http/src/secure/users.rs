//! Users and their passwords. Checking a password takes bcrypt a tenth of a second on purpose, so it is done on threads
//! of its own, few at a time, and a password that was right is remembered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, oneshot};

/// Passwords that are checked at once.
const AT_ONCE: usize = 2;

/// A hash that belongs to nobody, with the usual cost: unknown users take as long as known ones.
const NOBODY: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

/// The users of a file.
pub(crate) struct Users {
    hashes: BTreeMap<String, String>,
    /// Passwords that were right, by user: at most one each.
    right: Arc<Mutex<BTreeMap<String, String>>>,
    checking: Arc<Semaphore>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("names", &self.hashes.keys()).finish_non_exhaustive()
    }
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Users {
        Users { hashes, right: Arc::default(), checking: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Checks `user:password`, encoded as base64. Returns whether it is right, `None` where too many are being checked.
    pub(super) async fn check(&self, offered: &str) -> Option<bool> {
        let text = STANDARD.decode(offered.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = text.as_deref().and_then(|text| text.split_once(':')) else {
            return Some(false);
        };
        if self.was_right(user, password) {
            return Some(true);
        }
        let permit = self.checking.clone().try_acquire_owned().ok()?;
        let known = self.hashes.get(user);
        let (is_known, hash) = (known.is_some(), known.map_or(NOBODY, String::as_str).to_owned());
        let (send, done) = oneshot::channel();
        let (name, password) = (user.to_owned(), password.to_owned());
        let right = self.right.clone();
        let check = move || {
            let is_right = bcrypt::verify(&password, &hash).unwrap_or(false) && is_known;
            if is_right {
                right.lock().unwrap_or_else(PoisonError::into_inner).insert(name, password);
            }
            drop(permit);
            // Nobody waits where the client has gone.
            let _ = send.send(is_right);
        };
        if std::thread::Builder::new().name("loopscope-login".to_owned()).spawn(check).is_err() {
            return None;
        }
        Some(done.await.unwrap_or(false))
    }

    fn was_right(&self, user: &str, password: &str) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(user).is_some_and(|known| known.as_bytes().ct_eq(password.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(users: &Users, text: &str) -> Option<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(users.check(&STANDARD.encode(text)))
    }

    #[test]
    fn the_right_password_is_right_also_the_second_time() {
        // The lowest cost there is: this tests us and not bcrypt.
        let hash = bcrypt::hash("open sesame", 4).unwrap();
        let users = Users::new(BTreeMap::from([("alice".to_owned(), hash)]));
        for wrong in ["alice:open", "alice:", "bob:open sesame", "alice", ":open sesame"] {
            assert_eq!(check(&users, wrong), Some(false), "{wrong}");
        }
        assert!(!users.was_right("alice", "open sesame"));
        assert_eq!(check(&users, "alice:open sesame"), Some(true));
        assert!(users.was_right("alice", "open sesame") && !users.was_right("alice", "open"));
        assert_eq!(check(&users, "alice:open sesame"), Some(true));
        assert_eq!(check(&users, "alice:open"), Some(false));
    }

    #[test]
    fn more_than_a_few_at_once_are_put_off() {
        let users = Users::new(BTreeMap::from([("a".to_owned(), NOBODY.to_owned())]));
        let permits = users.checking.try_acquire_many(AT_ONCE as u32).unwrap();
        assert_eq!(check(&users, "a:b"), None);
        drop(permits);
        assert_eq!(check(&users, "a:b"), Some(false));
    }
}
