//! Incidents in memory, as the program itself reads them: also without the feature `http`.

use loopscope_agent::Agent;
use loopscope_probe::{Kind, TaskTimes, Writer};
use std::panic::Location;
use std::time::{Duration, Instant};

#[test]
fn a_program_reads_the_incidents_of_its_own_loops() {
    let agent =
        Agent::builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    assert!(agent.incidents().is_empty());
    let mut writer = Writer::builder("main").build();
    let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
    writer.resume();
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let deadline = Instant::now() + Duration::from_secs(60);
    let under_way = loop {
        if let Some(incident) = agent.incidents().first() {
            break incident.clone();
        }
        assert!(Instant::now() < deadline, "no incident");
        std::thread::yield_now();
    };
    assert!(!under_way.is_over && under_way.culprit.name == "flush", "{under_way:?}");
    writer.end();
    writer.park();
    while !agent.incidents()[0].is_over {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::yield_now();
    }
    agent.stop();
}
