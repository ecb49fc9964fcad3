//! Identities from end to end: how a process, its loops, its agent's address and its incidents are called, by every command
//! that prints or takes one, directly and through a server of the host.
//!
//! {TCP, TLS, socket file} x {with an agent, page only, killed} x {one loop, two of one name, a name with `/ ? #` and
//! spaces}. An address that is printed can be used, an id that is listed can be opened, and all call the same thing
//! by one name.

#[path = "matrix/checks.rs"]
mod checks;
#[path = "matrix/command.rs"]
mod command;
#[path = "matrix/fixture.rs"]
mod fixture;
#[path = "matrix/time_namespace.rs"]
mod time_namespace;

use fixture::{Transport, World};
use std::thread;

/// Starts one transport's processes once, and checks them side by side.
fn check(transport: Transport) {
    if command::program().is_none() {
        println!(
            "skipped: identities over {transport:?}: the command is not built: cargo build -p loopscope"
        );
        return;
    }
    let world = World::start(transport);
    let failures: Vec<String> = thread::scope(|scope| {
        let checks: Vec<_> =
            world.cells.iter().map(|cell| (cell, scope.spawn(|| checks::check(&world, cell)))).collect();
        let told = checks.into_iter().flat_map(|(cell, check)| {
            let who = format!("{transport:?}, {:?}, {:?}", cell.mode, cell.names);
            check.join().unwrap().into_iter().map(move |failure| format!("{who}: {failure}"))
        });
        told.collect()
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_identity_is_usable_over_tcp() {
    check(Transport::Tcp);
}

#[test]
fn every_identity_is_usable_over_tls() {
    check(Transport::Tls);
}

#[test]
fn every_identity_is_usable_over_socket_files() {
    check(Transport::SocketFile);
}

/// Its start time is another one to whoever asks from outside, and so is its clock; its page's lock tells that it lives.
#[test]
fn a_process_in_a_time_namespace_of_its_own_lives() {
    if command::program().is_none() || !time_namespace::is_possible() {
        println!("skipped: another time namespace: the command is not built, or the kernel permits none");
        return;
    }
    time_namespace::check();
}
