//! Programs that measure themselves, against every display: metrics of the agent and of the server, lists, incidents, the
//! doctor, flamegraphs. Each tells what is true of an idle, a working, a blocked, a flooded, a stopped and an ended
//! loop, of a full pool and of two loops of one name, and nothing that is not.
//!
//! Bounds are what the program measured before and after a display was made, so that a machine with other work moves both.

#[path = "truth/cases.rs"]
mod cases;
#[path = "truth/checks.rs"]
mod checks;
#[path = "truth/displays.rs"]
mod displays;
#[path = "truth/program.rs"]
mod program;

use checks::Faults;
use displays::Displays;
use std::thread;

#[test]
fn every_display_tells_what_the_programs_measured() {
    let Some(displays) = Displays::open() else {
        println!("skipped: programs of known truth: the command is not built: cargo build -p loopscope");
        return;
    };
    let faults: Vec<String> = thread::scope(|scope| {
        let cases = cases::ALL.map(|(name, case)| {
            let displays = &displays;
            let run = move || {
                let mut faults = Faults::default();
                case(displays, &mut faults);
                faults.0
            };
            (name, scope.spawn(run))
        });
        let told = cases.into_iter().flat_map(|(name, case)| {
            let faults = case.join().unwrap_or_else(|_| vec!["it panicked".to_owned()]);
            faults.into_iter().map(move |fault| format!("{name}: {fault}"))
        });
        told.collect()
    });
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
