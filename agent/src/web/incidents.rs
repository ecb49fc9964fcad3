//! Incidents over HTTP: a list without their long parts, and each in full.

use crate::web::Backend;
use crate::web::answer::Answer;
use crate::web::query::pairs;

/// Where the list is; an incident is below it, by its id.
pub(crate) const INCIDENTS: &str = "/debug/loopscope/incidents";

/// What a request for one incident is counted as.
pub(crate) const INCIDENT: &str = "/debug/loopscope/incidents/ID";

/// Returns the id that a path asks for; `None` for a path of something else.
pub(crate) fn id_of(path: &str) -> Option<&str> {
    path.strip_prefix(INCIDENTS)?.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'))
}

/// Answers with the list: a JSON array, newest first.
pub(crate) fn list(backend: &dyn Backend) -> Answer {
    let briefs: Vec<_> = backend.incidents().iter().map(|incident| incident.brief()).collect();
    Answer::json(serde_json::to_vec(&briefs).unwrap_or_default())
}

/// Answers with one incident in full.
pub(crate) fn one(id: &str, query: &str, backend: &dyn Backend) -> Answer {
    if let Some((name, value)) = pairs(query).find(|pair| *pair != ("format", "json")) {
        return Answer::text(400, format!("parameter {name}={value}: there is only format=json\n"));
    }
    match backend.incident(id) {
        Some(incident) => Answer::json(incident.to_json()),
        None => {
            let message = format!("there is no incident {id:?} in memory; {INCIDENTS} has those there are\n");
            Answer::text(404, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_comes_after_the_list() {
        assert_eq!(id_of("/debug/loopscope/incidents/4711-3"), Some("4711-3"));
        for path in
            ["/debug/loopscope/incidents", "/debug/loopscope/incidents/", "/debug/loopscope/incidentsx/1"]
        {
            assert_eq!(id_of(path), None, "{path}");
        }
        assert_eq!(id_of("/debug/loopscope/incidents/1/2"), None);
    }
}
