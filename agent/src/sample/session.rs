//! A sampling session: a thread that looks at the loops many times a second, and returns a profile at the end.

use crate::address_source::{AddressSources, BATCH};
use crate::capture::{Captures, OFF, captures, make_barrier};
use crate::sample::names::Names;
use crate::sample::sample_times::SampleTimes;
use crate::sample::sampled_loop::{SampledLoop, Shared};
use crate::sample::store::Store;
use crate::sample::tally::Tally;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::{barrier, registry};
use loopscope_probe::{Clock, Ticks};
use loopscope_report::profiles::{FlameError, Of, Profile, ProfileSample};
use loopscope_stacks::{CaptureSupport, Unwinder, block_signal, prepare};
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
    let mut shared = Shared {
        of: plan.of,
        store: Store::default(),
        tally: Tally::default(),
        unwinder: Unwinder::new(),
        addresses,
        begin_ns,
        now_ns: clock.now().0,
        period_ns,
    };
    let (mut loops, mut changes) = (Vec::new(), None);
    let end_ns = clock.now().0.saturating_add(plan.length.as_nanos() as u64);
    let mut pace = SampleTimes::new(clock.now().0, period_ns);
    loop {
        let Ticks(now_ns) = clock.now();
        shared.now_ns = now_ns;
        follow(plan, &mut loops, &mut changes, &mut shared);
        for watched in &mut loops {
            watched.look(&mut shared);
        }
        send_prepared(&mut loops, &mut shared, &clock);
        if now_ns >= end_ns {
            break;
        }
        let wait = Duration::from_nanos(pace.wait_ns(clock.now().0, end_ns));
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    for watched in &mut loops {
        watched.finish(&mut shared);
    }
    let Ticks(now_ns) = clock.now();
    let mut profile = name(shared, &loops)?;
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

/// Takes in loops that came. Those that went stay, for their names.
fn follow(plan: &Plan, loops: &mut Vec<SampledLoop>, changes: &mut Option<u64>, shared: &mut Shared) {
    let now = registry::changes();
    if changes.replace(now) == Some(now) {
        return;
    }
    for page in registry::pages() {
        let is_known = loops.iter().any(|watched| watched.page.number() == page.number());
        let is_wanted = plan.loop_name.as_ref().is_none_or(|name| page.is_called(name));
        if !is_known && is_wanted {
            loops.push(SampledLoop::new(page, loops.len(), shared));
        }
    }
}

/// Gives everything its name.
fn name(shared: Shared, loops: &[SampledLoop]) -> Result<Profile, FlameError> {
    let Shared { of, store, tally, unwinder, addresses, .. } = shared;
    let (stacks, moments) = store.into_parts();
    if let (true, Some(why)) = (stacks.is_empty(), tally.failure.clone()) {
        return Err(FlameError::Unavailable(why));
    }
    let mut profile = Profile::new(of);
    if let Some(watched) = loops.first() {
        let facts = watched.page.page().facts();
        (profile.process, profile.pid) = (facts.process, facts.pid);
    }
    loops.iter().for_each(|watched| profile.know_phases(&watched.page.page().description()));
    let pages: Vec<_> = loops.iter().map(|watched| &watched.page).collect();
    let mut names = Names::new(&unwinder, &addresses, &pages);
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
