//! One incident by its id: of the agent that has it, or of a page.
//!
//! Each agent of a process numbers its incidents from 1, so an id without its loop may mean one of each. All are asked then, and
//! which of several is meant is not guessed: the answer is their whole ids.

use crate::service::HostService;
use crate::state::{Asked, Untold};
use hyper::Method;
use hyper::http::request::Parts;
use loopscope_http::answer::Answer;
use loopscope_http::incidents::{self, INCIDENTS};
use loopscope_http::query::decoded;
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_report::incident::Incident;
use std::sync::Arc;

/// An incident that the id may mean.
enum Candidate {
    /// This agent has it, and has answered with it.
    OfAgent(Box<Asked>, Answer),
    OfPage(Arc<Incident>),
}

impl HostService {
    /// Answers with one incident: the agent does that has it, or the page of its process.
    pub(crate) async fn incident(&self, id: &str, request: &Parts) -> Answer {
        let query = request.uri.query().unwrap_or("");
        let Ok(wanted) = decoded(id).parse::<IncidentId>() else {
            return self.incident_of_pages(id, query);
        };
        let mut agents = self.shared.state().agents();
        agents.retain(|agent| agent.address.is_some() && wanted.process().agrees_with(agent.process));
        let process = agents.first().map(|agent| agent.process);
        let (mut found, mut refusal) = (Vec::new(), None);
        for agent in agents {
            let target = format!("{INCIDENTS}/{id}?{query}");
            let answer = self.hand_over(&agent, &Method::GET, &target).await;
            let because = match answer.status {
                200 => {
                    found.push(Candidate::OfAgent(Box::new(agent), answer));
                    continue;
                }
                // Another agent of the process may have it.
                404 => {
                    refusal = refusal.or(Some(answer));
                    continue;
                }
                401 | 403 => "its agent refuses this server",
                502 => "its agent does not answer",
                _ => return answer,
            };
            // The list may have had it from the page.
            match self.incident_in_place(&agent, wanted, because) {
                Some(incident) => found.push(Candidate::OfPage(incident)),
                // This agent may have it, which the 404 of another one does not rule out.
                None => refusal = Some(answer),
            }
        }
        match found.len() {
            0 => {
                let of_page = self.incident_of_pages(id, query);
                refusal.filter(|_| of_page.status == 404).unwrap_or(of_page)
            }
            _ => {
                self.add_pages_of(process, wanted, &mut found);
                self.only_one(id, query, found).await
            }
        }
    }

    /// Answers with the incident that a page tells.
    pub(crate) fn incident_of_pages(&self, id: &str, query: &str) -> Answer {
        let mut told = decoded(id).parse().map(|id| self.told_by_pages(id)).unwrap_or_default();
        let process = told.first().map(|first| first.process_id());
        told.retain(|incident| Some(incident.process_id()) == process);
        match told.as_slice() {
            [_, _, ..] => ambiguous(id, told.iter().map(|incident| incident.identity())),
            _ => self.guarded(|| incidents::one(id, query, |_| told.pop())),
        }
    }

    /// Returns the incidents that pages tell and that the id may mean.
    fn told_by_pages(&self, id: IncidentId) -> Vec<Arc<Incident>> {
        let mut told = self.shared.state().incidents_of_pages();
        told.retain(|incident| incident.identity().agrees_with(id));
        told
    }

    /// Adds what pages of the process tell and the id may mean: those of its loops that no agent watches.
    fn add_pages_of(&self, process: Option<ProcessId>, id: IncidentId, found: &mut Vec<Candidate>) {
        for incident in self.told_by_pages(id) {
            let is_same = |known: &Candidate| match known {
                Candidate::OfPage(known) => known.identity() == incident.identity(),
                Candidate::OfAgent(..) => false,
            };
            if process == Some(incident.process_id()) && !found.iter().any(is_same) {
                found.push(Candidate::OfPage(incident));
            }
        }
    }

    fn incident_in_place(&self, agent: &Asked, wanted: IncidentId, because: &str) -> Option<Arc<Incident>> {
        let untold = Untold::of(agent, Some(because));
        let (found, _) = self.shared.state().in_place_of_agents(&[untold]);
        found.into_iter().find(|incident| incident.identity().agrees_with(wanted))
    }

    /// Answers with the only candidate; where there are several, with what each is called.
    async fn only_one(&self, id: &str, query: &str, mut found: Vec<Candidate>) -> Answer {
        if found.len() > 1 {
            let mut ids = Vec::new();
            for candidate in &found {
                ids.extend(self.identity(candidate, id).await.filter(|identity| !ids.contains(identity)));
            }
            if ids.len() > 1 {
                return ambiguous(id, ids.into_iter());
            }
            // An agent that has stopped since, and its page, tell the same one.
            found.sort_by_key(|candidate| matches!(candidate, Candidate::OfAgent(..)));
        }
        match found.pop() {
            Some(Candidate::OfAgent(_, answer)) => answer,
            Some(Candidate::OfPage(incident)) => {
                self.guarded(|| incidents::one(id, query, |_| Some(incident)))
            }
            None => self.guarded(|| incidents::one(id, query, |_| None)),
        }
    }

    /// Returns which incident it is; `None` where its agent does not say so any more. What was answered may be a drawing.
    async fn identity(&self, candidate: &Candidate, id: &str) -> Option<IncidentId> {
        let agent = match candidate {
            Candidate::OfPage(incident) => return Some(incident.identity()),
            Candidate::OfAgent(agent, _) => agent,
        };
        let answer = self.hand_over(agent, &Method::GET, &format!("{INCIDENTS}/{id}")).await;
        let identity = Incident::parse(answer.body()).ok()?.identity();
        // An agent speaks for its own process only.
        Some(identity).filter(|identity| identity.process().agrees_with(agent.process))
    }
}

/// Says which incidents are called so, in one line: commands show the first.
fn ambiguous(id: &str, meant: impl Iterator<Item = IncidentId>) -> Answer {
    let ids: Vec<String> = meant.map(|id| id.short_with_loop().to_string()).collect();
    let message = format!(
        "`{}` means several incidents of one process; give the whole id: {}\n",
        decoded(id),
        ids.join(", ")
    );
    Answer::text(409, message)
}
