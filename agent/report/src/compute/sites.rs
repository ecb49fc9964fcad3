//! Time by callback site, and which sites get a series of their own.

use loopscope_probe::Site;
use loopscope_probe::raw::loop_id::OTHER;
use loopscope_probe::{Kind, Snapshot};
use std::collections::{HashMap, HashSet};

/// At most this many sites of a loop, or of all workers of a runtime, have a series of their own.
const SITES_PER_LOOP: usize = 50;

/// At most this many sites of a process ever get one.
pub const SITES_PER_PROCESS: usize = 200;

/// What a site has cost so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteTotal {
    pub label: String,
    /// `None` for the sum of sites without a series.
    pub kind: Option<Kind>,
    pub calls: u64,
    /// Run time with the spans inside, without the jobs drained after it, in nanoseconds.
    pub run_ns: u64,
    /// Longest single run of the last minute, in nanoseconds.
    pub longest_ns: u64,
}

/// Sums up the paths of a snapshot by callback site, heaviest first. Spans count towards the callback they ran in.
pub fn totals(snapshot: &Snapshot) -> Vec<SiteTotal> {
    let kind_of = |index: usize| snapshot.sites.get(index).map(|site| site.kind);
    let mut inclusive: Vec<u64> = snapshot.paths.iter().map(|path| path.self_ns).collect();
    let mut by_site = vec![Cost::default(); snapshot.sites.len()];
    // A child has a higher number than its parent, so one pass from the end sees every sum complete.
    for (number, path) in snapshot.paths.iter().enumerate().rev() {
        let Some(site) = snapshot.site(path.site) else { continue };
        if site.kind == Kind::Span {
            let parent = usize::from(path.parent);
            if kind_of(snapshot.paths[parent].site.index()).is_some() {
                inclusive[parent] = inclusive[parent].saturating_add(inclusive[number]);
            }
            continue;
        }
        let cost = Cost { calls: path.calls, run_ns: inclusive[number], longest_ns: path.longest_ns };
        by_site[path.site.index()].add(cost);
    }
    by_label(&snapshot.sites, &by_site).into_totals()
}

/// Sums up sites that read the same: a generic function has one for each of its instances. Leaves out what never ran.
fn by_label(sites: &[Site], costs: &[Cost]) -> SiteSums {
    let mut sums = SiteSums::default();
    for (site, cost) in sites.iter().zip(costs).filter(|(_, cost)| cost.calls > 0 || cost.run_ns > 0) {
        sums.costs.entry((site.label(), Some(site.kind))).or_default().add(*cost);
    }
    // What ends for the first time only now has taken time already, and is not a call yet.
    sums.costs.retain(|_, cost| cost.calls > 0);
    sums
}

/// Sites of several loops, those that read the same added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteSums {
    costs: HashMap<(String, Option<Kind>), Cost>,
}

impl SiteSums {
    /// Adds one loop's.
    pub(crate) fn add(&mut self, totals: Vec<SiteTotal>) {
        for SiteTotal { label, kind, calls, run_ns, longest_ns } in totals {
            self.costs.entry((label, kind)).or_default().add(Cost { calls, run_ns, longest_ns });
        }
    }

    /// Returns the sums, heaviest first.
    pub(crate) fn into_totals(self) -> Vec<SiteTotal> {
        let total = |((label, kind), Cost { calls, run_ns, longest_ns })| SiteTotal {
            label,
            kind,
            calls,
            run_ns,
            longest_ns,
        };
        fn place(total: &SiteTotal) -> (&str, Option<&str>) {
            (&total.label, total.kind.map(Kind::name))
        }
        let mut totals: Vec<SiteTotal> = self.costs.into_iter().map(total).collect();
        totals.sort_by(|a, b| b.run_ns.cmp(&a.run_ns).then_with(|| place(a).cmp(&place(b))));
        totals
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    calls: u64,
    run_ns: u64,
    longest_ns: u64,
}

impl Cost {
    fn add(&mut self, other: Cost) {
        self.calls = self.calls.saturating_add(other.calls);
        self.run_ns = self.run_ns.saturating_add(other.run_ns);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }
}

/// The sites of a loop that have a series: once chosen, for good, so that no counter disappears or jumps.
///
/// Sites are chosen in the order of their cost as long as there is room, and there is no sum of others before there
/// is no more room; so that sum never shrinks either.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    sites: HashSet<(String, Kind)>,
}

impl Chosen {
    /// Returns the totals to export; `room` is how many more sites of the process may get a series. Returns as the
    /// second value how many sites went into the sum.
    pub fn choose(&mut self, totals: Vec<SiteTotal>, room: &mut usize) -> (Vec<SiteTotal>, usize) {
        let (mut chosen, mut others) = (Vec::new(), Vec::new());
        for total in totals {
            if self.has_series(&total, room) { chosen.push(total) } else { others.push(total) }
        }
        let count = others.iter().filter(|total| total.kind.is_some()).count();
        if !others.is_empty() {
            let mut sum = Cost::default();
            for SiteTotal { calls, run_ns, longest_ns, .. } in others {
                sum.add(Cost { calls, run_ns, longest_ns });
            }
            let Cost { calls, run_ns, longest_ns } = sum;
            chosen.push(SiteTotal { label: OTHER.to_owned(), kind: None, calls, run_ns, longest_ns });
        }
        (chosen, count)
    }

    fn has_series(&mut self, total: &SiteTotal, room: &mut usize) -> bool {
        let Some(kind) = total.kind else { return false };
        let key = (total.label.clone(), kind);
        if self.sites.contains(&key) {
            return true;
        }
        if self.sites.len() >= SITES_PER_LOOP || *room == 0 {
            return false;
        }
        *room -= 1;
        self.sites.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Clock, TaskTimes, VirtualClock, Writer, spans};
    use std::panic::Location;

    #[test]
    fn spans_count_towards_their_callback_and_drained_jobs_do_not() {
        let time = VirtualClock::starting_at(1_000);
        let mut writer = Writer::builder("sites").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
        let job = writer.named_site(Location::caller(), Kind::Microtask, "then");
        let _spans = writer.install_spans();
        writer.resume();
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        time.advance_ns(10);
        let span = spans::enter(spans::site("query", "db.rs", 3).unwrap(), "").unwrap();
        time.advance_ns(30);
        spans::leave(span);
        writer.end();
        writer.drain_begin(loopscope_probe::Queue::Microtask, 1);
        writer.begin(Kind::Microtask, job, TaskTimes::UNKNOWN);
        time.advance_ns(500);
        writer.end();
        writer.park();
        let clock = writer.clock().clone();
        let totals = totals(&writer.page().snapshot(&clock));
        let told: Vec<_> = totals.iter().map(|total| (total.kind, total.calls, total.run_ns)).collect();
        assert_eq!(told, [(Some(Kind::Microtask), 1, 500), (Some(Kind::Timer), 1, 40)]);
        assert!(totals[1].label.starts_with("flush ("), "{}", totals[1].label);
    }

    fn total(number: u64, run_ns: u64) -> SiteTotal {
        SiteTotal {
            label: format!("s{number}"),
            kind: Some(Kind::Timer),
            calls: 1,
            run_ns,
            longest_ns: run_ns,
        }
    }

    #[test]
    fn a_chosen_site_stays_and_the_rest_is_one_sum() {
        let (mut chosen, mut room) = (Chosen::default(), SITES_PER_PROCESS);
        let (first, others) = chosen.choose((0..10).map(|number| total(number, 5)).collect(), &mut room);
        assert_eq!((first.len(), others, room), (10, 0, 190));
        let (second, others) =
            chosen.choose((0..70).map(|number| total(number, 900 - number)).collect(), &mut room);
        assert_eq!((second.len(), others, room), (51, 20, 150));
        assert!((0..10).all(|number| second.iter().any(|total| total.label == format!("s{number}"))));
        let other = second.last().unwrap();
        assert_eq!((other.label.as_str(), other.calls, other.kind), (OTHER, 20, None));
    }

    #[test]
    fn the_process_has_one_room_for_all_loops() {
        let mut room = 60;
        let mut many = || {
            let totals = (0..55).map(|number| total(number, 5)).collect();
            Chosen::default().choose(totals, &mut room).0.len()
        };
        assert_eq!((many(), many(), many()), (51, 11, 1));
    }
}
