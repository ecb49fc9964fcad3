//! One capture: watching a process for a while, or asking an agent to.

use super::widest::{self, Site};
use crate::args::Format;
use crate::duration;
use crate::error::Failure;
use crate::http;
use crate::interrupt::Interrupt;
use crate::pages::Process;
use indicatif::{ProgressBar, ProgressStyle};
use loopscope_agent::flame::Profile;
use loopscope_probe::{Clock, Snapshot};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How often the wait looks whether the process still lives, and moves the bar.
const STEP: Duration = Duration::from_millis(50);

/// Why a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    InTime,
    Interrupted,
    ProcessGone,
}

/// What was captured; never empty.
pub struct Capture {
    pub ended: Ended,
    pub lasted_ns: u64,
    /// Widest first; `None` where the drawing came without numbers.
    pub sites: Option<Vec<Site>>,
    drawing: Drawing,
}

enum Drawing {
    Profile { profile: Profile, title: String },
    Rendered(Vec<u8>),
}

impl Capture {
    /// Draws it. A capture from a URL was asked for in the right format and is given as it came.
    ///
    /// # Errors
    /// The picture cannot be drawn.
    pub fn render(&self, format: Format) -> Result<Vec<u8>, Failure> {
        match (&self.drawing, format) {
            (Drawing::Rendered(bytes), _) => Ok(bytes.clone()),
            (Drawing::Profile { profile, .. }, Format::Folded) => Ok(profile.folded().into_bytes()),
            (Drawing::Profile { profile, title }, Format::Svg) => {
                profile.svg(title).map_err(|error| Failure::system("draw the flamegraph", error))
            }
        }
    }
}

/// Watches a process of this machine. Nothing happens inside it: its page is read twice.
///
/// # Errors
/// Its loops did nothing, or no page of it can be read any more.
pub fn of_process(process: &Process, duration: Duration) -> Result<Capture, Failure> {
    let mut interrupt = Interrupt::install()?;
    let clock = Clock::monotonic();
    let (before, start) = (snapshots(process), clock.now());
    let bar = bar(duration, &format!("watching {}", process.label()));
    let elapsed = || Duration::from_nanos(clock.ns_between(start, clock.now()));
    let ended = loop {
        let left = duration.saturating_sub(elapsed());
        if left.is_zero() {
            break Ended::InTime;
        }
        if interrupt.wait(left.min(STEP)) {
            break Ended::Interrupted;
        }
        if !process.owner.is_alive() {
            break Ended::ProcessGone;
        }
        bar.set_position(elapsed().as_millis() as u64);
    };
    // The pages were opened before, so they are there also where the process has gone.
    let (after, lasted) = (snapshots(process), elapsed());
    bar.finish_and_clear();
    let profile = Profile::between(&before, &after);
    let lasted_ns = lasted.as_nanos() as u64;
    if after.is_empty() || profile.is_empty() {
        return Err(Failure::NothingCaptured(nothing(&process.label(), lasted_ns, ended)));
    }
    let title = format!("{}: time in callbacks within {}", process.label(), duration::show_ns(lasted_ns));
    let sites = Some(widest::sites(&profile.folded()));
    Ok(Capture { ended, lasted_ns, sites, drawing: Drawing::Profile { profile, title } })
}

fn snapshots(process: &Process) -> Vec<Snapshot> {
    process.loops.iter().filter_map(|page| page.snapshot().ok()).collect()
}

fn nothing(who: &str, lasted_ns: u64, ended: Ended) -> String {
    let lasted = duration::show_ns(lasted_ns);
    match ended {
        Ended::ProcessGone => format!("{who} ended after {lasted}, and its loops ran no callback until then"),
        _ => format!(
            "the loops of {who} ended no callback within {lasted}, so there is nothing to draw; give it work, or watch longer with --for"
        ),
    }
}

/// Asks the agent at `url` to watch its process.
///
/// # Errors
/// It does not answer, not with a flamegraph, or its loops did nothing.
pub fn of_url(url: &str, duration: Duration, format: Format) -> Result<Capture, Failure> {
    let mut interrupt = Interrupt::install()?;
    let seconds = duration.as_secs_f64();
    let full = format!("{url}/debug/loopscope/flamegraph?seconds={seconds}&format={}", format.name());
    let (clock, bar) = (Clock::monotonic(), bar(duration, &format!("watching {url}")));
    let start = clock.now();
    let (send, answers) = channel();
    let asked = full.clone();
    std::thread::spawn(move || send.send(http::get(&asked, duration)));
    let answer = loop {
        match answers.recv_timeout(STEP) {
            Ok(answer) => break answer?,
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::system("ask the agent", &full)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt.wait(Duration::ZERO) {
            let message =
                format!("interrupted: the agent at {url} would have answered at the end of the capture");
            return Err(Failure::NothingCaptured(message));
        }
        bar.set_position(clock.ns_between(start, clock.now()) / 1_000_000);
    };
    bar.finish_and_clear();
    let lasted_ns = duration.as_nanos() as u64;
    match answer.status {
        200 if !answer.body.is_empty() => {}
        200 | 204 => return Err(Failure::NothingCaptured(nothing(url, lasted_ns, Ended::InTime))),
        404 => {
            let because = "is no loopscope agent: it does not know /debug/loopscope/flamegraph".to_owned();
            return Err(Failure::Remote { url: url.to_owned(), because });
        }
        status => {
            let because = format!("answered {status}: {}", answer.first_line());
            return Err(Failure::Remote { url: url.to_owned(), because });
        }
    }
    let folded = (format == Format::Folded).then(|| String::from_utf8_lossy(&answer.body));
    let sites = folded.map(|folded| widest::sites(&folded));
    Ok(Capture { ended: Ended::InTime, lasted_ns, sites, drawing: Drawing::Rendered(answer.body) })
}

/// Returns a progress bar on stderr; indicatif hides it where that is no terminal.
fn bar(duration: Duration, message: &str) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_millis() as u64);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3}%  Ctrl-C ends it early");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message.to_owned());
    bar
}
