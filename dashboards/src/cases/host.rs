//! Cases of a page of `loopscope serve`: processes of one target whose loops and pools share a name.
//!
//! One of the two is in trouble. The alert has to say which, with its own figure: neither added to the other's nor
//! thinned by it.

use super::Case;
use loopscope_report::metrics::catalog as c;

type Label = (&'static str, &'static str);

const SHOP: [Label; 2] = [("pid", "4711"), ("name", "shop")];
/// The same program, started twice.
const OTHER: [Label; 2] = [("pid", "4712"), ("name", "shop")];
const MAIN: Label = ("loop", "main");
const POOL: Label = ("pool", "main");

pub(super) fn cases() -> Vec<Case> {
    vec![stall(), block(), lag(), utilization(), pool()]
}

/// A process's labels and those of a series of it.
fn of(process: [Label; 2], own: &[Label]) -> Vec<Label> {
    process.into_iter().chain(own.iter().copied()).collect()
}

fn stall() -> Case {
    Case::new("of two processes with a loop of one name, one is stalled", "15s")
        .series(&c::STALL, &of(SHOP, &[MAIN]), "0 0 15 30 45 60 0 0 0 0 0 0")
        .series(&c::STALL, &of(OTHER, &[MAIN]), "0 0.1 0 0.2 0 1.9 0 0 0 0 0 0")
        .silent("15s", "LoopStalled")
        .fires("1m", "LoopStalled", &of(SHOP, &[MAIN]), "45s")
        .silent("2m30s", "LoopStalled")
}

fn block() -> Case {
    let critical = ("severity", "critical");
    Case::new("of two processes with a loop of one name, one is blocked once", "15s")
        .series(&c::BLOCKED, &of(SHOP, &[MAIN, critical]), "0 0 0 1x60")
        .series(&c::BLOCKED, &of(OTHER, &[MAIN, critical]), "3x63")
        .series(&c::STALL_THRESHOLD, &of(SHOP, &[MAIN, critical]), "1x63")
        .series(&c::STALL_THRESHOLD, &of(OTHER, &[MAIN, critical]), "1x63")
        .silent("30s", "LoopBlocked")
        .fires("1m", "LoopBlocked", &of(SHOP, &[MAIN]), "1s")
}

fn lag() -> Case {
    // Together less than 1 % of moments wait: a percentile of both would be below 125 ms.
    Case::new("of two processes with a loop of one name, one lets 1.5 % of events wait", "1m")
        .histogram(
            &c::LAG_SECONDS,
            &of(SHOP, &[MAIN]),
            [("0.125", "0+59100x30"), ("0.25", "0+60000x30"), ("+Inf", "0+60000x30")],
        )
        .histogram(
            &c::LAG_SECONDS,
            &of(OTHER, &[MAIN]),
            [("0.125", "0+60000x30"), ("0.25", "0+60000x30"), ("+Inf", "0+60000x30")],
        )
        .there(&of(SHOP, &[MAIN]), "0+60x30")
        .there(&of(OTHER, &[MAIN]), "0+60x30")
        .silent("4m", "LagHigh")
        .fires("12m", "LagHigh", &of(SHOP, &[MAIN]), "166.7ms")
        .fires("12m", "LagBudgetBurnFast", &of(SHOP, &[MAIN]), "1.5%")
}

fn utilization() -> Case {
    let case = Case::new("of two processes with a loop of one name, one is full and one rests", "1m");
    let case = case.busy(&of(SHOP, &[MAIN]), "0+60x20", "0+0x20");
    case.busy(&of(OTHER, &[MAIN]), "0+6x20", "0+54x20").silent("4m", "UtilizationFull").fires(
        "15m",
        "UtilizationFull",
        &of(SHOP, &[MAIN]),
        "100%",
    )
}

fn pool() -> Case {
    let kind = ("kind", "fs");
    let waits =
        |case: Case, process, rates| case.histogram(&c::POOL_WAIT, &of(process, &[POOL, kind]), rates);
    let case =
        Case::new("of two processes with a pool of one name, one is full while the other's jobs wait", "15s")
            .series(&c::POOL_SATURATED, &of(SHOP, &[POOL]), "0+12x60")
            .series(&c::POOL_SATURATED, &of(OTHER, &[POOL]), "0+1x60")
            .series(&c::POOL_OLDEST_WAIT, &of(SHOP, &[POOL]), "0x20 15x40")
            .series(&c::POOL_OLDEST_WAIT, &of(OTHER, &[POOL]), "0 3x60");
    let case = waits(case, SHOP, [("0.125", "0+100x60"), ("0.25", "0+100x60"), ("+Inf", "0+100x60")]);
    waits(case, OTHER, [("0.25", "0+0x60"), ("0.5", "0+100x60"), ("+Inf", "0+100x60")])
        .fires("12m", "PoolWaitHigh", &of(OTHER, &[POOL]), "487.5ms")
        .fires("12m", "PoolSaturated", &of(SHOP, &[POOL]), "80%")
        .fires("12m", "PoolStuck", &of(SHOP, &[POOL]), "15s")
}
