//! Tests of the runtime directory: who may see it, and which pages are of the living.

use super::*;
use crate::memory::Memory;
use crate::page::{Page, PageFault};
use crate::page_file_name::parse_name;
use crate::scratch::{Scratch, living_child, me};
use crate::{Clock, Kind, TaskTimes, VirtualClock, Writer};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_page_file_is_private_and_in_a_private_directory() {
    let scratch = Scratch::new();
    let memory = Memory::shared(Some(&scratch.0));
    assert_eq!(memory.private_because, None);
    let path = memory.path().unwrap();
    assert_eq!((mode(&scratch.0), mode(path)), (0o700, 0o600));
    assert_eq!(fs::metadata(path).unwrap().len(), size_of::<Page>() as u64);
    let files = page_files(&scratch.0).unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].path.as_path(), files[0].owner), (path, me()));
}

/// Asserts that a page asked for in that directory is private memory, for that reason.
fn assert_private(directory: &Path, reason: &str) {
    let memory = Memory::shared(Some(directory));
    assert_eq!(memory.path(), None);
    let because = memory.private_because.as_ref().unwrap();
    let names_the_directory = because.contains(&directory.display().to_string());
    assert!(names_the_directory && because.contains(reason), "{because}");
}

#[test]
fn a_directory_that_others_may_enter_is_refused() {
    let scratch = Scratch::made();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o750)).unwrap();
    assert_private(&scratch.0, "has mode 750; it must be private (chmod 700)");
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let scratch = Scratch::made();
    // Only root may give a directory away; anybody else already has /dev/shm, which is root's.
    match std::os::unix::fs::chown(&scratch.0, Some(54_321), None) {
        Ok(()) => assert_private(&scratch.0, "belongs to uid 54321"),
        Err(_) => assert_private(Path::new("/dev/shm"), "belongs to uid 0"),
    }
}

#[test]
fn what_is_no_directory_is_refused() {
    let scratch = Scratch::made();
    assert_private(&scratch.file("file", b""), "is not a directory");
    let link = scratch.0.join("link");
    symlink(&scratch.0, &link).unwrap();
    assert_private(&link, "is not a directory");
    assert_private(&scratch.0.join("missing/parent"), "No such file");
}

#[test]
fn a_directory_that_is_not_in_memory_is_refused() {
    // Private and ours on every Linux, and of a file system that is not a tmpfs, whatever the test runs on.
    assert_private(Path::new("/proc/self/fd"), "use a tmpfs");
}

#[test]
fn a_process_lives_whatever_its_name_is() {
    let (before, alive) = (fs::read("/proc/self/comm").unwrap(), me());
    // What the kernel makes of eight letters of two bytes each: it cuts the last one in half.
    fs::write("/proc/self/comm", "é".repeat(8)).unwrap();
    let is_no_text = fs::read_to_string("/proc/self/comm").is_err();
    let is_alive = alive.is_alive();
    fs::write("/proc/self/comm", before.trim_ascii_end()).unwrap();
    assert!(is_no_text && is_alive);
}

#[test]
fn names_are_parsed_strictly() {
    let parse = |name: &str| parse_name(PathBuf::from(name)).map(|file| (file.owner, file.number));
    assert_eq!(parse("/x/12-345-6.page"), Some((Owner { pid: 12, start: 345 }, 6)));
    for name in [
        "12-345.page",
        "12-345-6-7.page",
        "12-345-6.page.old",
        "12-345-6",
        "-12-345-6.page",
        "12--6.page",
        "a-345-6.page",
        "4294967296-345-6.page",
        ".page",
    ] {
        assert_eq!(parse(name), None, "{name}");
    }
}

#[test]
fn a_process_is_alive_until_it_ends_and_its_pid_alone_proves_nothing() {
    let (mut child, owner) = living_child();
    assert!(owner.is_alive());
    assert!(!Owner { start: owner.start + 1, ..owner }.is_alive(), "another process with its pid");
    drop(child.stdin.take());
    // Until it is waited for it is a zombie, which runs no loop.
    let deadline = Instant::now() + Duration::from_secs(60);
    while owner.is_alive() {
        assert!(Instant::now() < deadline, "the child does not end");
        std::thread::yield_now();
    }
    child.wait().unwrap();
    assert!(!owner.is_alive());
}

fn error_of(path: &Path) -> String {
    read_page(path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_page_in_virtual_time_is_a_file_where_it_is_asked_for_and_only_its_own_clock_reads_it() {
    let scratch = Scratch::made();
    let clock = Clock::simulated(VirtualClock::starting_at(1_000));
    let hidden = Writer::builder("simulated").clock(clock.clone()).build();
    let is_listed = |writer: &Writer| {
        crate::registry::pages().iter().any(|page| std::ptr::eq(page.page(), writer.page()))
    };
    assert!(!is_listed(&hidden));
    let writer = Writer::builder("simulated").clock(clock).directory(&scratch.0).build();
    assert!(is_listed(&writer));
    let page = read_page(&page_files(&scratch.0).unwrap()[0].path).unwrap();
    let (source, scale) = page.clock().unwrap();
    assert!(Clock::for_page(source, scale).is_none(), "another program cannot tell its ages");
    assert_eq!(page.snapshot(writer.clock()).facts.name, "simulated");
}

#[test]
fn a_file_that_is_not_a_whole_page_of_this_version_is_refused_by_name() {
    let scratch = Scratch::made();
    let writer = Writer::builder("sample").directory(&scratch.0).build();
    let whole = fs::read(&page_files(&scratch.0).unwrap()[0].path).unwrap();
    let changed = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        scratch.file("changed", &bytes)
    };
    assert!(read_page(&scratch.file("whole", &whole)).is_ok());
    assert!(error_of(&scratch.file("cut", &whole[..5000])).contains("is truncated: 5000 bytes instead of"));
    assert!(error_of(&scratch.file("head", &whole[..8])).contains("is not a loopscope page"));
    assert!(error_of(&scratch.file("empty", b"")).contains("is not a loopscope page"));
    assert!(error_of(&scratch.file("noise", &[0xa5; 400_000])).contains("is not a loopscope page"));
    assert!(error_of(&changed(8, crate::page::VERSION + 1)).contains("has page version"));
    assert!(error_of(&changed(16, 77)).contains("is truncated: 77 bytes"));
    let clock = std::mem::offset_of!(crate::page::HeaderWords, clock_source);
    assert!(error_of(&changed(clock, 99)).contains("damaged clock"));
    let link = scratch.0.join("link");
    symlink(scratch.0.join("whole"), &link).unwrap();
    assert!(read_page(&link).is_err(), "a link might lead anywhere");
    drop(writer);
}

#[test]
fn every_page_of_noise_behind_a_good_header_can_be_read() {
    let scratch = Scratch::made();
    let writer = Writer::builder("noise").directory(&scratch.0).build();
    let mut bytes = fs::read(&page_files(&scratch.0).unwrap()[0].path).unwrap();
    let body = std::mem::offset_of!(Page, control);
    for (seed, fill) in [0xff, 0x01, 0xa5, 0x7f].into_iter().enumerate() {
        for (at, byte) in bytes[body..].iter_mut().enumerate() {
            *byte = (at as u8).wrapping_mul(seed as u8 * 37) ^ fill;
        }
        let page = read_page(&scratch.file("noise", &bytes)).unwrap();
        let (source, scale) = page.clock().unwrap();
        let clock = crate::Clock::for_page(source, scale).unwrap();
        let snapshot = page.snapshot(&clock);
        assert!(snapshot.sites.len() <= crate::site::SITES && snapshot.paths.len() <= crate::paths::PATHS);
        assert!(page.records(0).len() <= crate::page::RECORDS);
        let mut lag = snapshot.lag.since(&snapshot.iteration);
        lag.merge(&snapshot.poll_wait);
        let _ = (lag.quantile_ns(0.5), lag.count_within(999), page.now_values(clock.now(), &clock));
    }
    drop(writer);
}

#[test]
fn another_process_reads_from_the_file_what_the_writer_wrote() {
    let scratch = Scratch::made();
    let mut writer = Writer::builder("living").runtime("mio").directory(&scratch.0).build();
    let path = page_files(&scratch.0).unwrap()[0].path.clone();
    writer.resume();
    let site = writer.named_site(std::panic::Location::caller(), Kind::Timer, "beat");
    for _ in 0..3 {
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        writer.end();
        writer.drained();
    }
    writer.suspend();
    let page = read_page(&path).unwrap();
    let snapshot = page.snapshot(writer.clock());
    assert_eq!((snapshot.facts.name.as_str(), snapshot.facts.pid), ("living", std::process::id()));
    assert_eq!(snapshot.run[Kind::Timer.index()].count(), 3);
    assert_eq!(snapshot.sites[site.index()].name, "beat");
    assert_eq!(page.records(0).len(), 3);
    assert!(!page.is_closed());
    drop(writer);
    assert!(!path.exists(), "a loop that ends in order leaves no page");
}

#[test]
fn the_vitals_alone_are_those_of_the_whole_page() {
    let scratch = Scratch::made();
    let mut writer = Writer::builder("brief").directory(&scratch.0).build();
    let file = open_page_file(&page_files(&scratch.0).unwrap()[0].path).unwrap();
    let mut pool = writer.take_pool().unwrap();
    pool.threads(2);
    writer.resume();
    writer.begin(Kind::Timer, crate::SiteId::NONE, TaskTimes::UNKNOWN);
    writer.end();
    writer.suspend();
    writer.resume();
    pool.submitted(crate::WorkKind::Fs, pool.clock().now());
    let mut brief = blank_page();
    read_vitals_into(&file, &mut brief).unwrap();
    let (whole, clock) = (read_page_from(&file).unwrap(), writer.clock().clone());
    let now = clock.now();
    assert_eq!(brief.vitals_at(&clock, now), whole.vitals_at(&clock, now));
    assert_eq!((brief.vitals_at(&clock, now).records, brief.iterations_recorded()), (1, 1));
    assert_eq!(brief.facts(), whole.facts());
    assert_eq!(brief.snapshot(&clock).iteration.count(), 0, "what is not needed is not read");
    let cut = scratch.file("cut", &fs::read(&page_files(&scratch.0).unwrap()[0].path).unwrap()[..5000]);
    let error = read_vitals_into(&open_page_file(&cut).unwrap(), &mut brief).unwrap_err();
    assert!(error.get_ref().is_some_and(|fault| fault.is::<PageFault>()), "{error}");
    drop((writer, pool));
}

#[test]
fn the_counters_alone_are_those_of_the_whole_page() {
    let scratch = Scratch::made();
    let mut writer = Writer::builder("counters").directory(&scratch.0).build();
    let path = page_files(&scratch.0).unwrap()[0].path.clone();
    let file = open_page_file(&path).unwrap();
    let mut pool = writer.take_pool().unwrap();
    pool.submitted(crate::WorkKind::Fs, pool.clock().now());
    let mut counters = blank_page();
    let same = |writer: &Writer, counters: &mut Page| {
        read_counters_into(&file, counters).unwrap();
        let (whole, now) = (read_page_from(&file).unwrap(), writer.clock().now());
        assert!(counters.snapshot_at(writer.clock(), now) == whole.snapshot_at(writer.clock(), now));
        let is_read = counters.records(0).iter().any(|record| record.start.0 > 0);
        assert!(!is_read, "what is not needed is not read");
        whole.sites().read().len()
    };
    assert_eq!(same(&writer, &mut counters), 1, "nothing is there but the unknown site");
    // More than the table of sites holds, each a path of its own.
    for line in 0..600 {
        writer.resume();
        let site = writer.named_site(Location::caller(), Kind::Timer, &format!("site {line}"));
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        writer.end();
        writer.suspend();
        if line == 9 {
            assert_eq!(same(&writer, &mut counters), 11);
        }
    }
    assert_eq!(same(&writer, &mut counters), 512);
    let cut = scratch.file("cut", &fs::read(&path).unwrap()[..300_000]);
    let error = read_counters_into(&open_page_file(&cut).unwrap(), &mut counters).unwrap_err();
    assert!(error.get_ref().is_some_and(|fault| fault.is::<PageFault>()), "{error}");
    drop((writer, pool));
}

#[test]
fn only_regular_files_are_opened_and_nobody_waits_for_a_pipe() {
    let scratch = Scratch::made();
    let pipe = scratch.0.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let link = scratch.0.join("link");
    symlink(scratch.file("whole", b"x"), &link).unwrap();
    for path in [pipe, link, scratch.0.clone()] {
        assert!(open_page_file(&path).is_err(), "{}", path.display());
    }
}
