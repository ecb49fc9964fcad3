//! What Alertmanager delivers to: keeps every alert until somebody waits for it.

use super::http::read_request;
use super::servers::PATIENCE;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

pub struct Webhook {
    address: String,
    coming: Receiver<Value>,
    seen: RefCell<Vec<Value>>,
}

impl Webhook {
    pub fn start() -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (send, coming) = channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(body) = read_request(&mut stream) else { continue };
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                let message: Value = serde_json::from_str(&body).unwrap_or_default();
                for alert in message["alerts"].as_array().into_iter().flatten() {
                    // Nobody waits any more: the test is over.
                    let _ = send.send(alert.clone());
                }
            }
        });
        Webhook { address, coming, seen: RefCell::new(Vec::new()) }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns all that came so far.
    pub fn all(&self) -> Vec<Value> {
        self.seen.borrow_mut().extend(self.coming.try_iter());
        self.seen.borrow().clone()
    }

    /// Returns the names of all that came so far whose labels are wanted.
    pub fn names(&self, is_wanted: impl Fn(&Value) -> bool) -> BTreeSet<String> {
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned();
        self.all().iter().filter(|alert| is_wanted(&alert["labels"])).map(name).collect()
    }

    /// Waits for an alert in a state, `firing` or `resolved`, also among those that came before.
    pub fn wait_for(&self, name: &str, status: &str) -> Value {
        self.wait_for_one(name, status, |_| true)
    }

    /// The same of an alert whose labels are wanted.
    pub fn wait_for_one(&self, name: &str, status: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let is_it = |alert: &&Value| {
            let labels = &alert["labels"];
            labels["alertname"] == name && alert["status"] == status && is_wanted(labels)
        };
        if let Some(alert) = self.seen.borrow().iter().find(is_it) {
            return alert.clone();
        }
        loop {
            let Ok(alert) = self.coming.recv_timeout(PATIENCE) else {
                panic!("{name} was not {status}; there came {:#?}", self.seen.borrow());
            };
            self.seen.borrow_mut().push(alert.clone());
            if is_it(&&alert) {
                return alert;
            }
        }
    }
}
