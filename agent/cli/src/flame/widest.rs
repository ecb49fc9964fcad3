//! The callback sites that took most time, from folded stacks: what the eye would find in the picture.

use std::collections::HashMap;

/// Time of one callback site, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub loop_name: String,
    pub phase: String,
    pub frame: String,
    pub ns: u64,
}

impl Site {
    /// Returns the site as the summary names it.
    pub fn label(&self) -> String {
        format!("{}  ({} phase of loop {})", self.frame, self.phase, self.loop_name)
    }
}

/// Adds up folded stacks (`loop;phase;site;more microseconds`) by site, widest first. Lines that are not stacks, and
/// stacks that reach no site, are passed over.
pub fn sites(folded: &str) -> Vec<Site> {
    let mut sums: HashMap<(&str, &str, &str), u64> = HashMap::new();
    for line in folded.lines() {
        let Some((stack, us)) = line.rsplit_once(' ') else { continue };
        let (mut frames, Ok(us)) = (stack.split(';'), us.parse::<u64>()) else { continue };
        if let (Some(name), Some(phase), Some(site)) = (frames.next(), frames.next(), frames.next()) {
            let sum = sums.entry((name, phase, site)).or_default();
            *sum = sum.saturating_add(us.saturating_mul(1_000));
        }
    }
    let site = |((name, phase, frame), ns): ((&str, &str, &str), u64)| Site {
        loop_name: name.to_owned(),
        phase: phase.to_owned(),
        frame: frame.to_owned(),
        ns,
    };
    let mut sites: Vec<Site> = sums.into_iter().map(site).collect();
    sites.sort_by(|a, b| b.ns.cmp(&a.ns).then_with(|| a.label().cmp(&b.label())));
    sites
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
}
