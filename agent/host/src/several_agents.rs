//! What is asked of a process that has several agents, because several versions of loopscope are in it.
//!
//! Each agent watches loops of its own, so a question about a loop is that agent's. Of what is asked about all loops, thresholds
//! and health are joined; anything else is refused with the addresses of the agents, because the answer of one of them would
//! look like that of the process.

use crate::state::Asked;
use loopscope_http::query::{decoded, pairs};
use serde_json::Value;

/// Joins what agents tell of their thresholds: of the first, with the loops of all.
pub(crate) fn joined(told: Vec<Value>) -> Value {
    let loops = told.iter().filter_map(|told| told["loops"].as_array()).flatten().cloned().collect();
    let mut joined = told.into_iter().next().unwrap_or_default();
    if let Some(members) = joined.as_object_mut() {
        members.insert("loops".to_owned(), Value::Array(loops));
    }
    joined
}

/// Returns the agent, of those of one process, that a query means by `loop`; the only one where there is one.
///
/// # Errors
/// The status and the sentence, in one line, that say why none of them is meant.
pub(crate) fn agent_of<'a>(agents: &'a [Asked], query: &str) -> Result<&'a Asked, (u16, String)> {
    let [first, _, ..] = agents else { return agents.first().ok_or_else(no_agent) };
    let process = format!("{} {}", first.pid, first.name);
    let several = |agents: &[&Asked], why: &str| {
        let urls = agents.iter().filter_map(|agent| Some(agent.address.as_ref()?.local().to_string()));
        let urls = urls.collect::<Vec<_>>().join(", ");
        Err((409, format!("{process} has {} agents {why}ask one of {urls}\n", agents.len())))
    };
    let Some((_, name)) = pairs(query).find(|(name, _)| *name == "loop") else {
        return several(&agents.iter().collect::<Vec<_>>(), "with loops of their own: choose by loop=, or ");
    };
    let name = decoded(name);
    let watches = |agent: &&Asked| agent.loops.iter().any(|one| one.is_called(&name));
    let watching: Vec<&Asked> = agents.iter().filter(watches).collect();
    match watching.as_slice() {
        [agent] => Ok(agent),
        [] => {
            let loops = agents.iter().flat_map(|agent| &agent.loops).map(|one| &*one.label);
            let loops = loops.collect::<Vec<_>>().join(", ");
            let message =
                format!("parameter loop: no agent of {process} watches {name:?}; they watch {loops}\n");
            Err((404, message))
        }
        several_agents => several(several_agents, &format!("that watch {name:?}: ")),
    }
}

fn no_agent() -> (u16, String) {
    (404, "no agent that listens\n".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::AskedLoop;
    use loopscope_probe::raw::process_id::ProcessId;
    use serde_json::json;

    fn asked(port: u16, loops: &[(&str, &str, &str)]) -> Asked {
        let of = |(label, name, group): &(&str, &str, &str)| AskedLoop {
            label: (*label).to_owned(),
            name: (*name).to_owned(),
            group: (*group).to_owned(),
            runtime: "mio".to_owned(),
        };
        Asked {
            pid: 7,
            process: ProcessId::new(7, 1, 0, 0),
            name: "shop".to_owned(),
            address: Some(format!("127.0.0.1:{port}").parse().unwrap()),
            socket: None,
            user: None,
            loops: loops.iter().map(of).collect(),
        }
    }

    #[test]
    fn a_loop_is_asked_of_the_agent_that_watches_it() {
        let agents = [
            asked(1, &[("main", "main", ""), ("db/0", "db/0", "db"), ("web", "web", "")]),
            asked(2, &[("two", "two", ""), ("web#2", "web", "")]),
        ];
        let port =
            |query| agent_of(&agents, query).map(|agent| agent.address.clone().unwrap().local().to_string());
        for (query, expected) in
            [("hz=9&loop=two", 2), ("loop=db", 1), ("loop=web%232&loop=x", 2), ("loop=db/0", 1)]
        {
            assert_eq!(port(query), Ok(format!("http://127.0.0.1:{expected}")), "{query}");
        }
        for (query, status, parts) in [
            ("", 409, ["choose by loop=", "http://127.0.0.1:1, http://127.0.0.1:2"]),
            ("loop=web", 409, ["2 agents that watch \"web\"", "http://127.0.0.1:1, http://127.0.0.1:2"]),
            ("loop=x", 404, ["parameter loop", "main, db/0, web, two, web#2"]),
            ("loop=", 404, ["\"\"", "main"]),
        ] {
            let (told, message) = agent_of(&agents, query).unwrap_err();
            assert!(told == status && parts.iter().all(|part| message.contains(part)), "{query}: {message}");
        }
        // The only one says itself what it does not know.
        assert_eq!(agent_of(&agents[..1], "loop=x").unwrap().loops.len(), 3);
        assert_eq!(agent_of(&[], "").unwrap_err().0, 404);
    }

    #[test]
    fn thresholds_of_all_loops_are_those_of_all_agents() {
        let told =
            |name: &str, ns: u64| json!({"warning_ns": ns, "loops": [{"loop": name, "warning_ns": ns}]});
        let joined = joined(vec![told("one", 5), json!({}), told("two", 7)]);
        let loops = [json!({"loop": "one", "warning_ns": 5}), json!({"loop": "two", "warning_ns": 7})];
        assert_eq!(joined, json!({"warning_ns": 5, "loops": loops}));
    }
}
