//! A chat room, line by line, as one would port it from libuv: a key for each connection, and what it is in a table.
//!
//! Nothing is lost and nothing grows without end. A member who reads slowly fills his own queue; from its high-water
//! mark on, neither he nor whoever talks to him is read from until it has drained, and what they say waits in their own
//! kernels. A member who reads nothing at all for a while is put out, so that one of them cannot hold the room up for
//! ever, whatever he says meanwhile.

use loopscope_loop::{Cx, Key, StreamEvent};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// What the room bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A member who says nothing and to whom nothing is said for so long goes.
    pub idle: Duration,
    /// A member who takes nothing of what waits for him for so long goes; one who goes has so long to take the rest.
    pub patience: Duration,
    /// The longest line, in bytes.
    pub line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { idle: Duration::from_secs(600), patience: Duration::from_secs(10), line_bytes: 1024 }
    }
}

/// The state of the loop: everybody who is there.
pub struct Room {
    limits: Limits,
    members: HashMap<Key, Member>,
}

/// One connection.
#[derive(Default)]
struct Member {
    /// Empty until it is given.
    name: String,
    /// What has come of lines that were not heard yet.
    unheard: Vec<u8>,
    /// Those who wait until this one's queue has drained, himself among them.
    speakers: Vec<Key>,
    /// For how many queues this one waits.
    waits_for: usize,
    /// He will send nothing more.
    has_ended: bool,
}

impl Room {
    /// Makes an empty room.
    pub fn new(limits: Limits) -> Room {
        Room { limits, members: HashMap::new() }
    }

    fn name(&self, key: Key) -> Option<&str> {
        self.members.get(&key).map(|member| member.name.as_str()).filter(|name| !name.is_empty())
    }

    fn is_taken(&self, name: &str) -> bool {
        self.members.values().any(|member| member.name == name)
    }
}

/// Opens the room at an address, and returns it with its port.
///
/// # Errors
/// What the operating system says when it refuses the address.
pub fn open(cx: &mut Cx<'_, Room>, address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = cx.listen(address, |cx, connection| match connection {
        Ok(key) => enter(cx, key),
        Err(error) => println!("somebody could not come in: {error}"),
    })?;
    cx.name(listener, "come in");
    cx.local_addr(listener).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
}

fn enter(cx: &mut Cx<'_, Room>, key: Key) {
    cx.state.members.insert(key, Member::default());
    cx.on_stream(key, on_event);
    cx.name(key, "chat");
    cx.on_idle(key, cx.state.limits.idle, |cx, key| leave(cx, key, "said nothing for too long"));
    tell(cx, key, "* what is your name?");
}

fn on_event(cx: &mut Cx<'_, Room>, key: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => {
            let Some(member) = cx.state.members.get_mut(&key) else { return };
            member.unheard.extend_from_slice(bytes);
            hear_lines(cx, key);
        }
        StreamEvent::Drained => {
            cx.on_idle(key, cx.state.limits.idle, |cx, key| leave(cx, key, "said nothing for too long"));
            release_speakers(cx, key);
        }
        StreamEvent::End => {
            cx.state.members.entry(key).and_modify(|member| member.has_ended = true);
            leave(cx, key, "left");
        }
        StreamEvent::Error(error) => leave(cx, key, &format!("lost the connection: {error}")),
    }
}

/// Hears the whole lines that have come, until one of them makes somebody's queue full.
fn hear_lines(cx: &mut Cx<'_, Room>, key: Key) {
    while let Some(member) = cx.state.members.get_mut(&key)
        && member.waits_for == 0
    {
        let Some(end) = member.unheard.iter().position(|byte| *byte == b'\n') else {
            if member.unheard.len() > cx.state.limits.line_bytes {
                leave(cx, key, "said a line that never ends");
            }
            return;
        };
        let line: Vec<u8> = member.unheard.drain(..=end).collect();
        let text: String = String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).collect();
        match text.trim() {
            "" => {}
            text if end > cx.state.limits.line_bytes => {
                let begin: String = text.chars().take(20).collect();
                tell(cx, key, &format!("* too long: {begin}..."));
            }
            text => hear(cx, key, text),
        }
    }
}

fn hear(cx: &mut Cx<'_, Room>, key: Key, text: &str) {
    let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (command, cx.state.name(key)) {
        ("/quit", _) => {
            tell(cx, key, "* good bye");
            leave(cx, key, "left");
        }
        ("/who", _) => {
            let mut names: Vec<&str> =
                cx.state.members.keys().filter_map(|key| cx.state.name(*key)).collect();
            names.sort_unstable();
            let line = format!("* here: {}", names.join(", "));
            tell(cx, key, &line);
        }
        ("/name", _) => rename(cx, key, rest.trim()),
        (command, Some(_)) if command.starts_with('/') => {
            tell(cx, key, "* there are /name NAME, /who and /quit");
        }
        (_, None) => rename(cx, key, text),
        (_, Some(name)) => {
            let line = format!("{name}: {text}");
            say(cx, key, &line);
        }
    }
}

fn rename(cx: &mut Cx<'_, Room>, key: Key, name: &str) {
    let is_word = name.chars().all(char::is_alphanumeric) && (1..=20).contains(&name.chars().count());
    if !is_word || cx.state.is_taken(name) {
        let why = if is_word { "is taken" } else { "is not a name: up to 20 letters and digits" };
        return tell(cx, key, &format!("* {name} {why}"));
    }
    let Some(member) = cx.state.members.get_mut(&key) else { return };
    let before = std::mem::replace(&mut member.name, name.to_owned());
    tell(cx, key, &format!("* you are {name}"));
    match before.as_str() {
        "" => announce(cx, key, &format!("* {name} is here")),
        before => say(cx, key, &format!("* {before} is now {name}")),
    }
}

/// Sends one member a line of his own; he waits for his own queue like any other speaker.
fn tell(cx: &mut Cx<'_, Room>, key: Key, line: &str) {
    send(cx, key, key, line);
}

/// Sends a line to everybody who has a name, but for the one who says it.
fn say(cx: &mut Cx<'_, Room>, speaker: Key, line: &str) {
    for listener in listeners(cx, speaker) {
        send(cx, speaker, listener, line);
    }
}

/// Like `say`, and nobody waits for it: it is one line for each who comes or goes.
fn announce(cx: &mut Cx<'_, Room>, about: Key, line: &str) {
    for listener in listeners(cx, about) {
        // A broken connection is told to its own callback.
        let _ = cx.write(listener, format!("{line}\n").as_bytes());
    }
}

fn listeners(cx: &Cx<'_, Room>, but: Key) -> Vec<Key> {
    let named = cx.state.members.iter().filter(|(key, member)| **key != but && !member.name.is_empty());
    named.map(|(key, _)| *key).collect()
}

/// Sends a line; where the listener's queue is full then, neither he nor the speaker is read from until it has drained.
fn send(cx: &mut Cx<'_, Room>, speaker: Key, listener: Key, line: &str) {
    let wrote = cx.write(listener, format!("{line}\n").as_bytes());
    // A broken connection is told to its own callback.
    let Ok(wrote) = wrote else { return };
    let Some(slow) = cx.state.members.get(&listener) else { return };
    if !wrote.is_full() {
        return;
    }
    if slow.speakers.is_empty() {
        // What is read puts a time-out off, too: he cannot make up by talking for what he does not read.
        hold(cx, listener, listener);
        cx.on_idle(listener, cx.state.limits.patience, |cx, key| leave(cx, key, "did not read"));
    }
    hold(cx, speaker, listener);
}

/// Does not read from a speaker until the listener's queue has drained.
fn hold(cx: &mut Cx<'_, Room>, speaker: Key, listener: Key) {
    let Some(slow) = cx.state.members.get_mut(&listener) else { return };
    if slow.speakers.contains(&speaker) {
        return;
    }
    slow.speakers.push(speaker);
    if let Some(member) = cx.state.members.get_mut(&speaker) {
        member.waits_for += 1;
        cx.pause(speaker);
    }
}

/// Those who waited for this one are read from again.
fn release_speakers(cx: &mut Cx<'_, Room>, key: Key) {
    let Some(member) = cx.state.members.get_mut(&key) else { return };
    for speaker in std::mem::take(&mut member.speakers) {
        release(cx, speaker);
    }
}

fn release(cx: &mut Cx<'_, Room>, speaker: Key) {
    let Some(member) = cx.state.members.get_mut(&speaker) else { return };
    member.waits_for -= 1;
    if member.waits_for == 0 {
        cx.resume(speaker);
        // Lines that had come before the pause; they may bring the next one.
        hear_lines(cx, speaker);
    }
}

/// Puts a member out. What was sent to him still goes, for a little while.
fn leave(cx: &mut Cx<'_, Room>, key: Key, why: &str) {
    let Some(member) = cx.state.members.remove(&key) else { return };
    for other in cx.state.members.values_mut() {
        other.speakers.retain(|speaker| *speaker != key);
    }
    let has_ended = member.has_ended;
    if has_ended && cx.queued_bytes(key) == Some(0) || !cx.shutdown(key) {
        cx.close(key);
    } else {
        // To close at once could destroy what is under way to him: he is left to read it, and to end his side.
        cx.on_stream(key, move |cx, key, event| match event {
            StreamEvent::Data(_) => {}
            StreamEvent::Drained if !has_ended => {}
            StreamEvent::Drained | StreamEvent::End | StreamEvent::Error(_) => {
                cx.close(key);
            }
        });
        // A time-out would be put off for as long as he talks on.
        cx.after(cx.state.limits.patience, move |cx| {
            cx.close(key);
        });
        cx.resume(key);
    }
    if !member.name.is_empty() {
        announce(cx, key, &format!("* {} {why}", member.name));
    }
    for speaker in member.speakers {
        release(cx, speaker);
    }
}
