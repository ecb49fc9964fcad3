//! The incidents of a whole host as one list: the agents', and what pages of the dead tell.

use crate::host::forward::{Forwards, NoAnswer, Question};
use crate::host::state::Asked;
use crate::incident::Incident;
use crate::web::incidents::INCIDENTS;
use hyper::Method;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The newest so many are listed.
const LISTED_MAX: usize = 1_000;

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
            asking.spawn(async move { list_of(&forwards, &process).await });
        }
        match asking.join_next().await {
            None => break,
            Some(Ok(Ok(incidents))) => {
                gathered.answered += 1;
                gathered.incidents.extend(incidents);
            }
            Some(Ok(Err(NoAnswer::Full))) => gathered.dropped += 1,
            Some(_) => gathered.failed += 1,
        }
        // One with many processes must not hold all their lists.
        if gathered.incidents.len() > 4 * LISTED_MAX {
            gathered.cut();
        }
    }
    gathered.cut();
    gathered
}

impl Gathered {
    fn cut(&mut self) {
        self.incidents.sort_by_key(|incident| Reverse((incident.begin_unix_ns, incident.number())));
        self.incidents.truncate(LISTED_MAX);
    }
}

async fn list_of(forwards: &Forwards, process: &Asked) -> Result<Vec<Incident>, NoAnswer> {
    let question = Question { process, method: Method::GET, target: INCIDENTS };
    let answer = forwards.ask(&question, PATIENCE).await?;
    let list = Some(&answer.body).filter(|_| answer.status == 200);
    list.and_then(|body| serde_json::from_slice(body).ok())
        .ok_or_else(|| NoAnswer::Failed(format!("the agent of {} has no list of incidents", process.pid)))
}

/// Returns the pid that an incident's id begins with.
pub(crate) fn pid_of(id: &str) -> Option<u32> {
    id.split_once('-')?.0.parse().ok()
}
