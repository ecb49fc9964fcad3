//! At the end of a thread its variables are dropped one after the other, and one of them may hold a writer or a span: here
//! it is shown that this ends no process, whichever goes first. A panic there aborts, so each case is a process of its own.
#![cfg(all(not(loom), not(miri)))]

use loopscope_probe::spans::{self, Entered, SpanGuard};
use loopscope_probe::{Kind, Phase, SiteId, TaskTimes, Writer, expect_block};
use std::cell::RefCell;
use std::process::Command;

/// Is set in the processes of these tests.
const PROCESS: &str = "LOOPSCOPE_TEST_THREAD_END";

/// A loop as an adapter keeps it for a thread that is not its own.
struct Adapter {
    installed: Option<SpanGuard>,
    writer: Option<Writer>,
    /// What to do when the thread ends, before the others are dropped.
    at_end: fn(&mut Adapter),
    entered: Option<Entered>,
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let at_end = self.at_end;
        at_end(self);
        drop(self.installed.take());
        drop(self.writer.take());
        println!("dropped");
    }
}

thread_local! {
    static ADAPTER: RefCell<Option<Adapter>> = const { RefCell::new(None) };
}

fn writer() -> Writer {
    Writer::builder("kept").private().build()
}

/// Runs a callback, with a span and an expected block in it.
fn run_callback(writer: &mut Writer) -> Option<Entered> {
    writer.resume();
    writer.phase(Phase::TIMERS);
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    let _expected = expect_block("migration");
    let site = spans::site("query", "src/x.rs", 1);
    let entered = site.and_then(|site| spans::enter(site, "id=7"));
    writer.end();
    entered
}

fn nothing(_: &mut Adapter) {}

/// The loop is started when its thread ends, and run there.
fn begin_at_end(adapter: &mut Adapter) {
    let mut writer = writer();
    let installed = writer.install_spans();
    assert!(run_callback(&mut writer).is_none(), "there is no loop for spans where the thread has ended");
    assert_eq!(spans::loop_identity(), 0);
    writer.suspend();
    assert_eq!(writer.page().snapshot(writer.clock()).run[Kind::Timer.index()].count(), 1);
    (adapter.installed, adapter.writer) = (Some(installed), Some(writer));
}

/// A span is left, and another callback run, when the thread ends.
fn go_on_at_end(adapter: &mut Adapter) {
    adapter.entered.take().into_iter().for_each(spans::leave);
    run_callback(adapter.writer.as_mut().unwrap());
}

/// The variable is there before the probe's own ones, so that it is dropped after them.
fn installed_later(at_end: fn(&mut Adapter), is_begun: bool) {
    let empty = Adapter { installed: None, writer: None, at_end, entered: None };
    ADAPTER.set(Some(empty));
    // The probe's own variables are made by the first use.
    drop(writer().install_spans());
    ADAPTER.with_borrow_mut(|adapter| {
        let adapter = adapter.as_mut().unwrap();
        if is_begun {
            let mut writer = writer();
            adapter.installed = Some(writer.install_spans());
            adapter.entered = run_callback(&mut writer);
            adapter.writer = Some(writer);
        }
    });
}

/// Runs `case` on a thread of its own, in a process of its own: that of the test of this name.
fn assert_ends_in_order(test: &str, case: fn()) {
    if std::env::var_os(PROCESS).is_some() {
        std::thread::spawn(case).join().unwrap();
        return println!("ended");
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(PROCESS, "1").output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}, {errors}", output.status);
    assert!(said.contains("dropped\n") && said.contains("ended\n"), "{said}");
}

#[test]
fn a_writer_in_a_thread_local_is_dropped_when_its_thread_ends() {
    let this = "a_writer_in_a_thread_local_is_dropped_when_its_thread_ends";
    assert_ends_in_order(this, || installed_later(nothing, true));
}

#[test]
fn a_loop_can_begin_in_a_destructor_of_its_thread() {
    let this = "a_loop_can_begin_in_a_destructor_of_its_thread";
    assert_ends_in_order(this, || installed_later(begin_at_end, false));
}

#[test]
fn a_loop_can_go_on_in_a_destructor_of_its_thread() {
    let this = "a_loop_can_go_on_in_a_destructor_of_its_thread";
    assert_ends_in_order(this, || installed_later(go_on_at_end, true));
}

#[cfg(target_os = "linux")]
#[test]
fn a_leaked_writers_page_goes_with_its_thread() {
    use loopscope_probe::raw::{directory, registry};
    let scratch = std::path::PathBuf::from(format!("/dev/shm/loopscope-thread-end-{}", std::process::id()));
    let names = || registry::pages().iter().map(|page| page.page().loop_name()).collect::<Vec<_>>();
    let file = std::thread::scope(|threads| {
        let leak = || {
            let mut leaked = Writer::builder("leaked").directory(&scratch).build();
            leaked.resume();
            leaked.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            // One that is dropped in order leaves nothing to do.
            drop(Writer::builder("dropped").directory(&scratch).build());
            std::mem::forget(leaked);
            assert_eq!(names(), ["leaked"]);
            directory::open_page_file(&directory::page_files(&scratch).unwrap()[0].path).unwrap()
        };
        threads.spawn(leak).join().unwrap()
    });
    assert_eq!(names(), [""; 0], "no agent watches it any more");
    assert!(directory::page_files(&scratch).unwrap().is_empty(), "nobody finds it any more");
    assert!(directory::read_page_from(&file).unwrap().is_closed(), "who follows it sees its end");
    std::fs::remove_dir(&scratch).unwrap();
}
