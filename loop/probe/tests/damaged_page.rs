//! A page that others write over, by a fault in memory or on purpose: here it is shown that its loop goes on. What the page
//! tells is wrong then; the program that has it is as well as before.
#![cfg(all(target_os = "linux", not(loom), not(miri)))]

use loopscope_probe::Queue;
use loopscope_probe::raw::registry;
use loopscope_probe::{Kind, Page, Phase, SiteId, TaskTimes, WorkKind, Writer, spans};
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::panic::Location;
use std::path::PathBuf;

/// A private directory in memory, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = PathBuf::from(format!("/dev/shm/loopscope-damaged-{name}-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// xorshift64: the same damage in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn word(&mut self) -> u64 {
        match self.next() % 5 {
            0 => 0,
            1 => u64::MAX,
            2 => i64::MAX as u64,
            3 => self.next() % 8192,
            _ => self.next(),
        }
    }

    /// Writes over a busy period of the page, or over a single word.
    fn damage(&mut self, page: &File) {
        let length = if self.next().is_multiple_of(2) { 512 } else { 1 };
        let bytes: Vec<u8> = (0..length).flat_map(|_| self.word().to_ne_bytes()).collect();
        let places = (size_of::<Page>() - bytes.len()) as u64 / 8;
        // Half of it where the loop's present state is.
        let among = if self.next().is_multiple_of(2) { places } else { places.min(1_024) };
        page.write_all_at(&bytes, self.next() % among * 8).unwrap();
    }
}

/// Uses the verbs of one turn.
fn turn(writer: &mut Writer, site: SiteId, ticks: u64) {
    writer.phase(Phase::TIMERS);
    for _ in 0..ticks {
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        let span = spans::site("span", "file.rs", 1).and_then(|span| spans::enter(span, "a=1"));
        span.into_iter().for_each(spans::leave);
        writer.end();
        writer.drain_begin(Queue::NextTick, 2);
        writer.begin(Kind::Tick, site, TaskTimes::UNKNOWN);
        writer.end();
        writer.drain_end(Queue::NextTick, 1);
        writer.begin_many(Kind::Microtask, site);
        writer.end_many(3);
        writer.drained();
    }
    writer.settle();
    writer.park();
    writer.unpark(1);
}

#[test]
fn a_loop_goes_on_whatever_is_written_over_its_page() {
    let scratch = Scratch::new("verbs");
    let mut writer = Writer::builder("damaged").directory(&scratch.0).build();
    let path = registry::pages()[0].path().unwrap().to_owned();
    let page = File::options().write(true).open(path).unwrap();
    let site = writer.site(Location::caller(), Kind::Timer);
    let installed = writer.install_spans();
    let mut pool = writer.take_pool().unwrap();
    pool.threads(4);
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    writer.resume();
    for number in 0..20_000 {
        noise.damage(&page);
        turn(&mut writer, site, number % 7);
        let now = pool.clock().now();
        pool.submitted(WorkKind::Fs, now);
        let started = pool.started(WorkKind::Fs, now, None);
        pool.runs(0, WorkKind::Fs, site, started);
        pool.finished(WorkKind::Fs, started, started, true);
        pool.rests(0);
        noise.damage(&page);
        writer.queue_depth(Queue::Microtask, 3);
        writer.iteration();
    }
    writer.suspend();
    drop(installed);
}
