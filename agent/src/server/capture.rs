//! Captures on request: callbacks by two copies of the pages, a timeline by following them, all else by sampling.
//!
//! The agent's own thread only waits meanwhile. Samples are taken, and everything is drawn, on threads of their own:
//! the loops are watched all the time.

use crate::address_source::AddressSources;
use crate::sample;
use crate::sample::{Plan, frame_name};
use loopscope_http::answer::Answer;
use loopscope_http::capture_request::CaptureRequest;
use loopscope_http::capture_slots::{CapturePermit, CaptureSlots, Full, Holder};
use loopscope_probe::Snapshot;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::registry;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_report::duration::show_ns;
use loopscope_report::profiles::widest::{self, StackShape};
use loopscope_report::profiles::{FlameError, Follower, Format, Of, Profile, Timeline};
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often pages are read for a timeline: at 400,000 callbacks a second, a page is overwritten in this time.
const FOLLOW: Duration = Duration::from_millis(10);

/// How many callback sites are told beside a file.
const SITES_TOLD: usize = 12;

/// A file, and its widest callback sites where it has such.
type Written = (Vec<u8>, Option<String>);

/// Captures, few at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct CaptureService {
    limit: CaptureSlots,
    addresses: AddressSources,
}

impl CaptureService {
    /// `addresses` name frames of stacks that are sampled.
    pub(crate) fn new(addresses: AddressSources) -> CaptureService {
        CaptureService { limit: CaptureSlots::default(), addresses }
    }

    /// Ends a capture early: it answers with what it has.
    pub(crate) fn end(&self, name: &str) -> Answer {
        match self.limit.end(name) {
            true => Answer::text(200, "ended\n"),
            false => Answer::text(404, format!("no capture named {name:?} in progress\n")),
        }
    }

    /// Captures and draws, for `who`.
    pub(crate) async fn run(&self, wish: CaptureRequest, who: String) -> Answer {
        let slot = match self.take(&wish, who) {
            Ok(slot) => slot,
            Err(refusal) => return *refusal,
        };
        if let Some(message) = unknown_loop(&wish) {
            return Answer::text(404, message);
        }
        let written = match (wish.format, wish.of) {
            (Format::Trace, _) => timeline(&wish, &slot).await,
            (_, Of::Callbacks) => callbacks(&wish, &slot).await,
            _ => self.sampled(&wish, &slot).await,
        };
        match written {
            Ok((body, figures)) => Answer::file(wish.format, &file_name(&wish), body).with_figures(figures),
            Err(FlameError::Empty) => Answer::text(404, nothing(&wish)),
            Err(error @ FlameError::NoStacks(_)) => Answer::text(404, format!("{error}\n")),
            Err(error @ FlameError::Unavailable(_)) => Answer::text(501, format!("{error}\n")),
            Err(error) => Answer::text(500, format!("{error}\n")),
        }
    }

    /// Captures processor time for `who`, which pulls profiles all the time. A loop that had nothing to do is no failure
    /// there: the answer is a profile without samples.
    pub(crate) async fn pull(&self, wish: CaptureRequest, who: String) -> Answer {
        let slot = match self.take(&wish, who) {
            Ok(slot) => slot,
            Err(refusal) => return *refusal,
        };
        if let Some(message) = unknown_loop(&wish) {
            return Answer::text(404, message);
        }
        match self.sample(&wish, &slot, |profile| profile.pprof_also_empty()).await {
            Ok(body) => Answer::file(wish.format, &file_name(&wish), body),
            Err(error @ FlameError::Unavailable(_)) => Answer::text(501, format!("{error}\n")),
            Err(error) => Answer::text(500, format!("{error}\n")),
        }
    }

    /// Takes a slot, or says who has them.
    fn take(&self, wish: &CaptureRequest, who: String) -> Result<CapturePermit, Box<Answer>> {
        let what = if wish.format == Format::Trace { "timeline" } else { wish.of.name() };
        let length_ns = wish.seconds.saturating_mul(1_000_000_000);
        let taken = self.limit.take(Holder { name: wish.name.clone(), what, who, length_ns });
        let refusal = |full: Full| Answer::text(503, full.message).retried_after(Some(full.free_in_s));
        taken.map_err(|full| Box::new(refusal(full)))
    }

    async fn sampled(&self, wish: &CaptureRequest, slot: &CapturePermit) -> Result<Written, FlameError> {
        let (asked, mut shapes) = (wish.clone(), shapes());
        let write = move |profile: Profile| {
            let file = profile.write_sampled(asked.format, &title(&asked, profile.lasted_ns))?;
            // Of loops that have ended meanwhile, and of those that have begun.
            shapes.extend(self::shapes());
            Ok((file, figures(&profile, &shapes)))
        };
        self.sample(wish, slot, write).await
    }

    /// Samples, and writes the profile on the session's thread.
    async fn sample<T: Send + 'static>(
        &self,
        wish: &CaptureRequest,
        slot: &CapturePermit,
        write: impl FnOnce(Profile) -> Result<T, FlameError> + Send + 'static,
    ) -> Result<T, FlameError> {
        let length = Duration::from_secs(wish.seconds);
        let plan = Plan { of: wish.of, length, hz: wish.hz, loop_name: wish.loop_name.clone() };
        let (send, mut written) = oneshot::channel();
        // A client that went away drops the session, and with it the receiver.
        let done = move |profile: Result<Profile, FlameError>| drop(send.send(profile.and_then(write)));
        let session = sample::start(plan, self.addresses.clone(), done).map_err(FlameError::Draw)?;
        tokio::select! {
            written = &mut written => return written.unwrap_or_else(|_| Err(panicked())),
            () = slot.wait(length) => {}
        }
        drop(session);
        written.await.unwrap_or_else(|_| Err(panicked()))
    }
}

/// What the frames of loops are, by their names.
type Shapes = HashMap<String, StackShape>;

/// Returns the widest callback sites of a profile.
fn figures(profile: &Profile, shapes: &Shapes) -> Option<String> {
    let sites = widest::sites(&profile.folded(), shapes);
    (!sites.is_empty()).then(|| widest::line(&sites, SITES_TOLD))
}

/// Returns those of the loops that this process has now.
fn shapes() -> Shapes {
    let shape = |entry: &LocalPage| {
        let facts = entry.page().facts();
        (frame_name(entry), StackShape::of(&facts.description))
    };
    registry::pages().iter().map(shape).collect()
}

async fn callbacks(wish: &CaptureRequest, slot: &CapturePermit) -> Result<Written, FlameError> {
    let copies = || snapshots(wish.loop_name.as_deref());
    let (begin_unix_ns, earlier) = (unix_ns(), copies());
    slot.wait(Duration::from_secs(wish.seconds)).await;
    let lasted_ns = slot.lasted_ns();
    let (later, wish) = (copies(), wish.clone());
    elsewhere(move || {
        let mut profile = Profile::between(&earlier, &later);
        profile.begin_unix_ns = begin_unix_ns;
        profile.lasted_ns = lasted_ns;
        let file = profile.write(wish.format, &title(&wish, lasted_ns))?;
        let shapes =
            later.iter().map(|copy| (copy.facts.name.clone(), StackShape::of(&copy.facts.description)));
        Ok((file, figures(&profile, &shapes.collect())))
    })
    .await?
}

async fn timeline(wish: &CaptureRequest, slot: &CapturePermit) -> Result<Written, FlameError> {
    let begin_unix_ns = unix_ns();
    let is_wanted = |page: &LocalPage| wish.loop_name.as_ref().is_none_or(|name| page.is_called(name));
    let mut followed: Vec<(LocalPage, Follower)> = registry::pages()
        .into_iter()
        .filter(is_wanted)
        .map(|page| {
            let follower = Follower::new(page.page(), page.clock(), page.clock().now());
            (page, follower)
        })
        .collect();
    let finished = |(page, follower): (LocalPage, Follower)| {
        follower.finish(page.page(), page.clock().now(), &frame_name(&page))
    };
    let mut tracks = Vec::new();
    let follow = async {
        loop {
            tokio::time::sleep(FOLLOW).await;
            for (page, follower) in &mut followed {
                follower.look(page.page());
            }
            // A page takes one of the places that the process has for them.
            tracks.extend(followed.extract_if(.., |(page, _)| page.page().is_closed()).map(finished));
        }
    };
    tokio::select! {
        () = follow => {}
        () = slot.wait(Duration::from_secs(wish.seconds)) => {}
    }
    let mut timeline = Timeline::new(&process_name(), std::process::id(), begin_unix_ns);
    tracks.extend(followed.into_iter().map(finished));
    tracks.into_iter().for_each(|track| timeline.push(track));
    elsewhere(move || Ok((timeline.trace()?, None))).await?
}

/// Does work that takes long on a thread of its own.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FlameError> {
    let (send, done) = oneshot::channel();
    let run = move || drop(send.send(work()));
    std::thread::Builder::new().name("loopscope-draw".to_owned()).spawn(run).map_err(FlameError::Draw)?;
    done.await.map_err(|_| panicked())
}

fn panicked() -> FlameError {
    FlameError::Draw(io::Error::other("the thread that renders it panicked; see the program's log"))
}

/// Says which loops there are, where the one that was asked for is none of them.
fn unknown_loop(wish: &CaptureRequest) -> Option<String> {
    let name = wish.loop_name.as_ref()?;
    let pages = registry::pages();
    let labels = pages.iter().flat_map(|page| page.runtime_label().into_iter().chain([page.label()]));
    let mut labels: Vec<&str> = labels.collect();
    labels.dedup();
    let list = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
    (!pages.iter().any(|page| page.is_called(name)))
        .then(|| format!("parameter loop: no loop {name:?}; there are: {list}\n"))
}

/// Copies the pages of all loops, or of those that are called so.
fn snapshots(name: Option<&str>) -> Vec<Snapshot> {
    let pages = registry::pages();
    let wanted = pages.iter().filter(|page| name.is_none_or(|name| page.is_called(name)));
    let named = |page: &LocalPage| {
        let mut copy = page.page().snapshot(page.clock());
        copy.facts.name = frame_name(page);
        copy
    };
    wanted.map(named).collect()
}

fn nothing(wish: &CaptureRequest) -> String {
    let what = match wish.of {
        Of::Callbacks | Of::Cpu => "nothing ran",
        Of::Stalls => "no loop stalled",
        Of::Waits => "no busy loop waited",
    };
    format!("nothing to draw: {what} within {} seconds\n", wish.seconds)
}

fn process_name() -> String {
    registry::pages().first().map_or_else(|| "process".to_owned(), |page| page.page().facts().process)
}

fn title(wish: &CaptureRequest, lasted_ns: u64) -> String {
    let of_loop = wish.loop_name.as_ref().map_or(String::new(), |name| format!(", loop {name}"));
    let (of, process, pid) = (wish.of.name(), process_name(), std::process::id());
    format!("{of} of {process} ({pid}{of_loop}) over {}", show_ns(lasted_ns))
}

/// A name for the file, without anything that a shell or a header could stumble over.
fn file_name(wish: &CaptureRequest) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let process: String = process_name().chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let what = if wish.format == Format::Trace { "timeline" } else { wish.of.name() };
    format!("{process}-{}-{what}.{}", std::process::id(), wish.format.ending())
}
