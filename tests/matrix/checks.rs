//! What must hold of one process, whichever command is asked, by whichever name.

use super::command::program;
use super::fixture::{Cell, Mode, Transport, World};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What went wrong, a sentence each.
type Failures = Vec<String>;

/// Runs everything for one process.
pub fn check(world: &World, cell: &Cell) -> Failures {
    let mut failures = Vec::new();
    let mut note = |what: &str, result: Result<(), String>| {
        if let Err(because) = result {
            failures.push(format!("{what}: {because}"));
        }
    };
    let pid = cell.pid().to_string();
    note("ls and top", listed(world, cell));
    let addresses = addresses(world, cell);
    let mut targets = vec![pid.clone(), cell.name()];
    match &addresses {
        Err(because) => note("address", Err(because.clone())),
        Ok(addresses) => {
            for address in addresses {
                note("healthy", world.run(&["healthy", address]).expect(&[0]).map(drop));
            }
            targets.extend(addresses.iter().cloned());
        }
    }
    let locals = targets.clone();
    targets.push(world.server.clone());
    if world.transport != Transport::SocketFile {
        targets.push(format!("{}/process/{pid}", world.server));
    }
    for target in &targets {
        note(&format!("incidents {target}"), incidents(world, cell, target));
    }
    for target in locals {
        note(&format!("printed by incidents {target}"), printed(world, &["incidents", &target]));
        if cell.mode != Mode::Killed {
            note(&format!("doctor {target}"), doctor(world, cell, &target));
            note(&format!("threshold {target}"), threshold(world, cell, &target));
        }
    }
    if world.transport != Transport::SocketFile {
        let target = format!("{}/process/{pid}", world.server);
        note("printed through serve", printed(world, &["incidents", &target]));
        if cell.mode != Mode::Killed {
            note("threshold through serve", threshold(world, cell, &target));
        }
    }
    failures
}

/// `ls` and `top` call process and loops by the same names, and speak one schema.
fn listed(world: &World, cell: &Cell) -> Result<(), String> {
    let mut told = Vec::new();
    for command in [&["ls", "--json"][..], &["top", "--once", "--json", "--every", "100ms"]] {
        let view = world.json(command)?;
        let process = process(&view, cell)?;
        let is_alive = cell.mode != Mode::Killed;
        if process["is_alive"] != is_alive {
            return Err(format!(
                "{command:?} says is_alive {} of a process that is {:?}",
                process["is_alive"], cell.mode
            ));
        }
        let loops = process["loops"].as_array().ok_or("no list of loops")?;
        let names: Vec<&str> = loops.iter().filter_map(|entry| entry["name"].as_str()).collect();
        if names != cell.labels() {
            return Err(format!("{command:?} calls the loops {names:?}"));
        }
        let fields = |value: &Value| -> BTreeSet<String> {
            value.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
        };
        told.push((fields(&view), fields(process), fields(&loops[0]), fields(&loops[0]["state"])));
    }
    match told[0] == told[1] {
        true => Ok(()),
        false => Err(format!("ls and top differ: {:?} and {:?}", told[0], told[1])),
    }
}

fn process<'a>(view: &'a Value, cell: &Cell) -> Result<&'a Value, String> {
    let processes = view["processes"].as_array().ok_or("no list of processes")?;
    processes.iter().find(|process| process["pid"] == cell.pid()).ok_or(format!("not listed: {view}"))
}

/// Returns every address that a command prints for the agent: one that can be used, the same everywhere.
fn addresses(world: &World, cell: &Cell) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    for command in [&["ls", "--json"][..], &["top", "--once", "--json", "--every", "100ms"]] {
        let view = world.json(command)?;
        found.extend(process(&view, cell)?["agent"].as_str().map(str::to_owned));
    }
    let table = world.run(&["ls"]).expect(&[0])?.stdout;
    let pid = cell.pid().to_string();
    let rows = table.lines().filter(|line| line.split_whitespace().next() == Some(&pid));
    // Columns are two spaces apart, and a path may have single ones.
    let cells = rows.flat_map(|row| row.split("  ").map(str::trim).filter(|cell| cell.contains(":/")));
    found.extend(cells.map(str::to_owned));
    let scheme = match (cell.mode, world.transport) {
        (Mode::WithAgent, Transport::Tcp) => "http://127.0.0.1:",
        (Mode::WithAgent, Transport::Tls) => "https://127.0.0.1:",
        (Mode::WithAgent, Transport::SocketFile) => "unix:/dev/shm/",
        _ if found.is_empty() => return Ok(found),
        _ => return Err(format!("it has no agent, and these are told: {found:?}")),
    };
    match found.len() == 1 && found.iter().all(|address| address.starts_with(scheme)) {
        true => Ok(found),
        false => Err(format!("not one address with {scheme}: {found:?}")),
    }
}

/// Returns the incidents of this process on a list, by their ids: id to loop.
fn list(world: &World, cell: &Cell, target: &str) -> Result<BTreeMap<String, String>, String> {
    let told = world.json(&["incidents", target, "--json", "--last", "100"])?;
    let all = told["incidents"].as_array().ok_or("no list of incidents")?;
    let text = |incident: &Value, field: &str| incident[field].as_str().unwrap_or_default().to_owned();
    let own: Vec<&Value> = all.iter().filter(|incident| incident["pid"] == cell.pid()).collect();
    let by_id: BTreeMap<String, String> =
        own.iter().map(|incident| (text(incident, "id"), text(incident, "loop"))).collect();
    if by_id.len() != own.len() {
        return Err(format!("ids are not unique: {told}"));
    }
    let loops: BTreeSet<String> = by_id.values().cloned().collect();
    match loops == cell.labels().into_iter().collect() {
        true => Ok(by_id),
        false => Err(format!("incidents of the loops {loops:?} in place of {:?}", cell.labels())),
    }
}

/// Every id that a list has opens what the list told, and `last` opens something.
fn incidents(world: &World, cell: &Cell, target: &str) -> Result<(), String> {
    let listed = list(world, cell, target)?;
    let is_own = |id: &str| {
        id.split_once('-').is_some_and(|(pid, rest)| {
            pid == cell.pid().to_string() && rest.starts_with(|first: char| first.is_ascii_digit())
        })
    };
    if let Some(id) = listed.keys().find(|id| !is_own(id)) {
        return Err(format!("{id:?} is no PID-N"));
    }
    for (id, of_loop) in &listed {
        let one = world.json(&["incidents", target, id, "--json"])?;
        if one["id"] != **id || one["loop"] != **of_loop {
            return Err(format!("{id} of {of_loop} is opened as {} of {}", one["id"], one["loop"]));
        }
        world.run(&["incidents", id]).expect(&[0])?;
        if target.contains(":/") {
            world.run(&["flame", target, "--incident", id, "--format", "folded", "-o", "-"]).expect(&[0])?;
        }
    }
    world.run(&["incidents", target, "last"]).expect(&[0])?;
    Ok(())
}

/// Every command that a command prints for people can be run as it stands.
fn printed(world: &World, arguments: &[&str]) -> Result<(), String> {
    let text = world.run(arguments).expect(&[0, 4])?.stdout;
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.find("loopscope incidents").map(|at| &line[at..])).collect();
    if lines.is_empty() {
        return Err(format!("no command is printed: {text}"));
    }
    for line in lines {
        let folder = program().unwrap().parent().unwrap().display().to_string();
        let done = world.shell(&format!("PATH='{folder}':$PATH; {line}")).expect(&[0])?;
        if !done.stdout.contains("hold") {
            return Err(format!("{line} tells of something else: {}", done.stdout));
        }
    }
    Ok(())
}

/// The doctor gives each loop its own incidents.
fn doctor(world: &World, cell: &Cell, target: &str) -> Result<(), String> {
    let told = world.json(&["doctor", target, "--for", "150ms", "--json"])?;
    let findings = told["findings"].as_array().ok_or("no findings")?;
    let loops: BTreeSet<&str> = findings.iter().filter_map(|finding| finding["loop"].as_str()).collect();
    if loops != cell.labels().iter().map(String::as_str).collect() {
        return Err(format!("findings are of {loops:?}"));
    }
    if cell.mode != Mode::WithAgent {
        return Ok(());
    }
    let listed = list(world, cell, target)?;
    for label in cell.labels() {
        let of_loop = findings.iter().filter(|finding| finding["loop"] == *label);
        let ids = of_loop.flat_map(|finding| finding["incidents"].as_array().cloned().unwrap_or_default());
        let ids: BTreeSet<String> = ids.filter_map(|id| id.as_str().map(str::to_owned)).collect();
        let own = listed.iter().filter(|(_, of)| **of == label).map(|(id, _)| id.clone()).collect();
        if ids != own {
            return Err(format!("{label} has the incidents {own:?}, and the doctor gives it {ids:?}"));
        }
    }
    printed(world, &["doctor", target, "--for", "150ms"])
}

/// Each label that the thresholds are told by names its loop.
fn threshold(world: &World, cell: &Cell, target: &str) -> Result<(), String> {
    if cell.mode != Mode::WithAgent {
        let told = world.run(&["threshold", target]).expect(&[1])?;
        return match told.stderr.contains("agent") {
            true => Ok(()),
            false => Err(format!("{}: {}", told.line, told.stderr)),
        };
    }
    let labels = |told: &Value| -> Vec<String> {
        let loops = told["loops"].as_array().cloned().unwrap_or_default();
        loops.iter().filter_map(|entry| entry["loop"].as_str().map(str::to_owned)).collect()
    };
    let all = labels(&world.json(&["threshold", target, "--json"])?);
    if all != cell.labels() {
        return Err(format!("thresholds are of {all:?}"));
    }
    for label in &all {
        let one = labels(&world.json(&["threshold", target, "--loop", label, "--json"])?);
        if !one.contains(label) {
            return Err(format!("{label} means {one:?}"));
        }
    }
    // The last label is the one that is not a name.
    let label = all.last().ok_or("no loop")?;
    let drawn = world.run(&[
        "flame", target, "--loop", label, "--for", "1s", "--of", "stalls", "--format", "folded", "-o", "-",
    ]);
    let drawn = drawn.expect(&[0])?;
    match drawn.stdout.lines().count() {
        1 => Ok(()),
        _ => Err(format!("{label} is not drawn alone: {}", drawn.stdout)),
    }
}
