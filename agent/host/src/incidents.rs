//! The incidents of a whole host as one list: the agents', and what pages of the dead tell.
//!
//! An agent may be any program of any user, and what it answers is input. It speaks for its own process only; how much
//! of its list is read is bounded in bytes, incidents and parts of each; and where there are more than are listed, each
//! process has its share.

use crate::forward::{ForwardError, ForwardRequest, Forwarded, Forwards, Wanted};
use crate::state::{Asked, Untold};
use hyper::Method;
use loopscope_http::incidents::INCIDENTS;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_report::incident::Incident;
use serde::de::IgnoredAny;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The newest so many are listed.
const LISTED_MAX: usize = 1_000;

/// Most bytes of an agent's list that are read. It is newest first and has 1 to 3 KiB for each incident: what is cut off
/// are the oldest of hundreds.
const LIST_BYTES_MAX: usize = 1 << 20;

/// An incident of a list that is longer than this many bytes is not one of ours: a long one has some 20 KiB.
const LISTED_BYTES_MAX: usize = 64 << 10;

/// So many groups, spans and stacks an incident of ours has at most; of notes, more are not listed. Without a bound, three
/// bytes of a list (`{},`) would be over a hundred in memory.
const PARTS_MAX: usize = 16;

/// An incident that begins further in the future than this many nanoseconds has no time that could be believed.
const AHEAD_NS_MAX: u64 = 1_000_000_000;

/// Time for one agent to answer with its list.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many agents are asked at once.
const ASKED_AT_ONCE: usize = 16;

/// What came together.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Newest first, without their long parts.
    pub incidents: Vec<Incident>,
    pub answered: u64,
    /// Agents that did not answer, or not with a list.
    pub failed: u64,
    pub dropped: u64,
    /// Agents that told nothing: what the pages of their loops tell is to be added.
    pub untold: Vec<Untold>,
}

/// Asks the agents of all these processes, and adds what the pages tell.
pub(crate) async fn gather(forwards: &Forwards, asked: Vec<Asked>, of_pages: Vec<Arc<Incident>>) -> Gathered {
    let mut gathered = Gathered::default();
    gathered.incidents.extend(of_pages.iter().map(|incident| incident.brief()));
    let mut waiting = asked.into_iter().filter(|process| process.address.is_some());
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < ASKED_AT_ONCE
            && let Some(process) = waiting.next()
        {
            let forwards = forwards.clone();
            asking.spawn(async move {
                let list = list_of(&forwards, &process).await;
                (process, list)
            });
        }
        match asking.join_next().await {
            None => break,
            Some(Ok((_, Ok(incidents)))) => {
                gathered.answered += 1;
                gathered.incidents.extend(incidents);
            }
            Some(Ok((process, Err(why)))) => gathered.note_untold(&process, &why),
            // A panic in reading a list.
            Some(Err(_)) => gathered.failed += 1,
        }
        // One with many processes must not hold all their lists.
        if gathered.incidents.len() > 4 * LISTED_MAX {
            gathered.cut(unix_ns());
        }
    }
    gathered.cut(unix_ns());
    Incident::name_all(&mut gathered.incidents.iter_mut().collect::<Vec<_>>());
    gathered
}

impl Gathered {
    fn note_untold(&mut self, process: &Asked, why: &ForwardError) {
        let because = match why {
            ForwardError::Full => None,
            ForwardError::Failed(because) => Some(because.as_str()),
        };
        *(if because.is_some() { &mut self.failed } else { &mut self.dropped }) += 1;
        self.untold.push(Untold::of(process, because));
    }

    /// Adds what pages tell of processes whose agents told nothing. Where an agent stopped meanwhile, its pages may have told
    /// it before.
    pub(crate) fn add(&mut self, mut of_pages: Vec<Arc<Incident>>) {
        let known: HashSet<IncidentId> = self.incidents.iter().map(Incident::identity).collect();
        of_pages.retain(|incident| !known.contains(&incident.identity()));
        if !of_pages.is_empty() {
            self.incidents.extend(of_pages.iter().map(|incident| incident.brief()));
            self.cut(unix_ns());
            Incident::name_all(&mut self.incidents.iter_mut().collect::<Vec<_>>());
        }
    }

    /// Sorts, and keeps the newest. Where there are too many, every process has the same share of them: one that makes up
    /// thousands does not push out the others'.
    fn cut(&mut self, now_unix_ns: u64) {
        sort(&mut self.incidents, now_unix_ns);
        if self.incidents.len() <= LISTED_MAX {
            return;
        }
        let mut counts: HashMap<u32, usize> = HashMap::new();
        let mut place = |incident: &Incident| {
            let count = counts.entry(incident.pid).or_default();
            *count += 1;
            *count
        };
        let mut placed: Vec<(usize, Incident)> =
            self.incidents.drain(..).map(|incident| (place(&incident), incident)).collect();
        // Among equals the newest stay first.
        placed.sort_by_key(|(place, _)| *place);
        self.incidents.extend(placed.into_iter().take(LISTED_MAX).map(|(_, incident)| incident));
        sort(&mut self.incidents, now_unix_ns);
    }
}

/// Sorts incidents, the newest first; those of the future come last. They are kept, because a clock can be set back.
fn sort(incidents: &mut [Incident], now_unix_ns: u64) {
    let latest = now_unix_ns.saturating_add(AHEAD_NS_MAX);
    incidents.sort_by_key(|incident| {
        let begin = Some(incident.begin_unix_ns).filter(|begin| *begin <= latest);
        Reverse((begin, incident.number()))
    });
}

async fn list_of(forwards: &Forwards, process: &Asked) -> Result<Vec<Incident>, ForwardError> {
    let wanted = Wanted::Beginning(LIST_BYTES_MAX);
    let question = ForwardRequest { process, method: Method::GET, target: INCIDENTS, wanted };
    let answer = forwards.ask(&question, PATIENCE).await?;
    let list = Some(&answer.body).filter(|_| answer.status == 200);
    list.and_then(|body| read_list(body, process.process))
        .ok_or_else(|| ForwardError::Failed(no_list(&answer)))
}

/// Says why an answer is no list of incidents.
fn no_list(answer: &Forwarded) -> String {
    let told = String::from_utf8_lossy(&answer.body);
    let told = told.lines().next().unwrap_or_default();
    match answer.status {
        401 | 403 => format!("its agent refuses this server: {told}"),
        200 => "its agent has no list of incidents".to_owned(),
        status => format!("its agent answers {status}: {told}"),
    }
}

/// Reads the list of this process, which may be cut off; `None` where it is no list. What is not an incident of that very
/// process is left out.
fn read_list(json: &[u8], process: ProcessId) -> Option<Vec<Incident>> {
    let read = |element: &[u8]| {
        let element = Some(element).filter(|element| element.len() <= LISTED_BYTES_MAX)?;
        let incident = Incident::parse(element).ok()?;
        incident.process_id().agrees_with(process).then(|| bounded(incident))
    };
    Some(elements(json)?.take(LISTED_MAX).filter_map(read).collect())
}

/// Returns the elements of a JSON array, as far as they are complete; `None` where it is no array.
fn elements(json: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let mut rest = json.trim_ascii_start().strip_prefix(b"[")?;
    Some(std::iter::from_fn(move || {
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let (element, after) = rest.split_at(values.byte_offset());
        rest = after.trim_ascii_start().strip_prefix(b",").unwrap_or_default();
        Some(element)
    }))
}

/// Takes from an incident what a list does not have, and what no incident of ours has so many of.
fn bounded(mut incident: Incident) -> Incident {
    incident.groups.truncate(PARTS_MAX);
    incident.spans.truncate(PARTS_MAX);
    incident.notes.truncate(PARTS_MAX);
    incident.captures_failed.truncate(PARTS_MAX);
    incident.stacks.truncate(PARTS_MAX);
    for stack in &mut incident.stacks {
        stack.ages_ns.truncate(PARTS_MAX);
    }
    // A copy, because what was cut off keeps its memory.
    incident.brief()
}

#[cfg(test)]
#[path = "incidents_tests.rs"]
mod tests;
