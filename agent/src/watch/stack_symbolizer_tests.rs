//! Naming the test's own stacks: twice, once, and once more with the frames of another runtime.

use super::*;
use crate::address_source::tests::Jit;
use crate::watch::frame_source::FrameSource;
use loopscope_probe::description::{FramePart, Owner, Sign};
use loopscope_stacks::{Capturer, Target};
use std::sync::Mutex;

/// A deadline only to fail.
const LONG: Duration = Duration::from_secs(120);

#[inline(never)]
fn known_by_name() -> Box<Sample> {
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    Box::new(capturer.capture(Duration::from_secs(30)).unwrap())
}

fn work(number: u64, sample: &Sample) -> Work {
    let description = Description::new().frames(Owner::Runtime, FramePart::Function, "test::");
    Work {
        number,
        age_ns: 7,
        loop_name: "main".into(),
        runtime: "mio".into(),
        tid: 0,
        busy_since: Ticks(5),
        description: Arc::new(description),
        job: None,
        sample: Box::new(sample.clone()),
    }
}

#[test]
fn a_stack_is_named_twice_the_first_time_and_once_after() {
    loopscope_stacks::prepare();
    let sample = known_by_name();
    let mut namer = StackSymbolizer::start(FrameSources::new(), AddressSources::default()).unwrap();
    assert!(namer.name(work(1, &sample)) && namer.name(work(2, &sample)));
    let named: Vec<Named> = (0..3).map(|_| namer.named.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(
        named.iter().map(|one| (one.number, one.is_final)).collect::<Vec<_>>(),
        [(1, false), (1, true), (2, true)]
    );
    for one in &named {
        let is_of = |owner| one.frames.iter().any(|frame| frame.owner == owner);
        assert!(is_of(FrameOwner::Runtime) && is_of(FrameOwner::System), "{one:?}");
        assert!(one.frames.iter().any(|frame| frame.function.contains("known_by_name")), "{one:?}");
        assert_eq!((&one.fingerprint, one.age_ns), (&named[0].fingerprint, 7));
    }
    let is_here =
        |frame: &Frame| frame.file.as_ref().is_some_and(|file| file.ends_with("stack_symbolizer_tests.rs"));
    assert!(named[1].frames.iter().any(is_here));
}

#[test]
fn a_stack_without_a_function_of_the_runtime_says_that_the_thread_may_have_left_it() {
    loopscope_stacks::prepare();
    let sample = known_by_name();
    let mut namer = StackSymbolizer::start(FrameSources::new(), AddressSources::default()).unwrap();
    for (runs_in, remedy, is_told) in
        [("test::", true, false), ("another::", true, true), ("another::", false, false)]
    {
        let mut work = work(1, &sample);
        let description = Description::new().frames(Owner::Runtime, FramePart::Function, runs_in);
        work.description = Arc::new(match remedy {
            true => description.remedy(Trouble::Outside, "say when it returns"),
            false => description,
        });
        assert!(namer.name(work));
        let last =
            std::iter::repeat_with(|| namer.named.recv_timeout(LONG).unwrap()).find(|one| one.is_final);
        let last = last.unwrap();
        let note = last.note.unwrap_or_default();
        assert_eq!(note.ends_with("may have left it: say when it returns"), is_told, "{runs_in}: {note}");
        assert_eq!(last.is_outside, is_told, "{runs_in}");
    }
}

#[test]
fn a_stack_with_a_function_that_has_no_name_may_be_one_inside_the_runtime() {
    let frame = |function: &str, module: &str| Frame {
        function: function.to_owned(),
        module: Some(module.to_owned()),
        ..Frame::default()
    };
    for (frames, is_outside) in [
        (&[frame("wait_outside", "program"), frame("program::main", "program")][..], true),
        (&[frame("program+0x1234", "program"), frame("program::main", "program")], false),
        (&[frame("libc.so.6+0x99", "libc.so.6"), frame("program::main", "program")], true),
        (&[frame("tokio::park", "program"), frame("program::main", "program")], false),
    ] {
        let description = Description::new().frames(Owner::Runtime, FramePart::Function, "tokio::");
        let stack = NativeStack {
            number: 1,
            age_ns: 1,
            fingerprint: 1,
            frames: frames.to_vec(),
            note: Vec::new(),
            is_whole: true,
            description: Arc::new(description.remedy(Trouble::Outside, "say when it returns")),
            job: None,
        };
        assert_eq!(stack.outside().is_some(), is_outside, "{frames:?}");
    }
}

#[test]
fn a_stack_with_the_function_by_which_its_runtime_waits_for_another_thread_or_a_debugger_says_so() {
    let runtime = Description::new().sign(Sign::ThreadWait, "Sleep::for_other");
    let runtime = runtime.sign(Sign::Debugger, "Inspector::pause");
    for (description, function, is_thread_wait, is_debugger_pause) in [
        (runtime.clone(), "rt::Sleep::for_other(int)", true, false),
        (runtime.clone(), "rt::Inspector::pause()", false, true),
        (runtime, "rt::Lock::lock()", false, false),
        (Description::new(), "rt::Sleep::for_other(int)", false, false),
        (Description::new(), "rt::Inspector::pause()", false, false),
    ] {
        let frame = |function: &str| Frame { function: function.to_owned(), ..Frame::default() };
        let stack = NativeStack {
            number: 1,
            age_ns: 1,
            fingerprint: 1,
            frames: vec![frame("futex_wait"), frame(function), frame("main")],
            note: Vec::new(),
            is_whole: false,
            description: Arc::new(description),
            job: None,
        };
        let named = stack.with_front(&[]);
        let found = (named.is_thread_wait, named.is_debugger_pause);
        assert_eq!(found, (is_thread_wait, is_debugger_pause), "{function}");
    }
}

/// A function of the program's that is called alike gives nothing away.
#[test]
fn a_stack_with_the_runtimes_function_that_gives_the_loop_away_says_so() {
    let runtime = Description::new().frames(Owner::Runtime, FramePart::Function, "rt::");
    let giving = runtime.clone().sign(Sign::HandsOver, "in_place");
    for (description, function, is_told) in [
        (giving.clone(), "rt::task::in_place<fn()>", true),
        (giving.clone(), "web::in_place", false),
        (giving, "rt::task::poll", false),
        (runtime, "rt::task::in_place<fn()>", false),
    ] {
        let frame = |function: &str| Frame { function: function.to_owned(), ..Frame::default() };
        let stack = NativeStack {
            number: 1,
            age_ns: 1,
            fingerprint: 1,
            frames: vec![frame("web::compress"), frame(function), frame("rt::worker::run")],
            note: Vec::new(),
            is_whole: true,
            description: Arc::new(description),
            job: None,
        };
        let told = stack.with_front(&[]).handed_over_in;
        assert_eq!(told.as_deref(), is_told.then_some(function), "{function}");
    }
}

/// Answers when it is allowed to, with what the sampler found.
struct Allowed(Mutex<Receiver<()>>);

impl FrameSource for Allowed {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        self.0.lock().unwrap().recv().unwrap();
        let function = format!("js {:?} since {}", moment.foreign, moment.busy_since.0);
        vec![Frame { function, ..Frame::default() }]
    }
}

/// Answers at once, with a function of the program's.
struct AtOnce;

impl FrameSource for AtOnce {
    fn frames_of(&self, _moment: &Moment) -> Vec<Frame> {
        let (file, line) = (Some("/srv/app.js".to_owned()), Some(7));
        vec![Frame { function: "spin".to_owned(), file, line, ..Frame::default() }]
    }
}

#[test]
fn frames_of_another_runtime_that_name_the_guilty_line_are_told_before_native_names() {
    loopscope_stacks::prepare();
    let sample = known_by_name();
    let sources = FrameSources::from([("mio".to_owned(), Arc::new(AtOnce) as Arc<dyn FrameSource>)]);
    let mut namer = StackSymbolizer::start_within(sources, AddressSources::default(), LONG).unwrap();
    assert!(namer.name(work(1, &sample)));
    let named: Vec<Named> = (0..3).map(|_| namer.named.recv_timeout(LONG).unwrap()).collect();
    let told: Vec<_> = named.iter().map(|one| (one.fingerprint.is_empty(), one.is_final)).collect();
    assert_eq!(told, [(true, false), (false, false), (false, true)]);
    assert_eq!((named[0].frames.len(), named[0].guilty), (1, Some(0)));
    assert!(named[1].frames.len() > 1 && named[1].guilty == Some(0), "{:?}", named[1]);
}

#[test]
fn frames_that_come_late_take_the_place_of_the_stack_without_them() {
    loopscope_stacks::prepare();
    let sample = Sample { foreign: Some(vec![3]), ..*known_by_name() };
    let (allow, allowed) = channel();
    let source: Arc<dyn FrameSource> = Arc::new(Allowed(Mutex::new(allowed)));
    let sources = FrameSources::from([("mio".to_owned(), source)]);
    let mut namer =
        StackSymbolizer::start_within(sources, AddressSources::default(), Duration::ZERO).unwrap();
    assert!(namer.name(work(1, &sample)));
    let (quick, full) = (namer.named.recv_timeout(LONG).unwrap(), namer.named.recv_timeout(LONG).unwrap());
    assert!(quick.note.unwrap().contains("did not arrive within") && full.is_final);
    allow.send(()).unwrap();
    let late = namer.named.recv_timeout(LONG).unwrap();
    assert_eq!(late.replaces.as_ref(), Some(&full.fingerprint));
    assert_ne!(late.fingerprint, full.fingerprint);
    assert_eq!(late.frames[0].function, "js Some([3]) since 5");
    assert_eq!(late.frames[1..], full.frames);
    assert_eq!((late.number, late.age_ns, late.note), (1, 7, None));
}

/// Knows where the function begins, and once it is allowed to, which line ran.
struct LineLater(Mutex<Receiver<u32>>);

impl FrameSource for LineLater {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        let at = |line| {
            let file = Some("/srv/app.js".to_owned());
            vec![Frame { function: "read".to_owned(), file, line: Some(line), ..Frame::default() }]
        };
        moment.tell_early(at(5));
        at(self.0.lock().unwrap().recv().unwrap())
    }
}

#[test]
fn what_is_known_early_names_the_guilty_function_and_the_whole_takes_its_place() {
    loopscope_stacks::prepare();
    let (allow, allowed) = channel();
    let source: Arc<dyn FrameSource> = Arc::new(LineLater(Mutex::new(allowed)));
    let sources = FrameSources::from([("mio".to_owned(), source)]);
    let mut namer = StackSymbolizer::start_within(sources, AddressSources::default(), LONG).unwrap();
    assert!(namer.name(work(1, &known_by_name())));
    let mut named = (0..).map(|_| namer.named.recv_timeout(LONG).unwrap()).filter(|one| one.is_final);
    let guilty = |named: &Named| {
        let frame = &named.frames[named.guilty.unwrap()];
        (frame.function.clone(), frame.line)
    };
    let early = named.next().unwrap();
    assert_eq!(guilty(&early), ("read".to_owned(), Some(5)));
    assert_eq!((&early.note, &early.replaces), (&None, &None), "nothing is missing");
    allow.send(8).unwrap();
    let whole = named.next().unwrap();
    assert_eq!(
        (whole.replaces.as_ref(), guilty(&whole)),
        (Some(&early.fingerprint), ("read".to_owned(), Some(8)))
    );
    assert_eq!(whole.frames[1..], early.frames[1..]);
}

/// Answers for the loop "main" only when it is allowed to, and for others at once.
struct OneIsSlow(Mutex<Receiver<()>>);

impl FrameSource for OneIsSlow {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        if moment.loop_name == "main" {
            self.0.lock().unwrap().recv().unwrap();
        }
        vec![Frame { function: format!("js of {}", moment.loop_name), ..Frame::default() }]
    }
}

#[test]
fn a_loop_that_does_not_answer_keeps_no_other_from_being_asked_and_each_answer_joins_its_own_stack() {
    loopscope_stacks::prepare();
    let sample = known_by_name();
    let (allow, allowed) = channel();
    let source: Arc<dyn FrameSource> = Arc::new(OneIsSlow(Mutex::new(allowed)));
    let sources = FrameSources::from([("mio".to_owned(), source)]);
    let mut namer = StackSymbolizer::start_within(sources, AddressSources::default(), WITHIN).unwrap();
    assert!(namer.name(work(1, &sample)));
    for number in 2..6 {
        assert!(namer.name(Work {
            loop_name: format!("worker {number}"),
            tid: number as u32,
            ..work(number, &sample)
        }));
    }
    let mut named = (0..).map(|_| namer.named.recv_timeout(LONG).unwrap()).filter(|one| one.is_final);
    let native = named.next().unwrap();
    assert!(native.number == 1 && native.note.as_ref().unwrap().contains("did not arrive"), "{native:?}");
    for number in 2..6 {
        let one = named.next().unwrap();
        assert_eq!((one.number, &*one.frames[0].function), (number, &*format!("js of worker {number}")));
    }
    allow.send(()).unwrap();
    let late = named.next().unwrap();
    assert_eq!((late.number, &*late.frames[0].function), (1, "js of main"));
    assert_eq!(late.replaces, Some(native.fingerprint));
}

#[test]
fn a_runtime_names_its_own_code_where_it_is_on_the_native_stack() {
    loopscope_stacks::prepare();
    let mut sources = AddressSources::default();
    sources.set("mio", Arc::new(Jit::default()));
    let mut namer = StackSymbolizer::start(FrameSources::new(), sources).unwrap();
    let mut sample = Sample { foreign: Some(vec![3]), ..*known_by_name() };
    let native = namer.name(work(1, &sample)).then(|| namer.named.recv_timeout(LONG).unwrap()).unwrap();
    assert!(native.frames.iter().all(|frame| frame.runtime.is_none()), "{native:?}");
    // Only the leaf is known, and is in no module.
    (sample.is_off_stack, sample.registers.ip) = (true, 0x1000);
    for foreign in [vec![4], vec![5]] {
        sample.foreign = Some(foreign);
        assert!(namer.name(work(2, &sample)));
    }
    let mut named = (0..).map(|_| namer.named.recv_timeout(LONG).unwrap()).filter(|one| one.number == 2);
    let (quick, full, second) = (named.next().unwrap(), named.next().unwrap(), named.next().unwrap());
    for (named, function) in
        [(&quick, "jit 0x1000 [4]"), (&full, "jit 0x1000 [4]"), (&second, "jit 0x1000 [5]")]
    {
        let frame = &named.frames[0];
        assert_eq!((frame.function.as_str(), frame.runtime.as_deref()), (function, Some("mio")));
        assert_eq!((named.frames.len(), named.guilty), (1, Some(0)));
    }
    assert_eq!(quick.fingerprint, full.fingerprint);
    assert_ne!(full.fingerprint, second.fingerprint, "other functions on the same native stack");
}
