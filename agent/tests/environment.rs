//! The environment of a program decides where its agent answers, unless the program's code declared that fixed. The environment
//! is a process's own, so each case is one.

use loopscope_agent::{Agent, Listen, Setting};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

/// Names the case.
const CASE: &str = "LOOPSCOPE_TEST_ENVIRONMENT";

fn any_port() -> Listen {
    Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn start(case: &str) {
    let builder = match case {
        "code's choice" => Agent::builder().listen(any_port()),
        "fixed" => Agent::builder().listen(any_port()).fixed(&[Setting::Listen, Setting::TokenFile]),
        _ => Agent::builder(),
    };
    match builder.start() {
        Ok(agent) => println!("answers at {}", agent.url().unwrap_or("nowhere")),
        // As a program prints it that hands it out of `main`.
        Err(error) => println!("error: {error:?}"),
    }
}

/// Returns what an agent in such an environment says of itself.
fn run(case: &str, variables: &[(&str, &str)]) -> String {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "the_environment_decides_what_code_did_not_fix", "--nocapture"]).env(CASE, case);
    let output = program.envs(variables.iter().copied()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_environment_decides_what_code_did_not_fix() {
    if let Ok(case) = std::env::var(CASE) {
        return start(&case);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (case, variables, part) in [
        ("code's choice", &[("LOOPSCOPE_LISTEN", "off")][..], "answers at nowhere"),
        (
            "fixed",
            &[("LOOPSCOPE_LISTEN", "off"), ("LOOPSCOPE_TOKEN_FILE", "/nowhere")],
            "answers at http://127.0.0.1:",
        ),
        // A port that was asked for is not exchanged for another one.
        ("default", &[("LOOPSCOPE_LISTEN", &address)], "in use"),
        (
            "default",
            &[("LOOPSCOPE_LISTEN", "of")],
            "error: LOOPSCOPE_LISTEN=of is not valid; expected: ADDRESS:PORT",
        ),
        (
            "default",
            &[("LOOPSCOPE_LISTEN", "0"), ("LOOPSCOPE_TOKEN_FILE", "/nowhere")],
            "error: the token file /nowhere cannot be read: No such file or directory (os error 2) \
             (set by LOOPSCOPE_TOKEN_FILE)",
        ),
        ("default", &[("LOOPSCOPE_LISTEN", "unix:/nowhere/a.sock")], "(set by LOOPSCOPE_LISTEN)"),
        ("default", &[("LOOPSCOPE_LISTEN", "")], "answers at http://127.0.0.1:"),
    ] {
        let said = run(case, variables);
        assert!(said.contains(part), "{case} with {variables:?}: {said}");
    }
}
