//! Incidents over HTTP: a list without their long parts, and each in full.

use crate::answer::Answer;
use crate::query::{decoded, is_of_drawing, pairs};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::incident::Incident;
use loopscope_report::profiles;
use loopscope_report::profiles::{FlameError, Format};
use std::sync::Arc;

/// Where the list is; an incident is below it, by its id.
pub const INCIDENTS: &str = "/debug/loopscope/incidents";

/// What a request for one incident is counted as.
pub const INCIDENT: &str = "/debug/loopscope/incidents/ID";

/// Returns the id that a path asks for; `None` for a path of something else.
pub fn id_of(path: &str) -> Option<&str> {
    path.strip_prefix(INCIDENTS)?.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'))
}

/// Answers with the list, newest first: a JSON array.
pub fn list(incidents: &[Arc<Incident>]) -> Answer {
    let briefs: Vec<_> = incidents.iter().map(|incident| incident.brief()).collect();
    Answer::json(serde_json::to_vec(&briefs).unwrap_or_default())
}

/// Answers with one incident, which `find` has: in full as JSON, or drawn, or as a timeline.
pub fn one(id: &str, query: &str, find: impl FnOnce(IncidentId) -> Option<Arc<Incident>>) -> Answer {
    let mut format = None;
    for (name, value) in pairs(query) {
        match (name, Format::from_name(value)) {
            ("format", Some(known)) => format = Some(known),
            ("format", None) if value == "json" => format = None,
            (name, _) if is_of_drawing(name) => {}
            _ => {
                let formats = Format::ALL.map(Format::name).join(", ");
                let message = format!(
                    "parameter {name}={value}: the only parameter is format, one of json, {formats}\n"
                );
                return Answer::text(400, message);
            }
        }
    }
    let id = decoded(id);
    let Some(incident) = id.parse().ok().and_then(find) else {
        let message = format!("no incident {id:?} in memory; {INCIDENTS} lists all\n");
        return Answer::text(404, message);
    };
    match format {
        None => Answer::json(incident.to_json()),
        Some(format) => drawn(&incident, format),
    }
}

fn drawn(incident: &Incident, format: Format) -> Answer {
    match profiles::of_incident(incident, format) {
        Ok(body) => {
            Answer::file(format, &format!("incident-{}.{}", incident.id.short(), format.ending()), body)
        }
        Err(FlameError::Empty) => {
            Answer::text(404, format!("incident {} cannot be drawn as {}\n", incident.id, format.name()))
        }
        Err(error) => Answer::text(500, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_drawn_or_said_to_have_nothing_to_draw() {
        let mut incident = Incident {
            id: "7-1".parse().unwrap(),
            r#loop: "main".into(),
            duration_ns: 1_000_000,
            ..Incident::default()
        };
        assert_eq!(drawn(&incident, Format::Folded).status, 200);
        assert_eq!(drawn(&incident, Format::Trace).status, 404);
        incident.duration_ns = 0;
        assert_eq!(drawn(&incident, Format::Svg).status, 404);
    }

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
