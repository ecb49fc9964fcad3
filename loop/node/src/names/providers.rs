//! Node's providers of resources: which kind of entry each makes, and what people call it.
//!
//! The list is `lib/internal/async_hooks` and `src/async_wrap.h` of Node 18 to 26. A provider that is not here keeps its own
//! name, in lower case.

use loopscope_probe::Kind;
use std::borrow::Cow;

/// What a trace event of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing that is told here.
    Ignored,
    /// A resource lives from the first to the second event.
    Resource,
    /// Node calls a callback of a resource.
    Callback,
    /// Node runs the timers that are due.
    Timers,
    /// Node runs the immediates.
    Immediates,
    /// Node runs immediates of its own, before those of the program.
    NativeImmediates,
    /// V8 drains the queue of microtasks.
    Microtasks,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// What such an event is.
    pub class: Class,
    /// The kind of entry.
    pub kind: Kind,
    /// What people call it.
    pub label: Cow<'static, str>,
}

/// What the events of a callback end with.
const CALLBACK: &str = "_CALLBACK";

/// Returns what a name of a trace event stands for.
pub fn provider(name: &str) -> Provider {
    let constant = |class, kind, label: &'static str| Provider { class, kind, label: label.into() };
    match name {
        "RunMicrotasks" => constant(Class::Microtasks, Kind::Microtask, "microtasks"),
        "RunTimers" => constant(Class::Timers, Kind::Timer, "timers"),
        "CheckImmediate" => constant(Class::Immediates, Kind::Immediate, "immediates"),
        "RunAndClearNativeImmediates" => constant(Class::NativeImmediates, Kind::Other, ""),
        _ => match name.strip_suffix(CALLBACK) {
            Some(resource) => of_resource(Class::Callback, resource),
            None if is_resource(name) => of_resource(Class::Resource, name),
            None => constant(Class::Ignored, Kind::Other, ""),
        },
    }
}

/// Tells whether Node calls a resource of this provider within a scope of its name, always: streams, of which there are many.
pub fn is_scoped(name: &str) -> bool {
    matches!(name, "TCPWRAP" | "PIPEWRAP" | "TLSWRAP" | "TTYWRAP")
}

/// Providers are written in capital letters and digits; other events are not.
fn is_resource(name: &str) -> bool {
    name.len() > 3 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn of_resource(class: Class, name: &str) -> Provider {
    let known = RESOURCES.iter().find(|(provider, ..)| *provider == name);
    match known {
        Some((_, kind, label)) => Provider { class, kind: *kind, label: (*label).into() },
        None => Provider { class, kind: kind_by_ending(name), label: name.to_ascii_lowercase().into() },
    }
}

/// What a provider of a future Node is likely to be.
fn kind_by_ending(name: &str) -> Kind {
    const JOBS: [&str; 5] = ["REQUEST", "REQCALLBACK", "REQPROMISE", "REQWRAP", "JOB"];
    if JOBS.iter().any(|ending| name.ends_with(ending)) { Kind::WorkDone } else { Kind::Other }
}

const RESOURCES: &[(&str, Kind, &str)] = &[
    ("CHECKPRIMEREQUEST", Kind::WorkDone, "crypto.checkPrime"),
    ("CIPHERREQUEST", Kind::WorkDone, "crypto cipher"),
    ("DERIVEBITSREQUEST", Kind::WorkDone, "crypto derived bits"),
    ("DIRHANDLE", Kind::WorkDone, "fs directory"),
    ("DNSCHANNEL", Kind::IoRead, "dns"),
    ("FILEHANDLE", Kind::WorkDone, "fs file"),
    ("FILEHANDLECLOSEREQ", Kind::WorkDone, "fs close"),
    ("FSEVENTWRAP", Kind::IoRead, "fs.watch"),
    ("FSREQCALLBACK", Kind::WorkDone, "fs"),
    ("FSREQPROMISE", Kind::WorkDone, "fs.promises"),
    ("GETADDRINFOREQWRAP", Kind::WorkDone, "dns.lookup"),
    ("GETNAMEINFOREQWRAP", Kind::WorkDone, "dns.lookupService"),
    ("HASHREQUEST", Kind::WorkDone, "crypto hash"),
    ("HTTP2PING", Kind::IoRead, "HTTP/2 ping"),
    ("HTTP2SESSION", Kind::IoRead, "HTTP/2 session"),
    ("HTTP2SETTINGS", Kind::IoRead, "HTTP/2 settings"),
    ("HTTP2STREAM", Kind::IoRead, "HTTP/2 stream"),
    ("HTTPCLIENTREQUEST", Kind::IoRead, "HTTP response"),
    ("HTTPINCOMINGMESSAGE", Kind::IoRead, "HTTP request"),
    ("JSSTREAM", Kind::IoRead, "stream"),
    ("KEYEXPORTREQUEST", Kind::WorkDone, "crypto key export"),
    ("KEYGENREQUEST", Kind::WorkDone, "crypto.generateKey"),
    ("KEYPAIRGENREQUEST", Kind::WorkDone, "crypto.generateKeyPair"),
    ("MESSAGEPORT", Kind::Async, "message port"),
    ("PBKDF2REQUEST", Kind::WorkDone, "crypto.pbkdf2"),
    ("PIPECONNECTWRAP", Kind::Connect, "pipe connect"),
    ("PIPESERVERWRAP", Kind::Accept, "pipe server"),
    ("PIPEWRAP", Kind::IoRead, "pipe"),
    ("PROCESSWRAP", Kind::Child, "child process"),
    ("QUERYWRAP", Kind::IoRead, "dns.resolve"),
    ("RANDOMBYTESREQUEST", Kind::WorkDone, "crypto.randomBytes"),
    ("RANDOMPRIMEREQUEST", Kind::WorkDone, "crypto.generatePrime"),
    ("SCRYPTREQUEST", Kind::WorkDone, "crypto.scrypt"),
    ("SHUTDOWNWRAP", Kind::IoWrite, "shutdown"),
    ("SIGNALWRAP", Kind::Signal, "signal"),
    ("SIGNREQUEST", Kind::WorkDone, "crypto sign"),
    ("STATWATCHER", Kind::IoRead, "fs.watchFile"),
    ("TCPCONNECTWRAP", Kind::Connect, "TCP connect"),
    ("TCPSERVERWRAP", Kind::Accept, "TCP server"),
    ("TCPWRAP", Kind::IoRead, "TCP socket"),
    ("TLSWRAP", Kind::IoRead, "TLS socket"),
    ("TTYWRAP", Kind::IoRead, "terminal"),
    ("UDPSENDWRAP", Kind::IoWrite, "UDP send"),
    ("UDPWRAP", Kind::IoRead, "UDP socket"),
    ("VERIFYREQUEST", Kind::WorkDone, "crypto verify"),
    ("WORKER", Kind::Async, "worker"),
    ("WORKERHEAPSNAPSHOT", Kind::Async, "worker heap snapshot"),
    ("WRITEWRAP", Kind::IoWrite, "write"),
    ("ZLIB", Kind::WorkDone, "zlib"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_their_events_are() {
        let cases = [
            ("RunTimers", Class::Timers, Kind::Timer, "timers"),
            ("CheckImmediate", Class::Immediates, Kind::Immediate, "immediates"),
            ("RunMicrotasks", Class::Microtasks, Kind::Microtask, "microtasks"),
            ("TCPWRAP_CALLBACK", Class::Callback, Kind::IoRead, "TCP socket"),
            ("TCPWRAP", Class::Resource, Kind::IoRead, "TCP socket"),
            ("HTTPINCOMINGMESSAGE", Class::Resource, Kind::IoRead, "HTTP request"),
            ("ARGON2REQUEST_CALLBACK", Class::Callback, Kind::WorkDone, "argon2request"),
            ("SOMETHINGNEW_CALLBACK", Class::Callback, Kind::Other, "somethingnew"),
            ("RunAndClearNativeImmediates", Class::NativeImmediates, Kind::Other, ""),
            ("Environment", Class::Ignored, Kind::Other, ""),
        ];
        for (name, class, kind, label) in cases {
            assert_eq!(provider(name), Provider { class, kind, label: label.into() }, "{name}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_names_nothing_twice() {
        assert!(RESOURCES.is_sorted_by(|one, next| one.0 < next.0));
        assert!(RESOURCES.iter().all(|(name, ..)| is_resource(name)));
    }
}
