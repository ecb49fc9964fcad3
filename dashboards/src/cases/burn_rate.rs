//! Cases of the alerts on the budget of late moments: 60,000 virtual arrivals a minute, of which 60 may be late.

use super::Case;
use loopscope_report::metrics::catalog as c;

const WEB: (&str, &str) = ("loop", "web");
const CALM: (&str, &str) = ("loop", "calm");

pub(super) fn cases() -> Vec<Case> {
    vec![
        fast(),
        young_workers(),
        over(),
        medium(),
        slow(),
        steady(),
        idle_week(),
        burst(),
        hour(),
        late_end(),
        restarts(),
    ]
}

/// A loop with so many arrivals in time a minute, and one without late ones.
fn loops(case: Case, in_time: &str, all: &str) -> Case {
    // "0+60000x120", or "0 60000": an arrival is a millisecond.
    let time = all.replace("000x", "x").replace("000 ", " ");
    let time = time.strip_suffix("000").unwrap_or(&time).to_owned();
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

/// As many arrivals as workers have time: it is as young as a loop of one.
fn young_workers() -> Case {
    let all = "0+960000x40";
    Case::new("sixteen workers that began minutes ago, of whose moments 3 % are late", "1m")
        .histogram(&c::LAG_SECONDS, &[WEB], [("0.125", "0+931200x40"), ("0.25", all), ("+Inf", all)])
        .there(&[WEB], "0+960x40")
        .silent("5m", "LagBudgetBurnFast")
        .silent("20m", "LagBudgetBurnMedium")
        .fires("15m", "LagBudgetBurnFast", &[WEB], "3%")
}

fn over() -> Case {
    let case = Case::new("half an hour of late moments that is over: the short window ends the alert", "1m");
    loops(case, "0+54000x30 1680000+60000x90", "0+60000x120")
        .fires("30m", "LagBudgetBurnFast", &[WEB], "10%")
        .silent("42m", "LagBudgetBurnFast")
}

fn medium() -> Case {
    loops(Case::new("0.8 % of moments are late", "1m"), "0+59520x480", "0+60000x480")
        // Late for longer than the alert waits, and still too young to be judged: so below, too.
        .silent("9m", "LagBudgetBurnMedium")
        .silent("33m", "LagBudgetBurnMedium")
        .fires("7h", "LagBudgetBurnMedium", &[WEB], "0.8%")
        .silent("7h", "LagBudgetBurnFast")
}

fn slow() -> Case {
    loops(Case::new("0.4 % of moments are late", "5m"), "0+298800x320", "0+300000x320")
        .silent("30m", "LagBudgetBurnSlow")
        .silent("2h18m", "LagBudgetBurnSlow")
        .fires("25h", "LagBudgetBurnSlow", &[WEB], "0.4%")
        .silent("25h", "LagBudgetBurnMedium")
}

fn steady() -> Case {
    loops(Case::new("0.2 % of moments are late", "5m"), "0+299400x900", "0+300000x900")
        .silent("2h", "LagBudgetBurnSteady")
        .silent("7h", "LagBudgetBurnSteady")
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

/// Enough late moments for each short window, and for no long one: no loss that matters.
fn burst() -> Case {
    let case = Case::new("24 minutes in which 1.6 % of moments are late, within days of calm", "1m");
    loops(case, "0+60000x1200 72059040+59040x23 73476960+60000x479", "0+60000x1704")
        .silent("20h21m", "LagBudgetBurnFast")
        .silent("20h36m", "LagBudgetBurnMedium")
        .silent("21h45m", "LagBudgetBurnSlow")
        .silent("24h", "LagBudgetBurnSteady")
}

/// Enough for each long window. The alert fires when it has lasted for a while, and stops when the short one is past it.
fn hour() -> Case {
    let case = Case::new("an hour in which a tenth of all moments are late, between hours of calm", "1m");
    loops(case, "0+60000x600 36054000+54000x59 39300000+60000x719", "0+60000x1380")
        .silent("10h33m", "LagBudgetBurnMedium")
        .fires("10h45m", "LagBudgetBurnMedium", &[WEB], "1.25%")
        .silent("12h", "LagBudgetBurnMedium")
        .silent("11h15m", "LagBudgetBurnSlow")
        .silent("14h", "LagBudgetBurnSlow")
        .silent("13h", "LagBudgetBurnSteady")
        .silent("18h", "LagBudgetBurnSteady")
}

/// Both windows have the late moments for as long as the short one is; the loop has them no more.
fn late_end() -> Case {
    let case = Case::new("ten hours, of which the last five minutes were late, and then the end", "1m");
    loops(case, "0+60000x595 35700000x4 stale", "0+60000x600 stale")
        .silent("10h24m", "LagBudgetBurnMedium")
        .silent("11h30m", "LagBudgetBurnSlow")
        .silent("13h30m", "LagBudgetBurnSteady")
}

/// It is there at every scrape, and a tenth of its moments are late: what is wrong is that it is started again.
fn restarts() -> Case {
    let lives = |life: &str| vec![life; 220].join(" ");
    let starts: Vec<String> = (0..220).map(|life| format!("{0} {0} {0}", 1_000_000 + 180 * life)).collect();
    loops(
        Case::new("eleven hours of a process that is started again every three minutes", "1m"),
        &lives("45000 99000 153000"),
        &lives("50000 110000 170000"),
    )
    .series(&c::PROCESS_START, &[], &starts.join(" "))
    .series(&c::BUILD_INFO, &[("version", "1"), ("target", "x")], "1x659")
    .fires("10h57m", "ProcessRestarts", &[], "5")
    .silent("10h57m", "LagHigh")
    .silent("10h57m", "LagBudgetBurnFast")
    .silent("10h57m", "LagBudgetBurnMedium")
    .silent("10h57m", "LagBudgetBurnSlow")
    .silent("10h57m", "LagBudgetBurnSteady")
}
