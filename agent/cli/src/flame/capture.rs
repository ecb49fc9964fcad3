//! One capture: watching a process for a while, or asking its agent to.

use super::plan::{FLAMEGRAPH, Plan};
use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::output::tell;
use crate::pages::{LoopPage, Process};
use crate::{duration, http};
use indicatif::{ProgressBar, ProgressStyle};
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::snapshot::Facts;
use loopscope_probe::{Clock, Snapshot};
use loopscope_report::duration::show_ns;
use loopscope_report::profiles::SiteChange;
use loopscope_report::profiles::widest::{self, SiteTime, StackShape};
use loopscope_report::profiles::{FlameError, Follower, Format, Of, Profile, Timeline};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How often the wait looks whether the process still lives, and moves the bar.
const STEP: Duration = Duration::from_millis(50);

/// How often pages are read for a timeline: at 400,000 callbacks a second, a page is overwritten in this time.
const FOLLOW_STEP: Duration = Duration::from_millis(10);

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
    /// Widest first, of an agent the first twelve and the rest as one; `None` for a timeline, and where an older
    /// agent tells none.
    pub sites: Option<Vec<SiteTime>>,
    /// With --diff: what has changed, the greatest change first.
    pub changes: Vec<SiteChange>,
    /// What is missing, a sentence each.
    pub notes: Vec<String>,
    pub file: Vec<u8>,
}

/// Watches a process of this machine. Nothing happens inside it: its pages are read.
///
/// # Errors
/// Its loops did nothing, or no page of it can be read any more.
pub fn of_process(process: &Process, plan: &Plan) -> Result<Capture, Failure> {
    has_loop(process, plan.loop_name.as_deref())?;
    match plan.format {
        Format::Trace => timeline_of(process, plan),
        _ => callbacks_of(process, plan),
    }
}

/// Compares what a file has with what the plan compares with; nothing is captured.
///
/// # Errors
/// It cannot be drawn.
pub fn of_files(after: &Profile, path: &Path, plan: &Plan) -> Result<Capture, Failure> {
    let file = draw(after, plan, &path.display().to_string())?;
    let changes = changes(after, plan);
    Ok(Capture { ended: Ended::InTime, lasted_ns: 0, sites: None, changes, notes: Vec::new(), file })
}

fn has_loop(process: &Process, name: Option<&str>) -> Result<(), Failure> {
    let names =
        process.loops.iter().flat_map(|page| page.runtime_label().into_iter().chain([&*page.called.label]));
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    match name {
        Some(name) if !process.loops.iter().any(|page| page.is_called(name)) => {
            let (who, list) = (process.label(), names.join(", "));
            Err(Failure::NotFound(format!("{who} has no loop named `{name}`; it has: {list}")))
        }
        _ => Ok(()),
    }
}

fn callbacks_of(process: &Process, plan: &Plan) -> Result<Capture, Failure> {
    let (begin_unix_ns, before) = (unix_ns(), snapshots(process, plan));
    let (ended, lasted_ns) = watch(process, plan.length, STEP, || {})?;
    // The pages were opened before, so they are there also where the process has gone.
    let after = snapshots(process, plan);
    let mut profile = Profile::between(&before, &after);
    (profile.begin_unix_ns, profile.lasted_ns) = (begin_unix_ns, lasted_ns);
    if profile.is_empty() {
        return Err(Failure::NothingCaptured(nothing(Of::Callbacks, &process.label(), lasted_ns, ended)));
    }
    let title = format!("{}: exact times, within {}", process.label(), show_ns(lasted_ns));
    let file = draw(&profile, plan, &title)?;
    let shapes =
        after.iter().map(|copy| (copy.facts.name.clone(), StackShape::of(&copy.facts.description))).collect();
    let sites = Some(widest::sites(&profile.folded(), &shapes));
    let changes = changes(&profile, plan);
    Ok(Capture { ended, lasted_ns, sites, changes, notes: Vec::new(), file })
}

/// Writes a profile as the plan wants it.
fn draw(profile: &Profile, plan: &Plan, title: &str) -> Result<Vec<u8>, Failure> {
    let written = match &plan.before {
        Some((before, totals)) => {
            profile.diff_svg(before, *totals, &format!("{title}, compared with before"))
        }
        None => profile.write(plan.format, title),
    };
    written.map_err(|error| Failure::system("draw the flamegraph", error))
}

/// Returns what has changed since the profile that the plan compares with.
fn changes(profile: &Profile, plan: &Plan) -> Vec<SiteChange> {
    let since = |(before, totals): &(Profile, _)| profile.changes_since(before, *totals);
    plan.before.as_ref().map(since).unwrap_or_default()
}

fn timeline_of(process: &Process, plan: &Plan) -> Result<Capture, Failure> {
    let mut timeline = Timeline::new(process.name(), process.owner.pid, unix_ns());
    let mut followed: Vec<_> = wanted(process, plan)
        .filter_map(|page| {
            let follower = Follower::new(&*page.read().ok()?, page.clock(), page.clock().now());
            Some((page, follower))
        })
        .collect();
    let (ended, lasted_ns) = watch(process, plan.length, FOLLOW_STEP, || {
        for (page, follower) in &mut followed {
            // A page that cannot be read now may be readable at the next look.
            if let Ok(page) = page.read() {
                follower.look(&page);
            }
        }
    })?;
    for (page, follower) in followed {
        if let Ok(copy) = page.read() {
            timeline.push(follower.finish(&copy, page.clock().now(), &frame_name(page, &copy.facts())));
        }
    }
    let lost = timeline.lost();
    let notes = match lost {
        0 => Vec::new(),
        lost => vec![format!("{lost} records are missing: they were overwritten before they could be read")],
    };
    let file = timeline.trace().map_err(|error| match error {
        FlameError::Empty => {
            Failure::NothingCaptured(nothing(Of::Callbacks, &process.label(), lasted_ns, ended))
        }
        error => Failure::system("write the timeline", error),
    })?;
    Ok(Capture { ended, lasted_ns, sites: None, changes: Vec::new(), notes, file })
}

/// Waits, looking at each step, until the time is over, Ctrl-C, or the process's end. Returns why, and how long it was.
fn watch(
    process: &Process,
    length: Duration,
    step: Duration,
    mut look: impl FnMut(),
) -> Result<(Ended, u64), Failure> {
    let mut interrupt = Interrupt::install()?;
    let clock = Clock::monotonic();
    let start = clock.now();
    let bar = bar(length, &format!("watching {}", process.label()));
    let elapsed = || Duration::from_nanos(clock.ns_between(start, clock.now()));
    let ended = loop {
        let left = length.saturating_sub(elapsed());
        if left.is_zero() {
            break Ended::InTime;
        }
        if interrupt.wait(left.min(step)) {
            break Ended::Interrupted;
        }
        if !process.lives() {
            break Ended::ProcessGone;
        }
        look();
        bar.set_position(elapsed().as_millis() as u64);
    };
    let lasted_ns = elapsed().as_nanos() as u64;
    bar.finish_and_clear();
    Ok((ended, lasted_ns))
}

fn snapshots(process: &Process, plan: &Plan) -> Vec<Snapshot> {
    let named = |page: &LoopPage| {
        let mut copy = page.snapshot().ok()?;
        copy.facts.name = frame_name(page, &copy.facts);
        Some(copy)
    };
    wanted(process, plan).filter_map(named).collect()
}

/// Returns what a loop is called in captures: two loops of one name have the numbered names that lists show; a worker
/// has a name that no other has.
fn frame_name(page: &LoopPage, facts: &Facts) -> String {
    if facts.worker.is_none() { page.called.label.clone() } else { facts.name.clone() }
}

/// Returns the pages of the loops that are to be captured.
fn wanted<'a>(process: &'a Process, plan: &'a Plan) -> impl Iterator<Item = &'a LoopPage> {
    process.loops.iter().filter(|page| plan.loop_name.as_ref().is_none_or(|name| page.is_called(name)))
}

fn nothing(of: Of, who: &str, lasted_ns: u64, ended: Ended) -> String {
    let lasted = show_ns(lasted_ns);
    match (of, ended) {
        (_, Ended::ProcessGone) => {
            format!("{who} exited after {lasted}, and its loops ran no callback until then")
        }
        (Of::Stalls, _) => format!(
            "nothing to draw: no loop of {who} stalled within {lasted}; watch longer with --for, or use --of cpu"
        ),
        (Of::Waits, _) => format!(
            "nothing to draw: no busy loop of {who} waited within {lasted}; watch longer with --for, or use --of cpu"
        ),
        _ => format!(
            "nothing to draw: no callback of {who} ended within {lasted}; give it work, or watch longer with --for"
        ),
    }
}

/// Asks the agent at `endpoint` to watch its process.
///
/// # Errors
/// It does not answer, not with a flamegraph, or its loops did nothing.
pub fn of_agent(endpoint: &Endpoint, plan: &Plan) -> Result<Capture, Failure> {
    // Unlike any other of this machine's captures, so that Ctrl-C ends this one.
    let name = format!("{}-{}", std::process::id(), unix_ns());
    let path = format!("{}&name={name}", plan.request()?);
    let mut interrupt = Interrupt::install()?;
    let (clock, bar) = (Clock::monotonic(), bar(plan.length, &format!("watching {endpoint}")));
    let start = clock.now();
    let (send, answers) = channel();
    let (asked, length) = (endpoint.clone(), plan.length);
    std::thread::spawn(move || send.send(http::get(&asked, &path, length)));
    let (mut ended, mut lasted_ns) = (Ended::InTime, plan.length.as_nanos() as u64);
    let answer = loop {
        match answers.recv_timeout(STEP) {
            Ok(answer) => break answer?,
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::system("ask the agent", endpoint)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended == Ended::InTime && interrupt.wait(Duration::ZERO) {
            ended = Ended::Interrupted;
            lasted_ns = clock.ns_between(start, clock.now());
            // What it has is on its way then; a second Ctrl-C does not wait for it.
            http::post(endpoint, &format!("{FLAMEGRAPH}?name={name}"))?;
        }
        bar.set_position(clock.ns_between(start, clock.now()) / 1_000_000);
    };
    bar.finish_and_clear();
    refuse(endpoint, plan, &answer, lasted_ns)?;
    // What comes with the stacks is of the same moment: the agent is not asked again.
    let sites = answer.figures.as_deref().and_then(widest::read);
    let folded = plan.before.is_some().then(|| String::from_utf8_lossy(&answer.body).into_owned());
    let mut changed = Vec::new();
    let file = match (&plan.before, folded) {
        (Some(_), Some(folded)) => {
            let because =
                |error: FlameError| Failure::Remote { url: endpoint.to_string(), because: error.to_string() };
            let mut profile = Profile::parse_folded(&folded).map_err(because)?;
            profile.of = plan.of;
            changed = changes(&profile, plan);
            draw(&profile, plan, &format!("{} of {endpoint}", plan.of.name()))?
        }
        _ => answer.body,
    };
    Ok(Capture { ended, lasted_ns, sites, changes: changed, notes: Vec::new(), file })
}

/// Tells what an answer that is no flamegraph means.
fn refuse(endpoint: &Endpoint, plan: &Plan, answer: &http::Answer, lasted_ns: u64) -> Result<(), Failure> {
    let said = answer.first_line();
    let because = match answer.status {
        200 if !answer.body.is_empty() => return Ok(()),
        404 if said.contains("no stack was captured") => return Err(Failure::NothingCaptured(said)),
        404 if said.contains("nothing to draw") => {
            let message = nothing(plan.of, endpoint.url(), lasted_ns, Ended::InTime);
            return Err(Failure::NothingCaptured(message));
        }
        404 if said.starts_with("parameter loop") => {
            return Err(Failure::NotFound(format!("{endpoint}: {said}")));
        }
        409 => return Err(Failure::Ambiguous(format!("{endpoint}: {said}"))),
        404 => "is not a loopscope agent: it has no /debug/loopscope/flamegraph".to_owned(),
        400 if ["there are only", "valid are", "neither svg nor folded"]
            .iter()
            .any(|part| said.contains(part)) =>
        {
            "has an agent older than this command, which writes callbacks only as svg or folded".to_owned()
        }
        501 => said,
        status => format!("answered {status}: {said}"),
    };
    Err(Failure::Remote { url: endpoint.to_string(), because })
}

/// Returns a progress bar on stderr. Where that is no terminal, a line says that the capture has begun, for how long.
fn bar(duration: Duration, message: &str) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_millis() as u64);
    if bar.is_hidden() {
        tell(&format!("loopscope: {message} for {}\n", duration::show(duration)));
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3}%  Ctrl-C stops early");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan as empty_plan;
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn plan(format: Format) -> Plan {
        empty_plan(Of::Cpu, format, Duration::from_secs(1))
    }

    /// Answers each request like this, and counts them. Returns the URL.
    fn agent(answer: String) -> (String, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Relaxed);
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (url, requests)
    }

    #[test]
    fn the_figures_of_folded_stacks_are_those_that_came_with_them() {
        let body = "rt-0;GET /items (a.rs:1) 7\nrt-0;GET /items (a.rs:1);tick x 90\n";
        let (url, requests) = agent(format!(
            "HTTP/1.1 200 OK\r\nX-Loopscope-Figures: 97000,rt-0,worker,,GET /items (a.rs:1),tick x\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let capture = of_agent(&Endpoint::given(&url), &plan(Format::Folded)).unwrap();
        let labels: Vec<String> = capture.sites.unwrap().iter().map(SiteTime::label).collect();
        assert_eq!(labels, ["GET /items (a.rs:1), most of it in tick x  (worker rt-0)"]);
        assert_eq!((capture.file, requests.load(Relaxed)), (body.as_bytes().to_vec(), 1));
    }

    #[test]
    fn an_answer_without_a_flamegraph_is_told_by_what_it_means() {
        let plan = plan(Format::Svg);
        let answer =
            |status, body: &str| http::Answer { status, body: body.as_bytes().to_vec(), figures: None };
        assert!(refuse(&Endpoint::given("u"), &plan, &answer(200, "<svg"), 1).is_ok());
        let failure = |answer| refuse(&Endpoint::given("u"), &plan, &answer, 1).unwrap_err();
        let nothing = answer(404, "nothing to draw: nothing ran within 10 seconds\n");
        assert_eq!(failure(nothing).exit_code(), 3);
        let why = "nothing to draw, no stack was captured: 40 ms on CPU have no stack, because ...";
        let unsafe_ones = failure(answer(404, why));
        assert_eq!(unsafe_ones.exit_code(), 3);
        assert!(unsafe_ones.to_string().contains(why), "{unsafe_ones}");
        assert_eq!(failure(answer(404, "parameter loop: no loop \"x\"; there are: a")).exit_code(), 3);
        assert_eq!(failure(answer(404, "no such page")).exit_code(), 1);
        assert_eq!(failure(answer(200, "")).exit_code(), 1);
        let old = failure(answer(400, "parameter \"of\": there are only seconds and format")).to_string();
        assert!(old.contains("older than this command"), "{old}");
        let busy = failure(answer(429, "2 captures are under way\nmore")).to_string();
        assert!(busy.contains("429") && busy.ends_with("2 captures are under way"), "{busy}");
    }
}
