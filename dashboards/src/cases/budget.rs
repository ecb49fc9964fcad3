//! Cases of the alerts on the budget of late moments: 60,000 virtual arrivals a minute, of which 60 may be late.

use super::Case;
use loopscope_report::metrics::catalog as c;

const WEB: (&str, &str) = ("loop", "web");
const CALM: (&str, &str) = ("loop", "calm");

pub(super) fn cases() -> Vec<Case> {
    vec![fast(), over(), medium(), slow(), steady(), idle_week()]
}

/// A loop with so many arrivals in time a minute, and one without late ones.
fn loops(case: Case, in_time: &str, all: &str) -> Case {
    // "0+60000x120": an arrival is a millisecond.
    let time = all.replace("000x", "x");
    case.histogram(&c::LAG_SECONDS, &[WEB], [("0.125", in_time), ("0.25", all), ("+Inf", all)])
        .there(&[WEB], &time)
        .histogram(&c::LAG_SECONDS, &[CALM], [("0.125", all), ("0.25", all), ("+Inf", all)])
        .there(&[CALM], &time)
}

fn fast() -> Case {
    loops(Case::new("2 % of moments are late", "1m"), "0+58800x120", "0+60000x120")
        .silent("3m", "LagBudgetBurnFast")
        .fires("90m", "LagBudgetBurnFast", &[WEB], "2%")
}

fn over() -> Case {
    let case = Case::new("half an hour of late moments that is over: the short window ends the alert", "1m");
    loops(case, "0+54000x30 1680000+60000x90", "0+60000x120")
        .fires("30m", "LagBudgetBurnFast", &[WEB], "10%")
        .silent("42m", "LagBudgetBurnFast")
}

fn medium() -> Case {
    loops(Case::new("0.8 % of moments are late", "1m"), "0+59520x480", "0+60000x480")
        .silent("9m", "LagBudgetBurnMedium")
        .fires("7h", "LagBudgetBurnMedium", &[WEB], "0.8%")
        .silent("7h", "LagBudgetBurnFast")
}

fn slow() -> Case {
    loops(Case::new("0.4 % of moments are late", "5m"), "0+298800x320", "0+300000x320")
        .silent("30m", "LagBudgetBurnSlow")
        .fires("25h", "LagBudgetBurnSlow", &[WEB], "0.4%")
        .silent("25h", "LagBudgetBurnMedium")
}

fn steady() -> Case {
    loops(Case::new("0.2 % of moments are late", "5m"), "0+299400x900", "0+300000x900")
        .silent("2h", "LagBudgetBurnSteady")
        .fires("73h", "LagBudgetBurnSteady", &[WEB], "0.2%")
        .silent("73h", "LagBudgetBurnSlow")
}

fn idle_week() -> Case {
    let all = "0+300000x2016";
    loops(Case::new("a week in which nothing happens", "5m"), all, all)
        .silent("1h", "LagBudgetBurnFast")
        .silent("3d", "LagBudgetBurnSteady")
        .silent("7d", "LagBudgetBurnSteady")
        .silent("7d", "LagBudgetBurnSlow")
}
