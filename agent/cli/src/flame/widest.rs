//! The callback sites that took most time, from folded stacks: what the eye would find in the picture.

use loopscope_probe::Queue;
use std::collections::HashMap;

/// Time of one callback site, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub loop_name: String,
    pub phase: String,
    pub frame: String,
    pub ns: u64,
    /// The drained job below it that took most of its time; empty where none did.
    pub job: String,
}

impl Site {
    /// Returns the site as the summary names it.
    pub fn label(&self) -> String {
        let job = if self.job.is_empty() { "" } else { ", most of it in " };
        format!("{}{job}{}  ({} phase of loop {})", self.frame, self.job, self.phase, self.loop_name)
    }
}

/// Adds up folded stacks (`loop;phase;site;more microseconds`) by site, widest first. Lines that are not stacks, and
/// stacks that reach no site, are passed over.
pub fn sites(folded: &str) -> Vec<Site> {
    let mut sums: HashMap<[&str; 3], (u64, HashMap<&str, u64>)> = HashMap::new();
    for line in folded.lines() {
        let Some((stack, us)) = line.rsplit_once(' ') else { continue };
        let (frames, Ok(us)) = (stack.split(';').collect::<Vec<_>>(), us.parse::<u64>()) else { continue };
        let [name, phase, site, below @ ..] = frames.as_slice() else { continue };
        let (sum, jobs) = sums.entry([name, phase, site]).or_default();
        *sum = sum.saturating_add(us);
        if let Some(job) = below.first().filter(|frame| is_job(frame)) {
            let sum: &mut u64 = jobs.entry(job).or_default();
            *sum = sum.saturating_add(us);
        }
    }
    let mut sites: Vec<Site> = sums.iter().map(|(frames, (us, jobs))| site(frames, *us, jobs)).collect();
    sites.sort_by(|a, b| b.ns.cmp(&a.ns).then_with(|| a.label().cmp(&b.label())));
    sites
}

fn is_job(frame: &str) -> bool {
    Queue::ALL.iter().any(|queue| frame.strip_prefix(queue.name()).is_some_and(|rest| rest.starts_with(' ')))
}

fn site([name, phase, frame]: &[&str; 3], us: u64, jobs: &HashMap<&str, u64>) -> Site {
    let job = jobs.iter().find(|(_, part_us)| part_us.saturating_mul(2) > us);
    Site {
        loop_name: (*name).to_owned(),
        phase: (*phase).to_owned(),
        frame: (*frame).to_owned(),
        ns: us.saturating_mul(1_000),
        job: job.map_or(String::new(), |(job, _)| (*job).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_summed_over_their_children_and_sorted() {
        let folded = "web;timers;timer tick (a.rs:1) 5\n\
                      web;timers;timer parse (b.rs:2) 10\n\
                      web;timers;timer parse (b.rs:2);span;deeper 90\n\
                      web;poll 3\n\
                      not a stack\n\
                      load;timers;timer tick (a.rs:1) 7\n";
        let found = sites(folded);
        let shown: Vec<(u64, &str, &str)> =
            found.iter().map(|site| (site.ns, site.loop_name.as_str(), site.frame.as_str())).collect();
        assert_eq!(
            shown,
            [
                (100_000, "web", "timer parse (b.rs:2)"),
                (7_000, "load", "timer tick (a.rs:1)"),
                (5_000, "web", "timer tick (a.rs:1)")
            ]
        );
    }

    #[test]
    fn a_flood_is_told_with_the_job_that_makes_it() {
        let folded = "web;timers;start (a.rs:1) 5\n\
                      web;timers;start (a.rs:1);microtask a.rs:9 10\n\
                      web;timers;start (a.rs:1);microtask a.rs:9;span 90\n\
                      web;poll;serve (b.rs:2);microtask a.rs:9 1\n\
                      web;poll;serve (b.rs:2);a_span 5\n";
        let jobs: Vec<String> = sites(folded).into_iter().map(|site| site.job).collect();
        assert_eq!(jobs, ["microtask a.rs:9", ""]);
        assert!(sites(folded)[0].label().starts_with("start (a.rs:1), most of it in microtask a.rs:9  ("));
    }
}
