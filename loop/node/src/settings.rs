//! What the environment of a program asks of the agent in it: a program that is watched without a change has no other place.

use loopscope_agent::{AgentBuilder, Listen};
use std::net::SocketAddr;
use std::time::Duration;

/// `127.0.0.1:9464`, `unix:/path` or `off`; the first free port from 9464 on otherwise.
pub const LISTEN: &str = "LOOPSCOPE_LISTEN";
/// Where incidents are written; nowhere otherwise.
pub const INCIDENTS_DIRECTORY: &str = "LOOPSCOPE_INCIDENTS_DIR";
/// From when on a loop that does not poll is told, in milliseconds: 100 otherwise.
pub const WARNING_MS: &str = "LOOPSCOPE_WARNING_MS";

/// How much longer than the warning a critical stall is.
const CRITICAL_FACTOR: u32 = 10;

/// Applies what the environment says. Returns the lines about what of it means nothing.
pub fn apply(
    mut builder: AgentBuilder,
    variable: impl Fn(&str) -> Option<String>,
) -> (AgentBuilder, Vec<String>) {
    let mut unknown = Vec::new();
    if let Some(text) = variable(LISTEN) {
        match listen(&text) {
            Some(listen) => builder = builder.listen(listen),
            None => unknown.push(format!("{LISTEN}={text} is no address, unix:/path or off")),
        }
    }
    if let Some(text) = variable(WARNING_MS) {
        match text.parse().ok().filter(|ms| *ms >= 2) {
            Some(ms) => {
                let warning = Duration::from_millis(ms);
                builder = builder.thresholds(warning, warning.saturating_mul(CRITICAL_FACTOR));
            }
            None => unknown.push(format!("{WARNING_MS}={text} is no number of milliseconds from 2 on")),
        }
    }
    if let Some(directory) = variable(INCIDENTS_DIRECTORY).filter(|directory| !directory.is_empty()) {
        builder = builder.incidents_dir(directory);
    }
    (builder, unknown)
}

fn listen(text: &str) -> Option<Listen> {
    match (text, text.strip_prefix("unix:")) {
        ("off", _) => Some(Listen::Nowhere),
        (_, Some(path)) if path.starts_with('/') => Some(Listen::Unix(path.into())),
        _ => text.parse::<SocketAddr>().ok().map(Listen::Exactly),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_they_look_like() {
        let address: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        for (text, expected) in [
            ("127.0.0.1:7000", Some(Listen::Exactly(address))),
            ("unix:/run/app.sock", Some(Listen::Unix("/run/app.sock".into()))),
            ("off", Some(Listen::Nowhere)),
            ("unix:app.sock", None),
            ("7000", None),
            ("", None),
        ] {
            assert_eq!(listen(text), expected, "{text}");
        }
    }

    #[test]
    fn what_means_nothing_is_said() {
        let variable = |name: &str| match name {
            LISTEN => Some("nowhere".to_owned()),
            WARNING_MS => Some("1".to_owned()),
            _ => None,
        };
        let (_, unknown) = apply(loopscope_agent::Agent::builder(), variable);
        assert_eq!(unknown.len(), 2, "{unknown:?}");
    }
}
