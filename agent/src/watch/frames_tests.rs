//! Sources of frames that answer, are slow, and panic.

use super::*;
use std::sync::Mutex;

/// Answers when it is allowed to.
struct Slow(Mutex<Receiver<()>>);

impl FrameSource for Slow {
    fn frames(&self, loop_name: &str, _: u32) -> Vec<Frame> {
        assert!(loop_name != "bad", "this source panics");
        self.0.lock().unwrap().recv().unwrap();
        vec![Frame { function: format!("js {loop_name}"), ..Frame::default() }]
    }
}

#[test]
fn a_source_that_is_slow_or_panics_is_not_waited_for() {
    // Without a bound: a full one would hold this test, and the source waits for it.
    let (allow, allowed) = std::sync::mpsc::channel();
    let source: Arc<dyn FrameSource> = Arc::new(Slow(Mutex::new(allowed)));
    let mut sources = Sources::new(HashMap::from([("node".to_owned(), source)]));
    assert_eq!(sources.frames("mio", "main", 1), Ok(Vec::new()));
    // On a busy machine a thread that has nothing to wait for may not come to answer within a tenth of a second either.
    sources.within = Duration::from_secs(60);
    allow.send(()).unwrap();
    let frames = sources.frames("node", "main", 1).unwrap();
    assert_eq!((frames[0].function.as_str(), frames[0].runtime.as_deref()), ("js main", Some("node")));
    sources.within = WITHIN;
    assert!(sources.frames("node", "main", 1).unwrap_err().contains("did not come within 100 ms"));
    assert!(sources.frames("node", "main", 1).unwrap_err().contains("still being waited for"));
    allow.send(()).unwrap();
    allow.send(()).unwrap();
    sources.within = Duration::from_secs(60);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while sources.frames("node", "main", 1).is_err() {
        assert!(std::time::Instant::now() < deadline, "the late answer frees the source");
        allow.send(()).unwrap();
        std::thread::yield_now();
    }
    assert!(sources.frames("node", "bad", 1).unwrap_err().contains("panicked"));
}
