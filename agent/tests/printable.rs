//! Whatever a loop, a callback, a span's field or an open file is called: nothing that a terminal acts on leaves the agent.
//!
//! What the command prints of it is in `agent/cli/tests/command/printable.rs`.

mod support;

use loopscope_probe::raw::printable::is_hidden;
use loopscope_probe::{Kind, Phase, TaskTimes, Writer, spans};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{builder, get, turn, until};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Letters that must pass, and what must not: an escape sequence, C1, a made-up line, bidirectional controls.
const LETTERS: &str = "é中文😀";
const NAME: &str = "é中文😀\u{1b}[2J\u{9b}1m\nERR\u{202e}\u{2066}\u{200f}";
const FIELD: &str = "id=é中文😀\u{1b}]0;x\u{7}\nERROR \u{2067}\u{61c}";
const FILE: &str = "é中文😀\u{1b}]0;x\u{7}\nERROR fake \u{202e}line";

/// Keeps the texts of the log as they came.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Visit for Kept {
    fn record_str(&mut self, _field: &Field, value: &str) {
        self.0.lock().unwrap().push(value.to_owned());
    }

    fn record_debug(&mut self, _field: &Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push(format!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

/// A directory of this test's own, removed at its end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pipe(directory: &Path) -> File {
    let path = directory.join(FILE);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Opened for both, it does not wait for another side.
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// A loop that waits in a callback for a byte of this pipe, and lives until the sender is dropped.
fn waiting_loop(mut pipe: File) -> (std::thread::JoinHandle<()>, Sender<()>) {
    let ((say, told), (lives, end)) = (channel(), channel());
    let thread = std::thread::spawn(move || {
        let mut writer = Writer::builder(NAME).private().build();
        writer.resume();
        let site = writer.named_site(Location::caller(), Kind::Timer, NAME);
        let _spans = writer.install_spans();
        writer.phase(Phase::TIMERS);
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        let span = spans::enter(spans::site(NAME, "db.rs", 3).unwrap(), FIELD).unwrap();
        say.send(()).unwrap();
        pipe.read_exact(&mut [0]).unwrap();
        spans::leave(span);
        writer.end();
        writer.iteration();
        writer.park();
        let _: Result<(), _> = end.recv();
    });
    told.recv().unwrap();
    (thread, lives)
}

fn check(what: &str, text: &str) {
    assert!(text.contains(LETTERS), "{what} has lost letters: {text:?}");
    let found: Vec<char> = text.chars().filter(|c| is_hidden(*c) && *c != '\n').collect();
    assert!(found.is_empty(), "{what} has {found:?}: {text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("ERR")),
        "{what} has a line that a name made up: {text:?}"
    );
}

#[test]
fn no_exit_of_the_agent_emits_what_a_terminal_acts_on() {
    let _turn = turn();
    let scratch = Scratch(std::env::temp_dir().join(format!("loopscope-printable-{}", std::process::id())));
    let incidents = scratch.0.join("incidents");
    fs::create_dir_all(&scratch.0).unwrap();
    let kept = Kept::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    tracing::subscriber::with_default(subscriber, || {
        let thresholds = (Duration::from_millis(20), Duration::from_secs(50));
        let agent =
            builder().thresholds(thresholds.0, thresholds.1).incidents_dir(&incidents).start().unwrap();
        let mut pipe = pipe(&scratch.0);
        let (thread, lives) = waiting_loop(pipe.try_clone().unwrap());
        let lines = || kept.0.lock().unwrap().clone();
        until("the log", || lines().iter().any(|line| line.contains(" still blocked for ")));
        check("the live view", &get(&agent, "/debug/loopscope/live").body);
        check("the page of metrics", &get(&agent, "/metrics").body);
        let svg = get(&agent, "/debug/loopscope/flamegraph?of=callbacks&seconds=1").body;
        check("the drawing", &svg);
        pipe.write_all(b"x").unwrap();
        let list = || get(&agent, "/debug/loopscope/incidents").body;
        until("the incident's end", || list().contains("\"is_over\":true"));
        check("the list of incidents", &list());
        let id = format!("{}-1", std::process::id());
        let full = get(&agent, &format!("/debug/loopscope/incidents/{id}")).body;
        check("the incident", &full);
        let told: serde_json::Value = serde_json::from_str(&full).unwrap();
        let waiting_in = told["waiting_in"].as_str().unwrap();
        assert!(
            waiting_in.contains(FILE),
            "the file that it waited for is told as it is called: {waiting_in:?}"
        );
        drop(lives);
        thread.join().unwrap();
        agent.stop();
        for line in lines() {
            assert!(!line.contains(is_hidden), "a text of the log: {line:?}");
        }
        assert!(lines().iter().any(|line| line.contains(LETTERS) && line.contains("fd ")), "{:#?}", lines());
    });
    let files: Vec<PathBuf> = fs::read_dir(&incidents).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|file| check("the incident's file", &fs::read_to_string(file).unwrap()));
}
