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

/// The longest capture that an agent takes.
const SECONDS_MAX: u64 = 300;

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
    Profile { profile: Box<Profile>, title: String },
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
    Ok(Capture { ended, lasted_ns, sites, drawing: Drawing::Profile { profile: Box::new(profile), title } })
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
    let seconds = whole_seconds(duration)?;
    let mut interrupt = Interrupt::install()?;
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
    refuse(url, &answer, lasted_ns)?;
    let folded = (format == Format::Folded).then(|| String::from_utf8_lossy(&answer.body));
    let sites = folded.map(|folded| widest::sites(&folded));
    Ok(Capture { ended: Ended::InTime, lasted_ns, sites, drawing: Drawing::Rendered(answer.body) })
}

/// The agent counts captures in whole seconds, and bounds them.
fn whole_seconds(duration: Duration) -> Result<u64, Failure> {
    let is_whole = duration.subsec_nanos() == 0 && (1..=SECONDS_MAX).contains(&duration.as_secs());
    is_whole.then_some(duration.as_secs()).ok_or_else(|| {
        let asked = duration::show(duration);
        Failure::Usage(format!(
            "--for {asked}: the agent at a URL watches whole seconds, from 1s to {SECONDS_MAX}s"
        ))
    })
}

/// Tells what an answer that is no flamegraph means.
fn refuse(url: &str, answer: &http::Answer, lasted_ns: u64) -> Result<(), Failure> {
    let said = answer.first_line();
    let because = match answer.status {
        200 if !answer.body.is_empty() => return Ok(()),
        404 if said.starts_with("nothing ran") => {
            return Err(Failure::NothingCaptured(nothing(url, lasted_ns, Ended::InTime)));
        }
        404 => "is no loopscope agent: it does not know /debug/loopscope/flamegraph".to_owned(),
        status => format!("answered {status}: {said}"),
    };
    Err(Failure::Remote { url: url.to_owned(), because })
}

/// Returns a progress bar on stderr. Where that is no terminal, a line says that the capture has begun, for how long.
fn bar(duration: Duration, message: &str) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_millis() as u64);
    if bar.is_hidden() {
        eprintln!("loopscope: {message} for {}", duration::show(duration));
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3}%  Ctrl-C ends it early");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_asked_for_whole_seconds() {
        assert_eq!(whole_seconds(Duration::from_secs(10)).unwrap(), 10);
        for duration in [Duration::from_millis(1500), Duration::from_millis(500), Duration::from_secs(301)] {
            assert_eq!(whole_seconds(duration).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn an_answer_without_a_flamegraph_is_told_by_what_it_means() {
        let answer = |status, body: &str| http::Answer { status, body: body.as_bytes().to_vec() };
        assert!(refuse("u", &answer(200, "<svg"), 1).is_ok());
        let code = |answer| refuse("u", &answer, 1).unwrap_err().exit_code();
        assert_eq!(code(answer(404, "nothing ran in these 10 seconds, so there is nothing to draw\n")), 3);
        assert_eq!(code(answer(404, "no such page")), 1);
        assert_eq!(code(answer(200, "")), 1);
        let busy = refuse("u", &answer(429, "2 captures are under way\nmore"), 1).unwrap_err().to_string();
        assert!(busy.contains("429") && busy.ends_with("2 captures are under way"), "{busy}");
    }
}
