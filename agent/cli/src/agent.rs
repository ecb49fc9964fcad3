//! What an agent is asked over HTTP besides flamegraphs: its incidents and its thresholds.

use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::http;
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::incident::Incident;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Lists the incidents of the agent at `endpoint`, newest first, without their long parts.
///
/// # Errors
/// Nobody answers there, or not with a list of incidents.
pub fn incidents(endpoint: &Endpoint) -> Result<Vec<Incident>, Failure> {
    let body = ask(endpoint, "/debug/loopscope/incidents")?;
    let refused = |because: String| Failure::Remote { url: endpoint.to_string(), because };
    let all: Vec<Incident> = serde_json::from_slice(&body)
        .map_err(|error| refused(format!("cannot parse its list of incidents: {error}")))?;
    Ok(all.into_iter().filter(Incident::is_identified).collect())
}

/// Returns one incident in full.
///
/// # Errors
/// Nobody answers there, or there is no such incident (any more).
pub fn incident(endpoint: &Endpoint, id: IncidentId) -> Result<Incident, Failure> {
    let body = ask(endpoint, &format!("/debug/loopscope/incidents/{id}"))?;
    Incident::parse(&body)
        .map_err(|error| Failure::Remote { url: endpoint.to_string(), because: error.to_string() })
}

/// Stall thresholds as an agent tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Those of loops that have none of their own, in nanoseconds.
    pub warning_ns: u64,
    pub critical_ns: u64,
    pub loops: Vec<LoopThresholds>,
}

/// Those of one loop, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopThresholds {
    /// The loop's label in the metrics.
    pub r#loop: String,
    /// Its name, which several loops may share.
    pub name: String,
    /// The label of the runtime that it is a worker of; empty for a loop by itself.
    #[serde(default)]
    pub group: String,
    pub warning_ns: u64,
    pub critical_ns: u64,
}

impl LoopThresholds {
    /// Tells whether this is the loop, or a worker of the runtime, that a person calls `name`.
    pub fn is_called(&self, name: &str) -> bool {
        self.r#loop == name || self.name == name || (!self.group.is_empty() && self.group == name)
    }
}

/// What is to be changed; `None` leaves it as it is, and no name means all loops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    pub loop_name: Option<&'a str>,
    pub warning: Option<Duration>,
    pub critical: Option<Duration>,
}

impl Change<'_> {
    /// Tells whether the loop is, or was, to be changed.
    pub fn is_of(&self, entry: &LoopThresholds) -> bool {
        self.loop_name.is_none_or(|name| entry.is_called(name))
    }

    fn query(&self) -> String {
        // Agents of before read no `ns` and no `µs`.
        let us = |duration: Duration| format!("{}us", duration.as_micros());
        let parts = [
            self.loop_name.map(|name| format!("loop={}", encoded(name))),
            self.warning.map(|duration| format!("warning={}", us(duration))),
            self.critical.map(|duration| format!("critical={}", us(duration))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

/// Writes a text as a value in a URL.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let of = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(of).collect()
}

const THRESHOLDS: &str = "/debug/loopscope/thresholds";

/// Returns the stall thresholds of the process whose agent is at `endpoint`.
///
/// # Errors
/// Nobody answers there, or not with thresholds.
pub fn thresholds(endpoint: &Endpoint) -> Result<Thresholds, Failure> {
    read_thresholds(endpoint, &http::get(endpoint, THRESHOLDS, Duration::ZERO)?)
}

/// Changes thresholds. Returns what they are now.
///
/// # Errors
/// Nobody answers there, or the agent refuses, and says why.
pub fn set_thresholds(endpoint: &Endpoint, change: &Change<'_>) -> Result<Thresholds, Failure> {
    read_thresholds(endpoint, &http::post(endpoint, &format!("{THRESHOLDS}?{}", change.query()))?)
}

fn read_thresholds(endpoint: &Endpoint, answer: &http::Answer) -> Result<Thresholds, Failure> {
    let because = match answer.status {
        200 => match serde_json::from_slice(&answer.body) {
            Ok(thresholds) => return Ok(thresholds),
            Err(error) => format!("cannot parse its thresholds: {error}"),
        },
        404 => "has no thresholds endpoint: its agent is older than this command, or not a loopscope agent"
            .to_owned(),
        409 => return Err(Failure::Ambiguous(format!("{endpoint}: {}", answer.first_line()))),
        _ => format!("refused: {}", answer.first_line()),
    };
    Err(Failure::Remote { url: endpoint.to_string(), because })
}

fn ask(endpoint: &Endpoint, path: &str) -> Result<Vec<u8>, Failure> {
    let answer = http::get(endpoint, path, Duration::ZERO)?;
    let because = match answer.status {
        200 => return Ok(answer.body),
        404 if path.ends_with("/incidents") => {
            "has no incidents endpoint: its agent is older than this command, or not a loopscope agent"
                .to_owned()
        }
        404 => return Err(Failure::NotFound(format!("{endpoint}: {}", answer.first_line()))),
        409 => return Err(Failure::Ambiguous(format!("{endpoint}: {}", answer.first_line()))),
        status => format!("answered {status}: {}", answer.first_line()),
    };
    Err(Failure::Remote { url: endpoint.to_string(), because })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_written_as_the_agent_reads_it() {
        let change =
            Change { loop_name: Some("a b&c"), warning: Some(Duration::from_millis(50)), critical: None };
        assert_eq!(change.query(), "loop=a%20b%26c&warning=50000us");
        assert_eq!(Change::default().query(), "");
    }

    #[test]
    fn a_refusal_is_told_in_the_agents_words() {
        let answer =
            |status, body: &str| http::Answer { status, body: body.as_bytes().to_vec(), figures: None };
        let told = |status, body| {
            read_thresholds(&Endpoint::given("u"), &answer(status, body)).unwrap_err().to_string()
        };
        assert_eq!(told(400, "too low\nmore"), "u: refused: too low");
        assert!(told(404, "").contains("older than this command"));
        assert!(told(200, "[]").contains("cannot parse its thresholds"));
        let good = r#"{"warning_ns":1,"critical_ns":2,"loops":[{"loop":"w#2","name":"w","warning_ns":3,"critical_ns":4}]}"#;
        let thresholds = read_thresholds(&Endpoint::given("u"), &answer(200, good)).unwrap();
        assert!(thresholds.loops[0].is_called("w") && thresholds.loops[0].is_called("w#2"));
    }
}
