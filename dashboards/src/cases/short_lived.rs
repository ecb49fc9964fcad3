//! Cases of processes that hardly live: a slow start is no lost month, and a crash loop is told once, as that.

use super::Case;
use loopscope_report::metrics::catalog as c;

const MAIN: (&str, &str) = ("loop", "main");
const CRITICAL: (&str, &str) = ("severity", "critical");

/// Alerts on what is seen over minutes, hours or days.
const OVER_TIME: [&str; 6] =
    ["LagHigh", "LagBudgetBurnFast", "LagBudgetBurnMedium", "UtilizationFull", "LoopBlocked", "AgentStale"];

pub(super) fn cases() -> Vec<Case> {
    vec![one(), begun(), onset(), late_end(), thirty(), crash_loop(), deployment()]
}

/// Repeats a life of 20 s, seen every 5 s, and what follows it.
fn lives(life: &str, then: &str, times: usize) -> String {
    vec![format!("{life} stale {then}"); times].join(" ")
}

/// A process that needs 2 of its 20 s to start, in which nothing is served, and is scraped every 5 s.
fn slow_starters(case: Case, then: &str, times: usize) -> Case {
    let all = lives("0 5000 10000 15000 20000", then, times);
    let in_time = lives("0 3000 8000 13000 18000", then, times);
    let (active, idle) = (lives("0 2 2 2 2", then, times), lives("0 3 8 13 18", then, times));
    case.histogram(&c::LAG_SECONDS, &[MAIN], [("0.125", &in_time), ("0.25", &in_time), ("+Inf", &all)])
        .busy(&[MAIN], &active, &idle)
        .series(&c::BLOCKED, &[MAIN, CRITICAL], &lives("0 1 1 1 1", then, times))
        .series(&c::STALL_THRESHOLD, &[MAIN, CRITICAL], &lives("1 1 1 1 1", then, times))
}

/// A block is told while the loop is there, and by nothing afterwards.
fn one() -> Case {
    let case = slow_starters(Case::new("a process of 20 s that was slow to start", "5s"), "_x400", 1);
    case.silent("3m", "LagBudgetBurnFast")
        .silent("20m", "LagBudgetBurnMedium")
        .silent("4m", "LagHigh")
        .silent("6m", "LagHigh")
        .silent("3m", "LoopBlocked")
        .silent("3m", "ProcessRestarts")
}

/// Late moments of a loop, sampled every 15 s.
fn late(case: Case, in_time: &str, all: &str, idle: &str) -> Case {
    case.histogram(&c::LAG_SECONDS, &[MAIN], [("0.125", in_time), ("0.25", all), ("+Inf", all)])
        .there(&[MAIN], idle)
}

/// A share of few moments says nothing about a month, although the loop is there and goes on to lose them.
fn begun() -> Case {
    let case = Case::new("a loop that has just begun, and loses 2 % of its moments", "15s");
    late(case, "0+14700x60", "0+15000x60", "0+15x60").silent("5m45s", "LagBudgetBurnFast").fires(
        "9m",
        "LagBudgetBurnFast",
        &[MAIN],
        "2%",
    )
}

/// The alert fires when it has lasted for two minutes, not at once.
fn onset() -> Case {
    let case = Case::new("an hour of calm, and then a fifth of all moments are late", "15s");
    late(case, "0+15000x240 3612000+12000x40", "0+15000x281", "0+15x281")
        .silent("65m45s", "LagBudgetBurnFast")
        .fires("68m", "LagBudgetBurnFast", &[MAIN], "2.667%")
}

/// Old enough to be judged, and late for less than the alert waits: the windows have those moments for longer than it.
fn late_end() -> Case {
    let case = Case::new("half an hour, of which the last 45 s were late, and then the end", "15s");
    late(case, "0+15000x120 1800000x2 stale", "0+15000x123 stale", "0+15x123 stale")
        .silent("34m", "LagBudgetBurnFast")
}

fn thirty() -> Case {
    // One every five minutes: no crash loop either.
    let case =
        slow_starters(Case::new("thirty short runs of a job, one every five minutes", "5s"), "_x54", 30);
    case.silent("61m", "LagHigh")
        .silent("21m", "LagBudgetBurnFast")
        .silent("2h", "LagBudgetBurnFast")
        .silent("90m", "LagBudgetBurnMedium")
        .silent("2h10m", "LagBudgetBurnMedium")
        .silent("2h10m", "ProcessRestarts")
}

/// The process is down for 30 s, and starts anew: its target sees that from the start time.
fn crash_loop() -> Case {
    let times = 60;
    let case = slow_starters(Case::new("a process that crashes every minute", "5s"), "_x6", times);
    let starts: Vec<String> =
        (0..times).map(|life| format!("{0} {0} {0} {0} {0} stale _x6", 1_000_000 + 60 * life)).collect();
    let case = case
        // Each life is seen with the same counts.
        .series(&c::AGENT_TICKS, &[], &lives("1 1 1 1 1", "_x6", times))
        .series(&c::PROCESS_START, &[], &starts.join(" "))
        .series(&c::BUILD_INFO, &[("version", "1"), ("target", "x")], &lives("1 1 1 1 1", "_x6", times))
        .silent("2m", "ProcessRestarts")
        .fires("40m15s", "ProcessRestarts", &[], "15")
        // Also while it is down.
        .fires("40m45s", "ProcessRestarts", &[], "14");
    OVER_TIME.into_iter().fold(case, |case, alert| case.silent("40m15s", alert))
}

fn deployment() -> Case {
    Case::new("a process that is started again twice by a deployment", "1m")
        .series(&c::PROCESS_START, &[], "1000x10 2000x2 3000x60")
        .series(&c::BUILD_INFO, &[("version", "1"), ("target", "x")], "1x75")
        // Another exporter, which crashes all the time, is not ours to tell.
        .raw("process_start_time_seconds{job=\"other\", instance=\"b\"}", "0+60x75")
        .silent("14m", "ProcessRestarts")
        .silent("30m", "ProcessRestarts")
}
