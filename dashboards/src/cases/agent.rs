//! Cases of the alerts on the agent.

use super::Case;
use loopscope_report::metrics::catalog as c;

pub(super) fn cases() -> Vec<Case> {
    vec![
        down(),
        stale(),
        begun_again(),
        ended(),
        panicked(),
        panicked_often(),
        dropping(),
        expensive(),
        overflow(),
        overflow_of_minutes(),
    ]
}

fn down() -> Case {
    Case::new("a target that goes and comes back, and another job's that stays away", "1m")
        .raw("up{job=\"app-loopscope\", instance=\"a\"}", "1 0x9 1x10")
        .raw("up{job=\"database\", instance=\"a\"}", "0x20")
        .silent("4m", "TargetDown")
        .fires("8m", "TargetDown", &[("job", "app-loopscope")], "0")
        .silent("12m", "TargetDown")
}

fn stale() -> Case {
    // No clock is in it: those of the two machines may differ by an hour.
    Case::new("an agent that stops ticking after two minutes", "15s")
        .series(&c::AGENT_TICKS, &[], "0+3x8 24x20")
        .series(&c::PROCESS_START, &[], "1000x28")
        .silent("2m", "AgentStale")
        .silent("4m", "AgentStale")
        .fires("6m", "AgentStale", &[], "0")
}

/// Its ticks are as many as two minutes ago, all the time, and of another process.
fn begun_again() -> Case {
    Case::new("a process that is started again after two minutes, and ticks as the one before", "15s")
        .series(&c::AGENT_TICKS, &[], "0+3x7 0+3x7 0+3x7")
        .series(&c::PROCESS_START, &[], "1000x7 2000x7 3000x7")
        .silent("3m45s", "AgentStale")
        .silent("5m45s", "AgentStale")
}

/// As federation has it: the last value is found for five minutes after the last sample, without a word that it was the last.
fn ended() -> Case {
    Case::new("a process that has ended, and no mark says so", "15s")
        .series(&c::AGENT_TICKS, &[], "0+3x20 _x20")
        .series(&c::PROCESS_START, &[], "1000x20 _x20")
        .silent("6m", "AgentStale")
        .silent("8m", "AgentStale")
        .silent("9m30s", "AgentStale")
}

fn panicked() -> Case {
    Case::new("two ticks that panicked", "1m")
        .series(&c::AGENT_PANICS, &[], "0 0 0 0 0 2x70")
        .silent("4m", "AgentPanicked")
        .fires("59m", "AgentPanicked", &[], "2")
        .silent("70m", "AgentPanicked")
}

/// Prometheus extends what it saw to the whole hour, which makes 3.01 of three: nothing panics a hundredth of a time.
fn panicked_often() -> Case {
    Case::new("three ticks that panicked half an hour ago, and scrapes that do not fall on the hour", "17s")
        .series(&c::AGENT_PANICS, &[], "0x200 3x200")
        .silent("50m", "AgentPanicked")
        .fires("90m", "AgentPanicked", &[], "3")
}

fn dropping() -> Case {
    let labels = [("loop", "web"), ("reason", "site_table_full")];
    Case::new("a loop that makes up new names of callbacks all the time", "1m")
        .series(&c::AGENT_DROPPED, &labels, "0 0 0+10x30 300x30")
        .silent("4m", "AgentDropping")
        .fires("15m", "AgentDropping", &labels, "50")
        .silent("50m", "AgentDropping")
}

fn expensive() -> Case {
    Case::new("an agent that uses 8 % of a CPU for half an hour", "1m")
        .series(&c::AGENT_CPU, &[], "0+4.8x30 144+0.06x60")
        .silent("14m", "AgentExpensive")
        .fires("25m", "AgentExpensive", &[], "8%")
        .silent("50m", "AgentExpensive")
}

fn overflow() -> Case {
    let limit = ("limit", "sites");
    Case::new("more callback sites than series for them, for hours", "1m")
        .series(&c::SERIES_OVERFLOW, &[limit], "0 0 0 30x200 0x20")
        .series(&c::SERIES_OVERFLOW, &[("limit", "loops")], "0x223")
        .silent("2m", "SeriesOverflow")
        .fires("30m", "SeriesOverflow", &[limit], "30")
        .fires("3h", "SeriesOverflow", &[limit], "30")
        .silent("3h30m", "SeriesOverflow")
}

fn overflow_of_minutes() -> Case {
    Case::new("a deployment that starts its new workers before the old ones have gone", "1m")
        .series(&c::SERIES_OVERFLOW, &[("limit", "workers")], "0x10 64x2 0x60")
        .silent("12m", "SeriesOverflow")
        .silent("30m", "SeriesOverflow")
}
