//! A sampling session: a thread that looks at the loops many times a second, and returns a profile at the end.

use crate::address_source::{AddressSources, BATCH};
use crate::capture::{Captures, OFF, captures, make_barrier};
use crate::sample::followed_loops::FollowedLoops;
use crate::sample::names::Names;
use crate::sample::sample_times::SampleTimes;
use crate::sample::sampled_loop::{SampledLoop, Shared};
use loopscope_probe::raw::barrier;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::{Clock, Ticks};
use loopscope_report::profiles::{FlameError, Of, Profile, ProfileSample};
use loopscope_stacks::{CaptureSupport, block_signal, prepare};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

/// What to sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub of: Of,
    pub length: Duration,
    /// Samples a second.
    pub hz: u32,
    /// Only the loop of this name; all where `None`.
    pub loop_name: Option<String>,
}

/// A session under way. Dropping it ends it at once; it then returns what it has to nobody.
#[derive(Debug)]
pub(crate) struct Session {
    _stop: Sender<()>,
}

/// Starts a session on a thread of its own, which calls `done` at its end. `addresses` name code of other runtimes.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn start(
    plan: Plan,
    addresses: AddressSources,
    done: impl FnOnce(Result<Profile, FlameError>) + Send + 'static,
) -> io::Result<Session> {
    let (stop, stopped) = channel();
    let run = move || done(run(&plan, addresses, &stopped));
    Builder::new().name("loopscope-sample".to_owned()).spawn(run)?;
    Ok(Session { _stop: stop })
}

fn run(plan: &Plan, addresses: AddressSources, stopped: &Receiver<()>) -> Result<Profile, FlameError> {
    if captures() == Captures::Off {
        return Err(FlameError::Unavailable(OFF.to_owned()));
    }
    if let CaptureSupport::Unavailable(why) | CaptureSupport::Untested(why) = prepare() {
        return Err(FlameError::Unavailable(why));
    }
    block_signal();
    // The first time it may take 20 ms.
    barrier::of_agent();
    let clock = Clock::monotonic();
    let Ticks(begin_ns) = clock.now();
    let period_ns = 1_000_000_000 / u64::from(plan.hz.max(1));
    let begin_unix_ns = unix_ns();
    let mut shared = Shared::new(plan.of, addresses, begin_ns, period_ns);
    let mut followed = FollowedLoops::default();
    let end_ns = clock.now().0.saturating_add(plan.length.as_nanos() as u64);
    let mut pace = SampleTimes::new(clock.now().0, period_ns);
    loop {
        let Ticks(now_ns) = clock.now();
        shared.now_ns = now_ns;
        followed.follow(plan.loop_name.as_deref(), &mut shared);
        for watched in &mut followed.loops {
            watched.look(&mut shared);
        }
        send_prepared(&mut followed.loops, &mut shared, &clock);
        if now_ns >= end_ns {
            break;
        }
        let wait = Duration::from_nanos(pace.wait_ns(clock.now().0, end_ns));
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    for watched in &mut followed.loops {
        watched.finish(&mut shared);
    }
    let Ticks(now_ns) = clock.now();
    let mut profile = name(shared, followed)?;
    profile.begin_unix_ns = begin_unix_ns;
    profile.lasted_ns = now_ns.saturating_sub(begin_ns);
    profile.interval_ns = period_ns;
    Ok(profile)
}

/// Asks for the samples that were prepared, with one barrier for all of them, and records those that arrive soon.
fn send_prepared(loops: &mut [SampledLoop], shared: &mut Shared, clock: &Clock) {
    /// A stack may arrive late, when the machine is busy; longer than this nobody waits for one.
    const WITHIN_MAX_NS: u64 = 5_000_000;
    /// A running thread answers within some us; one that has no processor must first be given one.
    const SPINS: u32 = 200;
    let prepared: Vec<bool> = loops.iter().filter_map(SampledLoop::is_prepared).collect();
    if prepared.is_empty() {
        return;
    }
    let barrier = make_barrier(prepared.contains(&true));
    for watched in &mut *loops {
        watched.send(shared, barrier);
    }
    let until_ns = clock.now().0.saturating_add((shared.period_ns / 2).min(WITHIN_MAX_NS));
    for turn in 0_u32.. {
        for watched in &mut *loops {
            watched.take_late(shared);
        }
        if !loops.iter().any(SampledLoop::is_awaited) || clock.now().0 >= until_ns {
            return;
        }
        match turn < SPINS {
            true => std::hint::spin_loop(),
            false => std::thread::sleep(Duration::from_micros(20)),
        }
    }
}

/// Gives everything its name.
fn name(shared: Shared, followed: FollowedLoops) -> Result<Profile, FlameError> {
    let Shared { of, store, tally, unwinder, addresses, .. } = shared;
    let (stacks, moments) = store.into_parts();
    if let (true, Some(why)) = (stacks.is_empty(), tally.failure.clone()) {
        return Err(FlameError::Unavailable(why));
    }
    let mut profile = Profile::new(of);
    let names = followed.into_names(&mut profile);
    let mut names = Names::new(&unwinder, &addresses, names);
    let numbers: Vec<u32> = stacks.chunks(BATCH).flat_map(|stacks| names.add(stacks, &mut profile)).collect();
    for moment in moments {
        profile.note_moment(ProfileSample { stack: numbers[moment.stack as usize], ..moment });
    }
    profile.notes = tally.notes(of, !profile.is_empty());
    profile.notes.extend(names.advice());
    Ok(profile)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
