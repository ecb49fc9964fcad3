//! Sources of frames that answer, are slow, and panic.

use super::*;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

/// Answers when it is allowed to, with what it was asked.
struct Allowed(Mutex<Receiver<()>>);

impl FrameSource for Allowed {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        self.0.lock().unwrap().recv().unwrap();
        assert!(moment.loop_name != "bad", "this source panics");
        vec![Frame { function: format!("js {moment:?}"), ..Frame::default() }]
    }
}

/// Sources that wait so long, what allows the one of `node` to answer, and what comes late.
fn sources(within: Duration) -> (Sources, Sender<()>, Receiver<Answer>) {
    let (allow, allowed) = channel();
    let (late, came_late) = channel();
    let source: Arc<dyn FrameSource> = Arc::new(Allowed(Mutex::new(allowed)));
    let known = HashMap::from([("node".to_owned(), source)]);
    (Sources::new(known, within, Arc::new(move |answer| late.send(answer).unwrap())), allow, came_late)
}

/// A generous deadline, for what comes in time.
const LONG: Duration = Duration::from_secs(60);

fn moment(loop_name: &str) -> Moment {
    Moment {
        loop_name: loop_name.to_owned(),
        tid: 7,
        busy_since: Ticks(5),
        at_ns: 9,
        foreign: Some(vec![1, 2]),
    }
}

#[test]
fn a_source_is_asked_with_the_moment_of_the_stack() {
    let (mut sources, allow, _came_late) = sources(LONG);
    assert_eq!(sources.frames("mio", &moment("main")), Ok(Vec::new()), "a runtime without a source");
    allow.send(()).unwrap();
    let frames = sources.frames("node", &moment("main")).unwrap();
    assert_eq!(frames[0].function, format!("js {:?}", moment("main")));
    assert_eq!(frames[0].runtime.as_deref(), Some("node"));
}

#[test]
fn what_comes_late_is_not_lost_and_its_source_is_not_asked_meanwhile() {
    let (mut sources, allow, came_late) = sources(Duration::ZERO);
    assert!(matches!(sources.frames("node", &moment("main")), Err(NoFrames::NotYet(_))));
    let Err(NoFrames::None(why)) = sources.frames("node", &moment("other")) else { panic!("asked twice") };
    assert!(why.contains("earlier stack are still pending"), "{why}");
    allow.send(()).unwrap();
    let late = came_late.recv_timeout(LONG).unwrap().unwrap();
    assert_eq!(late[0].function, format!("js {:?}", moment("main")));
    assert_eq!(late[0].runtime.as_deref(), Some("node"));
    sources.late_has_come();
    sources.within = LONG;
    allow.send(()).unwrap();
    assert!(sources.frames("node", &moment("main")).is_ok(), "it is asked again");
}

#[test]
fn a_source_that_panics_is_told_in_time() {
    let (mut sources, allow, came_late) = sources(LONG);
    allow.send(()).unwrap();
    let panicked = sources.frames("node", &moment("bad"));
    assert!(matches!(panicked, Err(NoFrames::None(why)) if why.contains("panicked")));
    assert!(came_late.try_recv().is_err());
}

#[test]
fn a_source_that_panics_late_is_free_again() {
    let (mut sources, allow, came_late) = sources(Duration::ZERO);
    assert!(matches!(sources.frames("node", &moment("bad")), Err(NoFrames::NotYet(_))));
    allow.send(()).unwrap();
    assert_eq!(came_late.recv_timeout(LONG), Ok(None));
}
