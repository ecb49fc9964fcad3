//! The sites of the last ten seconds: those of half a second come and go faster than they are read.

use loopscope_report::live::{LoopView, SiteView, View};
use std::collections::{HashMap, VecDeque};

/// How long a site stays.
const WINDOW_NS: u64 = 10_000_000_000;

/// What each loop ran lately.
#[derive(Debug, Default)]
pub struct SiteWindow {
    /// By id of the loop: how long each interval was, and its sites; the oldest first.
    loops: HashMap<String, VecDeque<(u64, Vec<SiteView>)>>,
}

impl SiteWindow {
    /// Puts the sites of the last ten seconds in the place of those of the last interval, and remembers that.
    pub fn replace(&mut self, view: &mut View) {
        // A first view is of the loops' lives.
        if view.interval_ns == 0 {
            return;
        }
        let mut kept = HashMap::new();
        for entry in view.processes.iter_mut().flat_map(|process| &mut process.loops) {
            self.replace_one(entry, &mut kept);
            entry.workers.iter_mut().for_each(|worker| self.replace_one(worker, &mut kept));
        }
        self.loops = kept;
    }

    fn replace_one(
        &mut self,
        entry: &mut LoopView,
        kept: &mut HashMap<String, VecDeque<(u64, Vec<SiteView>)>>,
    ) {
        let mut samples = self.loops.remove(&entry.id).unwrap_or_default();
        samples.push_back((entry.interval_ns, std::mem::take(&mut entry.sites)));
        let mut length_ns: u64 = samples.iter().map(|(ns, _)| ns).sum();
        while samples.len() > 1 && length_ns > WINDOW_NS {
            length_ns -= samples.pop_front().map_or(0, |(ns, _)| ns);
        }
        entry.sites = merged(&samples, length_ns);
        kept.insert(entry.id.clone(), samples);
    }
}

/// Adds up sites, each by the part of the window that its interval was; the heaviest first.
fn merged(samples: &VecDeque<(u64, Vec<SiteView>)>, length_ns: u64) -> Vec<SiteView> {
    let mut sites: Vec<SiteView> = Vec::new();
    for (number, (interval_ns, of_interval)) in samples.iter().enumerate() {
        let weight = *interval_ns as f64 / length_ns.max(1) as f64;
        let is_newest = number + 1 == samples.len();
        for site in of_interval {
            let is_it = |known: &&mut SiteView| known.kind == site.kind && known.label == site.label;
            let (share_ratio, calls_per_second) = (site.share_ratio * weight, site.calls_per_second * weight);
            match sites.iter_mut().find(is_it) {
                Some(known) => {
                    known.share_ratio += share_ratio;
                    known.calls_per_second += calls_per_second;
                    known.longest_ns = site.longest_ns;
                    known.is_running = is_newest && site.is_running;
                }
                None => {
                    let is_running = is_newest && site.is_running;
                    sites.push(SiteView { share_ratio, calls_per_second, is_running, ..site.clone() });
                }
            }
        }
        if is_newest {
            let runs_now = |site: &SiteView| {
                of_interval
                    .iter()
                    .any(|now| now.is_running && now.kind == site.kind && now.label == site.label)
            };
            sites.iter_mut().for_each(|site| site.is_running = runs_now(site));
        }
    }
    sites.sort_by(|a, b| b.share_ratio.total_cmp(&a.share_ratio).then_with(|| a.label.cmp(&b.label)));
    sites
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::live::ProcessView;

    fn view(site: Option<&str>) -> View {
        let sites =
            site.map(|label| SiteView { label: label.to_owned(), share_ratio: 1.0, ..SiteView::default() });
        let entry = LoopView {
            id: "7.0".to_owned(),
            interval_ns: 1_000_000_000,
            sites: sites.into_iter().collect(),
            ..LoopView::default()
        };
        let process = ProcessView { loops: vec![entry], ..ProcessView::default() };
        View { interval_ns: 1_000_000_000, processes: vec![process], ..View::default() }
    }

    #[test]
    fn a_site_stays_for_ten_seconds() {
        let mut window = SiteWindow::default();
        let mut shares = Vec::new();
        for second in 0..12 {
            let mut view = view((second == 0).then_some("flush (x.rs:1)"));
            window.replace(&mut view);
            shares.push(
                view.processes[0].loops[0].sites.first().map(|site| (site.share_ratio * 100.0).round()),
            );
        }
        assert_eq!((shares[0], shares[1], shares[9]), (Some(100.0), Some(50.0), Some(10.0)));
        assert_eq!(shares[10..], [None, None]);
    }
}
