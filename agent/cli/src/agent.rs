//! What an agent is asked over HTTP besides flamegraphs: its incidents and its thresholds.

use crate::error::Failure;
use crate::http;
use loopscope_agent::incident::Incident;
use std::time::Duration;

/// Lists the incidents of the agent at `url`, newest first, without their long parts.
///
/// # Errors
/// Nobody answers there, or not with a list of incidents.
pub fn incidents(url: &str) -> Result<Vec<Incident>, Failure> {
    let body = ask(url, "/debug/loopscope/incidents")?;
    let refused = |because: String| Failure::Remote { url: url.to_owned(), because };
    serde_json::from_slice(&body)
        .map_err(|error| refused(format!("its list of incidents is not as expected: {error}")))
}

/// Returns one incident in full.
///
/// # Errors
/// Nobody answers there, or there is no such incident (any more).
pub fn incident(url: &str, id: &str) -> Result<Incident, Failure> {
    let body = ask(url, &format!("/debug/loopscope/incidents/{id}"))?;
    Incident::parse(&body)
        .map_err(|error| Failure::Remote { url: url.to_owned(), because: error.to_string() })
}

fn ask(url: &str, path: &str) -> Result<Vec<u8>, Failure> {
    let answer = http::get(&format!("{url}{path}"), Duration::ZERO)?;
    let because = match answer.status {
        200 => return Ok(answer.body),
        404 if path.ends_with("/incidents") => {
            "has no incidents page: its agent is older than this command, or it is no loopscope agent"
                .to_owned()
        }
        404 => return Err(Failure::NotFound(format!("{url}: {}", answer.first_line()))),
        status => format!("answered {status}: {}", answer.first_line()),
    };
    Err(Failure::Remote { url: url.to_owned(), because })
}
