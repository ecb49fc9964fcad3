//! Pages of noise go through every reader: none panics, and none shows less of the loops beside them.
//!
//! The readers of the command are in `agent/cli/tests/command/noise.rs`.

#[path = "prometheus/http.rs"]
#[expect(dead_code, reason = "one client for all, and this program only asks")]
mod http;

use loopscope_agent::Listen;
use loopscope_host::Host;
use loopscope_probe::raw::directory::{self, open_page_file, page_files};
use loopscope_probe::raw::registry;
use loopscope_probe::{Clock, Kind, Page, Phase, Queue, TaskTimes, WorkKind, Writer, spans};
use loopscope_report::diagnose::{self, EvidenceCollector, PageSample, Surroundings, ThreadSample};
use loopscope_report::incident::Incident;
use loopscope_report::live::{LoopSample, ViewBuilder};
use loopscope_report::profiles::{self, Follower, Format, Of, Profile, Timeline};
use loopscope_tests::noise::{self, Noise, Random};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::panic::Location;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Pages of each kind that a reader gets; `NOISE_PAGES=1000` is the long run.
fn pages() -> u64 {
    std::env::var("NOISE_PAGES").map_or(12, |pages| pages.parse().unwrap())
}

/// A directory in memory, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/loopscope-noise-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Scratch(path)
    }

    /// Reads bytes as a page.
    fn page(&self, bytes: &[u8]) -> std::io::Result<Box<Page>> {
        let path = self.0.join("1-1-1.page");
        fs::write(&path, bytes).unwrap();
        directory::read_page_from(&open_page_file(&path)?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A loop with something of everything on its page, in the middle of a callback.
fn busy_loop(scratch: &Scratch, name: &str) -> (Writer, PathBuf) {
    let mut writer = Writer::builder(name).clock(Clock::monotonic()).directory(&scratch.0).build();
    let mut pool = writer.take_pool().unwrap();
    pool.threads(2);
    writer.resume();
    let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
    let job = writer.named_site(Location::caller(), Kind::Microtask, "then");
    for round in 0..40 {
        writer.unpark(1);
        writer.phase(Phase::TIMERS);
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        writer.end();
        writer.drain_begin(Queue::Microtask, 1);
        writer.begin(Kind::Microtask, job, TaskTimes::UNKNOWN);
        writer.end();
        writer.drained();
        let submitted = pool.clock().now();
        pool.submitted(WorkKind::Fs, submitted);
        let started = pool.started(WorkKind::Fs, submitted, None);
        pool.finished(WorkKind::Fs, started, pool.clock().now(), round % 2 == 0);
        writer.iteration();
        writer.park();
    }
    let _spans = writer.install_spans();
    writer.unpark(1);
    writer.phase(Phase::TIMERS);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    spans::enter(spans::site("query", "db.rs", 3).unwrap(), "id=7").unwrap();
    let own = registry::pages().into_iter().find(|page| page.page().loop_name() == name).unwrap();
    (writer, own.path().unwrap().to_owned())
}

/// Calls `read` with pages of every kind of noise.
fn each_page(mut read: impl FnMut(&Page, &Clock, &str)) {
    let (scratch, files) = (Scratch::new(), Scratch::new());
    let (_writer, path) = busy_loop(&scratch, &format!("real{}", scratch.0.display()));
    let real = fs::read(path).unwrap();
    for noise in Noise::ALL {
        let mut count = 0;
        for seed in 0..pages() {
            // What a reader refuses has harmed nobody.
            let Ok(page) = files.page(&noise::page(&real, noise, seed)) else { continue };
            let (source, scale) = page.clock().unwrap();
            let Some(clock) = Clock::for_page(source, scale) else { continue };
            count += 1;
            read(&page, &clock, &format!("{noise:?} {seed}"));
        }
        assert!(count > 0, "no page of {noise:?} was read: this proves nothing");
    }
}

#[test]
fn the_readers_of_the_probe_and_the_live_view_stand_noise() {
    let mut builder = ViewBuilder::new();
    each_page(|page, clock, which| {
        println!("{which}");
        let now = clock.now();
        let (snapshot, vitals) = (page.snapshot_at(clock, now), page.vitals_at(clock, now));
        assert!(snapshot.paths.iter().enumerate().all(|(at, path)| usize::from(path.parent) <= at));
        let view = builder.observe([LoopSample::of(page, clock, now)], vitals.active_ns);
        serde_json::to_vec(&view).unwrap();
        let ended = LoopSample::of(page, clock, diagnose::last_moment(page, clock, now)).ended();
        builder.observe([ended, LoopSample::of(page, clock, now)], vitals.idle_ns);
    });
}

#[test]
fn the_black_box_stands_noise() {
    each_page(|page, clock, which| {
        println!("{which}");
        let last = diagnose::last_moment(page, clock, clock.now());
        let who = diagnose::LoopName { ordinal: 3, label: "noise#2" };
        for incident in [
            diagnose::reconstruct(page, clock, last, &who),
            diagnose::under_way(page, clock, clock.now(), &who),
        ] {
            let again: Incident = serde_json::from_slice(&incident.to_json()).unwrap();
            assert_eq!(again, incident);
            for format in Format::ALL {
                // Nothing to draw is an answer, too.
                let _ = profiles::of_incident(&incident, format);
            }
        }
    });
}

#[test]
fn the_doctor_stands_noise() {
    let mut examined: Option<EvidenceCollector> = None;
    each_page(|page, clock, which| {
        println!("{which}");
        let at = clock.now();
        let mut collector = examined.take().unwrap_or_else(|| EvidenceCollector::begin(page, clock, at));
        let look =
            || PageSample { page, clock, at, thread: ThreadSample::default(), agent_age_ns: Some(u64::MAX) };
        collector.look(&look());
        let last = page.snapshot_at(clock, at);
        collector.read_gauges(&last);
        let evidence = collector.end(&last, clock, Surroundings::default());
        diagnose::diagnose(&[evidence]);
        let mut next = EvidenceCollector::begin(page, clock, at);
        next.look(&look());
        examined = Some(next);
    });
}

#[test]
fn profiles_and_timelines_stand_noise() {
    let mut before = Vec::new();
    let mut follower: Option<Follower> = None;
    each_page(|page, clock, which| {
        println!("{which}");
        let snapshot = vec![page.snapshot_at(clock, clock.now())];
        for profile in [Profile::between(&before, &snapshot), Profile::between(&[], &snapshot)] {
            assert_eq!(profile.of, Of::Callbacks);
            for format in Format::ALL {
                let _ = profile.write(format, "noise");
            }
        }
        before = snapshot;
        let mut timeline = Timeline::new("noise", 1, 0);
        let mut next = follower.take().unwrap_or_else(|| Follower::new(page, clock, clock.now()));
        next.look(page);
        timeline.push(next.finish(page, clock.now(), "noise"));
        let _ = timeline.trace();
        follower = Some(Follower::new(page, clock, loopscope_probe::Ticks(1)));
    });
}

/// Writes pages of noise beside a real one, over each other: those that a server follows change under it.
fn rewrite(scratch: &Scratch, real: &[u8], round: u64) {
    let owner = page_files(&scratch.0).unwrap()[0].owner;
    for (at, noise) in Noise::ALL.into_iter().enumerate() {
        let path = scratch.0.join(format!("{}-{}-{}.page", owner.pid, owner.start, 100 + at));
        let bytes = noise::page(real, noise, round);
        match fs::OpenOptions::new().write(true).create(true).truncate(false).open(path) {
            Ok(file) => file.write_all_at(&bytes, 0).unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_page_of_the_host_shows_the_loops_beside_noise() {
    let scratch = Scratch::new();
    let (_writer, path) = busy_loop(&scratch, "honest");
    let real = fs::read(path).unwrap();
    rewrite(&scratch, &real, 1);
    let (_host, address) = host(&scratch);
    for round in 2..14 {
        let page = http::get(&address, "/metrics").expect("the page of metrics");
        assert!(page.contains("loop=\"honest\""), "{page}");
        assert!(page.contains("\nloopscope_agent_panics_total 0\n"), "a tick or request handler panicked");
        for path in ["/debug/loopscope/incidents", "/debug/loopscope/live", "/sd", "/"] {
            assert!(http::get(&address, path).is_some(), "{path}");
        }
        rewrite(&scratch, &real, round);
    }
}

/// Starts a server of this directory; returns it and its address.
fn host(scratch: &Scratch) -> (Host, String) {
    let listen = Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let host = Host::builder().listen(listen).directory(&scratch.0).start().unwrap();
    let address = host.address().unwrap().to_string();
    (host, address)
}

#[test]
fn noise_is_added_up_where_there_are_more_loops_than_labels() {
    let scratch = Scratch::new();
    let (_writer, path) = busy_loop(&scratch, "first");
    let real = fs::read(path).unwrap();
    let owner = page_files(&scratch.0).unwrap()[0].owner;
    // Of some, the noise says that their threads have ceased to run them.
    for number in 0..240 {
        let noise = Noise::ALL[number as usize % Noise::ALL.len()];
        let path = scratch.0.join(format!("{}-{}-{}.page", owner.pid, owner.start, 100 + number));
        fs::write(path, noise::page(&real, noise, number)).unwrap();
    }
    let (_host, address) = host(&scratch);
    for _ in 0..2 {
        let page = http::get(&address, "/metrics").expect("the page of metrics");
        assert!(page.contains("loop=\"first\"") && page.contains("loop=\"_other\""), "{page}");
        assert!(page.contains("\nloopscope_agent_panics_total 0\n"), "a tick or request handler panicked");
    }
}

#[test]
fn files_that_are_no_pages_are_passed_over_at_once() {
    let scratch = Scratch::new();
    let (_writer, path) = busy_loop(&scratch, "beside");
    let real = fs::read(&path).unwrap();
    let owner = page_files(&scratch.0).unwrap()[0].owner;
    let mut number = 200;
    let mut next = || {
        number += 1;
        scratch.0.join(format!("{}-{}-{number}.page", owner.pid, owner.start))
    };
    fs::create_dir(next()).unwrap();
    std::os::unix::fs::symlink(&path, next()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", next()).unwrap();
    let fifo = next();
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let sparse = next();
    fs::write(&sparse, &real[..100]).unwrap();
    fs::OpenOptions::new().write(true).open(sparse).unwrap().set_len(1 << 40).unwrap();
    let mut random = Random::new(7);
    for _ in 0..20 {
        fs::write(next(), &real[..random.below(real.len())]).unwrap();
    }
    // A pipe that nobody writes would keep a reader for good.
    assert!(directory::read_page(&fifo).is_err());
    let (_host, address) = host(&scratch);
    let page = http::get(&address, "/metrics").unwrap();
    assert!(page.contains("loop=\"beside\"") && page.contains("loopscope_agent_panics_total 0\n"), "{page}");
}
