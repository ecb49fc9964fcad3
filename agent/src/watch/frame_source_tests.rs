//! Sources of frames that answer, are slow, and panic.

use super::*;
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
fn sources(within: Duration) -> (Sources, Sender<()>, Receiver<(u64, Answer)>) {
    let (allow, allowed) = channel();
    let (late, came_late) = channel();
    let source: Arc<dyn FrameSource> = Arc::new(Allowed(Mutex::new(allowed)));
    let known = HashMap::from([("node".to_owned(), source)]);
    let take_late = Arc::new(move |number, answer| late.send((number, answer)).unwrap());
    (Sources::new(known, within, take_late), allow, came_late)
}

/// A generous deadline, for what comes in time.
const LONG: Duration = Duration::from_secs(60);

fn moment(loop_name: &str, tid: u32) -> Moment {
    let (busy_since, foreign) = (Ticks(5), Some(vec![1, 2]));
    let stack = StackCopy::new(0x7000, [1, 2]);
    Moment { loop_name: loop_name.to_owned(), tid, busy_since, at_ns: 9, foreign, stack, ..Moment::default() }
}

fn frames(sources: &mut Sources, moment: &Moment) -> Result<Vec<Frame>, NoFrames> {
    sources.ask("node", moment).unwrap().and_then(Question::wait)
}

fn refused(asked: Option<Result<Question, NoFrames>>) -> String {
    match asked {
        Some(Err(NoFrames::None(why))) => why,
        _ => panic!("it was asked"),
    }
}

#[test]
fn a_source_is_asked_with_the_moment_of_the_stack() {
    let (mut sources, allow, _came_late) = sources(LONG);
    assert!(sources.ask("mio", &moment("main", 7)).is_none(), "a runtime without a source");
    allow.send(()).unwrap();
    let frames = frames(&mut sources, &moment("main", 7)).unwrap();
    assert_eq!(frames[0].function, format!("js {:?}", moment("main", 7)));
    assert_eq!(frames[0].runtime.as_deref(), Some("node"));
}

#[test]
fn what_comes_late_is_not_lost_and_its_loop_is_not_asked_meanwhile() {
    let (mut sources, allow, came_late) = sources(Duration::ZERO);
    let Err(NoFrames::NotYet(number, _)) = frames(&mut sources, &moment("main", 7)) else {
        panic!("it was not allowed to answer")
    };
    let why = refused(sources.ask("node", &moment("main", 7)));
    assert!(why.contains("earlier stack are still pending"), "{why}");
    allow.send(()).unwrap();
    let (answered, late) = came_late.recv_timeout(LONG).unwrap();
    let late = late.unwrap();
    assert_eq!((answered, &*late[0].function), (number, &*format!("js {:?}", moment("main", 7))));
    assert_eq!(late[0].runtime.as_deref(), Some("node"));
    sources.within = LONG;
    allow.send(()).unwrap();
    assert!(frames(&mut sources, &moment("main", 7)).is_ok(), "it is asked again");
}

/// Tells early what it is told to, and the whole, another function or nothing, when it is allowed to.
struct Early(Mutex<Receiver<Vec<Frame>>>);

impl FrameSource for Early {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        let waits = self.0.lock().unwrap();
        moment.tell_early(named(&moment.loop_name));
        waits.recv().unwrap()
    }
}

fn named(function: &str) -> Vec<Frame> {
    let function = function.to_owned();
    if function.is_empty() { Vec::new() } else { vec![Frame { function, ..Frame::default() }] }
}

#[test]
fn what_is_told_early_is_not_waited_for_any_longer_and_the_loop_may_be_asked_about_again() {
    let (answer, answers) = channel();
    let (late, came_late) = channel();
    let source: Arc<dyn FrameSource> = Arc::new(Early(Mutex::new(answers)));
    let known = HashMap::from([("node".to_owned(), source)]);
    let take_late = Arc::new(move |number, answer| late.send((number, answer)).unwrap());
    let mut sources = Sources::new(known, LONG, take_late);
    let Err(NoFrames::Early(number, early)) = frames(&mut sources, &moment("begins", 7)) else {
        panic!("it was not allowed to answer")
    };
    assert_eq!((&*early[0].function, early[0].runtime.as_deref()), ("begins", Some("node")));
    // The first one still waits, and holds what the second waits for.
    let second = sources.ask("node", &moment("begins", 7)).unwrap();
    assert!(second.is_ok(), "it is asked about the next stack");
    answer.send(named("ran")).unwrap();
    let (answered, whole) = came_late.recv_timeout(LONG).unwrap();
    assert_eq!((answered, &*whole.unwrap()[0].function), (number, "ran"));
    // Nothing takes back what was told early.
    answer.send(Vec::new()).unwrap();
    let told = second.and_then(Question::wait);
    let function = |told: &[Frame]| told.first().map(|frame| frame.function.clone());
    match told {
        Ok(told) => assert_eq!(function(&told), None),
        // On a busy machine the limit for those comes first.
        Err(NoFrames::Early(_, told)) => assert_eq!(function(&told).as_deref(), Some("begins")),
        Err(NoFrames::NotYet(_, why) | NoFrames::None(why)) => panic!("{why}"),
    }
}

#[test]
fn where_nothing_is_known_early_the_answer_is_waited_for() {
    let (answer, answers) = channel();
    let source: Arc<dyn FrameSource> = Arc::new(Early(Mutex::new(answers)));
    let known = HashMap::from([("node".to_owned(), source)]);
    let mut sources = Sources::new(known, LONG, Arc::new(|_, _| ()));
    answer.send(named("ran")).unwrap();
    assert_eq!(frames(&mut sources, &moment("", 7)).unwrap()[0].function, "ran");
}

/// Keeps back what it knows of the loop "slow".
struct Slow(Mutex<Receiver<()>>);

impl FrameSource for Slow {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        if moment.loop_name == "slow" {
            let _ = self.0.lock().unwrap().recv();
        }
        vec![Frame { function: moment.loop_name.clone(), ..Frame::default() }]
    }
}

#[test]
fn each_loop_is_asked_whatever_the_others_do_up_to_a_limit() {
    let (allow, allowed) = channel::<()>();
    // One that is blocked holds the lock, and all that are after it.
    let source: Arc<dyn FrameSource> = Arc::new(Slow(Mutex::new(allowed)));
    let known = HashMap::from([("node".to_owned(), source)]);
    let (late, came_late) = channel();
    let take_late = Arc::new(move |number, answer| late.send((number, answer)).unwrap());
    let mut sources = Sources::new(known, LONG, take_late);
    let blocked: Vec<Question> = (0..ASKED_MAX as u32 - 1)
        .map(|tid| sources.ask("node", &moment("slow", tid)).unwrap().unwrap_or_else(|_| panic!("{tid}")))
        .collect();
    let told = frames(&mut sources, &moment("fast", 100)).unwrap();
    assert_eq!(told[0].function, "fast");
    let last = sources.ask("node", &moment("slow", 101)).unwrap();
    assert!(last.is_ok());
    let why = refused(sources.ask("node", &moment("fast", 102)));
    assert!(why.contains("16 other loops"), "{why}");
    // Nobody waits any more, and each says once what it says too late.
    let mut numbers: Vec<u64> = blocked.iter().map(|question| question.number).collect();
    numbers.extend(last.map(|question| question.number).ok());
    drop(blocked);
    drop(allow);
    let mut came: Vec<u64> = numbers.iter().map(|_| came_late.recv_timeout(LONG).unwrap().0).collect();
    came.sort_unstable();
    assert_eq!(came, numbers);
}

#[test]
fn a_source_that_panics_is_told_in_time() {
    let (mut sources, allow, came_late) = sources(LONG);
    allow.send(()).unwrap();
    let panicked = frames(&mut sources, &moment("bad", 7));
    assert!(matches!(panicked, Err(NoFrames::None(why)) if why.contains("panicked")));
    assert!(came_late.try_recv().is_err());
}

#[test]
fn a_source_that_panics_late_is_free_again() {
    let (mut sources, allow, came_late) = sources(Duration::ZERO);
    assert!(matches!(frames(&mut sources, &moment("bad", 7)), Err(NoFrames::NotYet(..))));
    allow.send(()).unwrap();
    assert_eq!(came_late.recv_timeout(LONG).unwrap().1, None);
    assert!(sources.ask("node", &moment("bad", 7)).unwrap().is_ok());
}
