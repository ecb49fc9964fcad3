//! Pages of noise go through every command: none panics, and none tells less of the loops beside them.
//!
//! The readers below the command are in `tests/noise.rs`, where also the pages are made up.

#[path = "../../../../tests/src/noise.rs"]
mod made_up;

use crate::scratch::Scratch;
use loopscope_probe::raw::directory::{Owner, page_files};
use loopscope_probe::{Clock, Kind, Phase, TaskTimes, Writer};
use made_up::{Noise, Random};
use std::fs;
use std::panic::Location;

/// A loop of this process with a page in the scratch directory, busy.
fn honest_loop(scratch: &Scratch) -> (Writer, Owner, Vec<u8>) {
    let clock = Clock::monotonic();
    let mut writer = Writer::builder("honest").clock(clock).directory(&scratch.runtime()).build();
    writer.resume();
    let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
    for _ in 0..40 {
        writer.unpark(1);
        writer.phase(Phase::TIMERS);
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        writer.end();
        writer.iteration();
        writer.park();
    }
    writer.unpark(1);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let own = page_files(&scratch.runtime()).unwrap().remove(0);
    let bytes = fs::read(own.path).unwrap();
    (writer, own.owner, bytes)
}

/// Puts pages of noise beside the real one: of this process, which lives, and of one that does not.
fn add_noise(scratch: &Scratch, living: Owner, real: &[u8], seed: u64) {
    for (at, noise) in Noise::ALL.into_iter().enumerate() {
        for owner in [living, Owner { pid: 4_194_305, start: 7 }] {
            let name = format!("{}-{}-{}.page", owner.pid, owner.start, 100 + at);
            fs::write(scratch.runtime().join(name), made_up::page(real, noise, seed)).unwrap();
        }
    }
    let cut = Random::new(seed).below(real.len());
    fs::write(scratch.runtime().join("4194306-7-1.page"), &real[..cut]).unwrap();
}

#[test]
fn no_command_panics_at_noise_and_each_tells_of_the_loop_beside_it() {
    let scratch = Scratch::new("noise");
    let (_writer, owner, real) = honest_loop(&scratch);
    let pid = owner.pid.to_string();
    for seed in 0..2 {
        add_noise(&scratch, owner, &real, seed);
        for (arguments, tells) in [
            (&["ls"][..], true),
            (&["ls", "--json"], true),
            (&["top", "--once"], true),
            (&["top", "--once", "--json"], true),
            (&["incidents"], false),
            (&["incidents", "--json"], false),
            (&["doctor", &pid, "--for", "100ms"], true),
            (&["doctor", &pid, "--for", "100ms", "--json"], true),
            (&["flame", &pid, "--for", "100ms", "--json", "-o", "a.svg"], false),
            (&["flame", &pid, "--for", "100ms", "-o", "a.trace.json"], false),
            (&["flame", &pid, "--for", "100ms", "-o", "a.pb.gz"], false),
        ] {
            let done = scratch.run(arguments);
            let said = format!("seed {seed} {arguments:?} {:?}\n{}\n{}", done.code, done.stdout, done.stderr);
            // 101 is what a panic ends with.
            assert!(done.code.is_some_and(|code| code <= 4), "{said}");
            assert!(!tells || done.stdout.contains("honest"), "{said}");
        }
    }
}
