//! Cases of the alerts on thread pools.

use super::Case;
use loopscope_report::metrics::catalog as c;

const WEB: (&str, &str) = ("pool", "web");
const CALM: (&str, &str) = ("pool", "calm");
const FS: (&str, &str) = ("kind", "fs");
const DNS: (&str, &str) = ("kind", "dns");

pub(super) fn cases() -> Vec<Case> {
    vec![full(), deep(), old(), busy_only(), slow(), stuck()]
}

fn waits(case: Case, pool: (&'static str, &'static str), kind: (&'static str, &'static str)) -> Case {
    case.histogram(
        &c::POOL_WAIT,
        &[pool, kind],
        [("0.125", "0+0x60"), ("0.25", "0+100x60"), ("+Inf", "0+100x60")],
    )
}

fn full() -> Case {
    let case = Case::new("a pool that is full for 80 % of the time, with jobs that wait", "15s")
        .series(&c::POOL_SATURATED, &[WEB], "0+12x60")
        .series(&c::POOL_SATURATED, &[CALM], "0+1x60");
    waits(waits(waits(case, WEB, FS), WEB, DNS), CALM, FS)
        .silent("4m", "PoolSaturated")
        .fires("12m", "PoolSaturated", &[WEB], "80%")
        .silent("12m", "PoolWaitHigh")
}

/// Of these two nobody knows how long jobs wait.
fn deep() -> Case {
    Case::new("pools without known waits, both full, one of them with a long queue", "15s")
        .series(&c::POOL_SATURATED, &[WEB], "0+12x60")
        .series(&c::POOL_THREADS, &[WEB], "4x60")
        .series(&c::POOL_QUEUE_DEPTH, &[WEB], "0 30x59")
        .series(&c::POOL_SATURATED, &[CALM], "0+12x60")
        .series(&c::POOL_THREADS, &[CALM], "4x60")
        .series(&c::POOL_QUEUE_DEPTH, &[CALM], "1x60")
        .silent("4m", "PoolSaturated")
        .fires("12m", "PoolSaturated", &[WEB], "80%")
}

fn old() -> Case {
    Case::new("pools without known waits, both full, of which only the age of the first job is known", "15s")
        .series(&c::POOL_SATURATED, &[WEB], "0+12x60")
        .series(&c::POOL_OLDEST_WAIT, &[WEB], "0 0.3x59")
        .series(&c::POOL_SATURATED, &[CALM], "0+12x60")
        .series(&c::POOL_OLDEST_WAIT, &[CALM], "0.01x60")
        .silent("4m", "PoolSaturated")
        .fires("12m", "PoolSaturated", &[WEB], "80%")
}

fn busy_only() -> Case {
    Case::new("a pool that is full, but whose jobs begin within milliseconds", "15s")
        .series(&c::POOL_SATURATED, &[WEB], "0+12x60")
        .histogram(
            &c::POOL_WAIT,
            &[WEB, FS],
            [("0.00390625", "0+100x60"), ("0.0078125", "0+100x60"), ("+Inf", "0+100x60")],
        )
        .silent("12m", "PoolSaturated")
        .silent("12m", "PoolWaitHigh")
}

fn slow() -> Case {
    Case::new("jobs that wait half a second, in a pool that is hardly ever full", "15s")
        .series(&c::POOL_SATURATED, &[WEB], "0+1x60")
        .histogram(&c::POOL_WAIT, &[WEB, FS], [("0.25", "0+0x60"), ("0.5", "0+100x60"), ("+Inf", "0+100x60")])
        .silent("4m", "PoolWaitHigh")
        .fires("12m", "PoolWaitHigh", &[WEB], "487.5ms")
}

fn stuck() -> Case {
    Case::new("a pool whose threads all hang, and one with a short queue", "15s")
        .series(&c::POOL_OLDEST_WAIT, &[WEB], "0 0 5+15x20 0 0 0")
        .series(&c::POOL_OLDEST_WAIT, &[CALM], "0 3 0 9 0 0x20")
        .silent("1m", "PoolStuck")
        .fires("3m", "PoolStuck", &[WEB], "2m 35s")
        .silent("6m", "PoolStuck")
}
