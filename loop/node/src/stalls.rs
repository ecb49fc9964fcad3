//! Stalls for JavaScript: what the agent finds is told to every thread that listens, once it is over.

use crate::sys::tell_all;
use loopscope_agent::{Action, Incident};
use serde_json::json;
use std::sync::Arc;

/// What the agent does about an incident.
pub(crate) fn action() -> Action {
    Action::Call(Arc::new(|incident: &Incident| {
        if incident.is_over {
            tell_all(|| json_of(incident));
        }
    }))
}

/// A stall as JavaScript has it: the words of incidents' files, times in milliseconds.
fn json_of(incident: &Incident) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    let guilty = incident.guilty_frame();
    let value = json!({
        "id": incident.id.to_string(),
        "loop": incident.r#loop,
        "kind": incident.kind,
        "severity": incident.severity,
        "cause": incident.cause,
        "phase": incident.phase,
        "culprit": incident.culprit.label,
        "durationMs": ms(incident.duration_ns),
        "beganAt": incident.begin_unix_ns / 1_000_000,
        "function": guilty.map(|frame| &frame.function),
        "place": guilty.and_then(|frame| frame.place()),
        "isFunctionStart": guilty.is_some_and(|frame| frame.is_function_start),
        "summary": incident.summary,
    });
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_agent::Frame;

    #[test]
    fn a_stall_says_how_long_and_which_line() {
        let mut incident = Incident { duration_ns: 250_000_000, ..Incident::default() };
        let (file, line) = (Some("/srv/app.js".to_owned()), Some(7));
        incident.stacks.push(Default::default());
        incident.stacks[0].frames.push(Frame { function: "parse".into(), file, line, ..Frame::default() });
        incident.stacks[0].guilty = Some(0);
        let told: serde_json::Value = serde_json::from_str(&json_of(&incident)).unwrap();
        assert_eq!(told["durationMs"], 250.0);
        assert_eq!((&told["function"], &told["place"]), (&"parse".into(), &"/srv/app.js:7".into()));
        assert_eq!(told["isFunctionStart"], false);
        incident.stacks[0].frames[0].is_function_start = true;
        let told: serde_json::Value = serde_json::from_str(&json_of(&incident)).unwrap();
        assert_eq!((&told["place"], &told["isFunctionStart"]), (&"/srv/app.js:7".into(), &true.into()));
    }
}
