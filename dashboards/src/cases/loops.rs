//! Cases of the alerts on loops.

use super::Case;
use loopscope_report::metrics::catalog as c;

const WEB: (&str, &str) = ("loop", "web");
const CALM: (&str, &str) = ("loop", "calm");

pub(super) fn cases() -> Vec<Case> {
    vec![
        stall(),
        block(),
        born_late(),
        starvation(),
        lag(),
        high_utilization(),
        full_utilization(),
        late_timers(),
        no_processor(),
        no_processor_of_workers(),
        lag_without_time(),
    ]
}

fn stall() -> Case {
    Case::new("a loop that is blocked for a minute, and one that is not", "15s")
        .series(&c::STALL, &[WEB], "0 0 15 30 45 60 0 0 0 0 0 0")
        .series(&c::STALL, &[CALM], "0 0.1 0 0.2 0 1.9 0 0 0 0 0 0")
        .silent("15s", "LoopStalled")
        .fires("1m", "LoopStalled", &[WEB], "45s")
        .silent("2m30s", "LoopStalled")
}

fn block() -> Case {
    let critical = ("severity", "critical");
    Case::new("a block is counted: the alert comes at once and goes after five minutes", "15s")
        .series(&c::BLOCKED, &[WEB, critical], "0 0 0 1x60")
        .series(&c::BLOCKED, &[WEB, ("severity", "warning")], "0 5 10 15x60")
        .series(&c::BLOCKED, &[CALM, critical], "3x63")
        // The text has the threshold that is in force.
        .series(&c::STALL_THRESHOLD, &[WEB, critical], "0.25x63")
        .series(&c::STALL_THRESHOLD, &[WEB, ("severity", "warning")], "0.1x63")
        .series(&c::STALL_THRESHOLD, &[CALM, critical], "1x63")
        .silent("30s", "LoopBlocked")
        .fires("1m", "LoopBlocked", &[WEB], "250ms")
        .silent("7m", "LoopBlocked")
}

/// Why the agent shows all counters from the beginning.
fn born_late() -> Case {
    Case::new("a counter that is born at 1 is not seen to grow", "15s")
        .series(&c::BLOCKED, &[WEB, ("severity", "critical")], "_x10 1x20")
        .series(&c::STALL_THRESHOLD, &[WEB, ("severity", "critical")], "_x10 1x20")
        .silent("4m", "LoopBlocked")
}

fn starvation() -> Case {
    let microtask = ("cause", "microtask");
    let callback = ("cause", "callback");
    let timer = ("cause", "timer");
    Case::new("microtasks starve a loop; one long callback is not called that", "15s")
        .series(&c::STARVATION_ACTIVE, &[WEB, microtask], "0 1 1 0x40")
        .series(&c::STARVATION, &[WEB, microtask], "0 1x42")
        .series(&c::STARVATION_ACTIVE, &[WEB, callback], "0 1 1 1x40")
        .series(&c::STARVATION, &[WEB, callback], "0 1 2 3x40")
        .series(&c::STARVATION_ACTIVE, &[CALM, timer], "0x43")
        .series(&c::STARVATION, &[CALM, timer], "0x20 1x22")
        .silent("0s", "LoopStarved")
        .fires("30s", "LoopStarved", &[WEB, microtask], "1")
        // Between two scrapes: the gauge never saw it, the counter did.
        .fires("6m", "LoopStarved", &[CALM, timer], "1.05")
        .silent("10m30s", "LoopStarved")
}

fn lag() -> Case {
    // 1,000 virtual arrivals a second: 2 % of the first loop's and 0.5 % of the second's wait longer than 125 ms.
    Case::new("lag: the 99th percentile is between 125 and 250 ms for one loop, below for the other", "1m")
        .histogram(
            &c::LAG_SECONDS,
            &[WEB],
            [("0.125", "0+58800x30"), ("0.25", "0+60000x30"), ("+Inf", "0+60000x30")],
        )
        .histogram(
            &c::LAG_SECONDS,
            &[CALM],
            [("0.125", "0+59700x30"), ("0.25", "0+60000x30"), ("+Inf", "0+60000x30")],
        )
        .there(&[WEB], "0+60x30")
        .there(&[CALM], "0+60x30")
        .silent("4m", "LagHigh")
        .fires("12m", "LagHigh", &[WEB], "187.5ms")
}

fn high_utilization() -> Case {
    let case = Case::new("a loop that is busy 95 % of the time, and one at 85 %", "1m");
    case.busy(&[WEB], "0+57x40", "0+3x40")
        .busy(&[CALM], "0+51x40", "0+9x40")
        .silent("9m", "UtilizationHigh")
        .fires("15m", "UtilizationHigh", &[WEB], "95%")
        .silent("15m", "UtilizationFull")
}

fn full_utilization() -> Case {
    let case = Case::new("a loop without any headroom, which recovers", "1m");
    case.busy(&[WEB], "0+60x20 1206+6x20", "0+0x20 54+54x20")
        .silent("5m", "UtilizationFull")
        .fires("10m", "UtilizationFull", &[WEB], "100%")
        .silent("30m", "UtilizationFull")
}

fn late_timers() -> Case {
    Case::new("timers that fire half a second late, and some that do not", "1m")
        .histogram(
            &c::TIMER_LATENESS,
            &[WEB],
            [("0.25", "0+900x40"), ("0.5", "0+1000x40"), ("+Inf", "0+1000x40")],
        )
        .histogram(
            &c::TIMER_LATENESS,
            &[CALM],
            [("0.25", "0+1000x40"), ("0.5", "0+1000x40"), ("+Inf", "0+1000x40")],
        )
        .there(&[WEB], "0+60x40")
        .there(&[CALM], "0+60x40")
        .silent("9m", "TimersLate")
        .fires("15m", "TimersLate", &[WEB], "475ms")
}

fn no_processor() -> Case {
    let case = Case::new("a thread that waits for a CPU for a third of the time, and one for a tenth", "1m");
    // Its polls are not late, so nothing says that its code blocks.
    let all = "0+60000x40";
    let case = case
        .series(&c::THREAD_RUN_DELAY, &[WEB], "0+20x40")
        .series(&c::THREAD_RUN_DELAY, &[CALM], "0+6x40")
        .histogram(&c::LAG_SECONDS, &[WEB], [("0.125", all), ("0.25", all), ("+Inf", all)])
        .series(&c::BLOCKED, &[WEB, ("severity", "critical")], "0x40")
        .series(&c::STALL_THRESHOLD, &[WEB, ("severity", "critical")], "1x40")
        .there(&[WEB], "0+60x40")
        .there(&[CALM], "0+60x40")
        .silent("5m", "LoopShortOfProcessor")
        .fires("15m", "LoopShortOfProcessor", &[WEB], "33.33%");
    ["LoopBlocked", "LoopStalled", "LagHigh", "LagBudgetBurnFast", "UtilizationHigh"]
        .into_iter()
        .fold(case, |case, alert| case.silent("15m", alert))
}

/// Its run delay and its time are sums over eight workers.
fn no_processor_of_workers() -> Case {
    Case::new("eight workers, each without a CPU for a twentieth of the time", "1m")
        .series(&c::THREAD_RUN_DELAY, &[WEB], "0+24x40")
        .there(&[WEB], "0+480x40")
        .silent("15m", "LoopShortOfProcessor")
}

/// What the workers of a runtime share has lag, and its workers have the time.
fn lag_without_time() -> Case {
    let late = [("0.125", "0+30000x150"), ("0.25", "0+60000x150"), ("+Inf", "0+60000x150")];
    Case::new("timers and I/O of a runtime, of which half are late", "1m")
        .histogram(&c::LAG_SECONDS, &[WEB], late)
        .series(&c::STALL, &[WEB], "0x150")
        .fires("15m", "LagHigh", &[WEB], "247.5ms")
        .fires("2h", "LagBudgetBurnFast", &[WEB], "50%")
}

/// Returns the cases that take days.
pub(super) fn days() -> Vec<Case> {
    vec![leak(), slow_leak(), untyped_leak(), tide(), start()]
}

fn leak() -> Case {
    let tcp = ("type", "tcp");
    Case::new("sockets that are never closed, at 240 an hour", "5m")
        .series(&c::HANDLES_ACTIVE, &[WEB, tcp], "10+20x1440")
        .series(&c::HANDLES_ACTIVE, &[CALM, tcp], "1000x1440")
        .silent("1d", "HandleLeak")
        .fires("3d", "HandleLeak", &[WEB, tcp], "5.76k")
        .fires("4d", "HandleLeak", &[WEB, tcp], "5.76k")
}

fn slow_leak() -> Case {
    let tcp = ("type", "tcp");
    Case::new("sockets that are never closed, at 168 an hour, of a server that has thousands", "5m")
        .series(&c::HANDLES_ACTIVE, &[WEB, tcp], "4000+14x1440")
        .fires("3d", "HandleLeak", &[WEB, tcp], "4.032k")
}

/// What Node.js tells; a loop that tells types has one alert for each, and none for their sum.
fn untyped_leak() -> Case {
    let tcp = ("type", "tcp");
    Case::new(
        "handles that are never closed, at 240 an hour, of a runtime that does not tell their types",
        "5m",
    )
    .series(&c::HANDLES_REFERENCED, &[WEB], "10+20x1440")
    .series(&c::HANDLES_REFERENCED, &[CALM], "10+20x1440")
    .series(&c::HANDLES_ACTIVE, &[CALM, tcp], "10+20x1440")
    .silent("1d", "HandleLeak")
    .fires("3d", "HandleLeak", &[WEB], "5.76k")
    .beside(&[CALM, tcp], "5.76k")
}

fn tide() -> Case {
    // From 200 to 8,000 and back within a day.
    let day = "200+54x143 7976-54x143";
    Case::new("connections that come and go with the day's traffic are no leak", "5m")
        .series(&c::HANDLES_ACTIVE, &[WEB, ("type", "tcp")], &[day; 4].join(" "))
        .silent("6h", "HandleLeak")
        .silent("2d6h", "HandleLeak")
        .silent("2d12h", "HandleLeak")
        .silent("3d12h", "HandleLeak")
}

fn start() -> Case {
    Case::new("a server that is started, and has thousands of connections from then on", "5m")
        .series(&c::HANDLES_ACTIVE, &[WEB, ("type", "tcp")], "0 2000 5000x1200")
        .silent("2h", "HandleLeak")
        .silent("25h", "HandleLeak")
        .silent("36h", "HandleLeak")
        .silent("2d1h", "HandleLeak")
        .silent("3d", "HandleLeak")
}
