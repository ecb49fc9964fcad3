//! The callback sites that took most time, from folded stacks: what the eye would find in the picture. Also as one line of plain
//! characters, in which an agent sends them beside a file of any format.

use loopscope_probe::description::{Description, Fact, Term};
use std::collections::HashMap;

/// Time of one callback site, with everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteTime {
    /// The loop's label.
    pub loop_name: String,
    /// What its runtime calls a loop.
    pub lane: String,
    /// The phase, as its runtime calls it; empty where the runtime tells of none.
    pub phase: String,
    /// The site, as flamegraphs have it.
    pub frame: String,
    /// Nanoseconds.
    pub ns: u64,
    /// The drained job below it that took most of its time; empty where none did.
    pub job: String,
}

impl SiteTime {
    /// Returns the site as the summary names it.
    pub fn label(&self) -> String {
        let SiteTime { loop_name, lane, phase, frame, job, .. } = self;
        let most = if job.is_empty() { "" } else { ", most of it in " };
        let phase = if phase.is_empty() { String::new() } else { format!("{phase} phase of ") };
        format!("{frame}{most}{job}  ({phase}{lane} {loop_name})")
    }
}

/// Fields of a site in a line of figures.
const FIELDS: usize = 6;

/// Writes sites as one line of plain characters, the first `most` of them; what is not plain is percent-encoded. [`read`] reads it.
pub fn line(sites: &[SiteTime], most: usize) -> String {
    let field = |text: &str| -> String {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:()/ ".contains(&byte);
        let encode =
            |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(encode).collect()
    };
    let rest = sites.iter().skip(most).fold(0u64, |sum, site| sum.saturating_add(site.ns));
    let rest = (rest > 0).then(|| SiteTime { ns: rest, ..SiteTime::default() });
    let text = |site: &SiteTime| {
        let texts =
            [&site.loop_name, &site.lane, &site.phase, &site.frame, &site.job].map(|text| field(text));
        format!("{},{}", site.ns, texts.join(","))
    };
    sites.iter().take(most).chain(&rest).map(text).collect::<Vec<_>>().join(";")
}

/// Reads what [`line()`] wrote; `None` where it is something else. Those beyond the first are one site without a name, the last.
pub fn read(line: &str) -> Option<Vec<SiteTime>> {
    let decode = |text: &str| -> Option<String> {
        let mut parts = text.split('%');
        let mut bytes = parts.next()?.as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
            bytes.extend_from_slice(part.get(2..)?.as_bytes());
        }
        String::from_utf8(bytes).ok()
    };
    let site = |text: &str| {
        let fields: Vec<&str> = text.split(',').collect();
        let [ns, loop_name, lane, phase, frame, job] = <[&str; FIELDS]>::try_from(fields).ok()?;
        let (loop_name, lane, phase) = (decode(loop_name)?, decode(lane)?, decode(phase)?);
        Some(SiteTime {
            loop_name,
            lane,
            phase,
            frame: decode(frame)?,
            job: decode(job)?,
            ns: ns.parse().ok()?,
        })
    };
    line.split(';').map(site).collect()
}

/// What the frames of a loop's stacks are, by what its runtime says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackShape {
    lane: String,
    /// The second frame is a phase; else a site.
    has_phases: bool,
    /// What frames of drained jobs begin with.
    queues: Vec<String>,
}

impl StackShape {
    /// Returns the shape of the stacks of a loop whose page says this.
    pub fn of(runtime: &Description) -> StackShape {
        let has_queues = runtime.knows(Fact::Drains) || runtime.knows(Fact::DrainedJobs);
        let queues = runtime.queues().into_iter().filter(|_| has_queues);
        StackShape {
            lane: runtime.noun(Term::Lane).one,
            has_phases: runtime.knows(Fact::Phases),
            queues: queues.map(|(_, label)| label.to_owned()).collect(),
        }
    }

    fn is_job(&self, frame: &str) -> bool {
        // One of no known place is called by its queue alone.
        let is_of = |rest: &str| rest.is_empty() || rest.starts_with(' ');
        self.queues.iter().any(|queue| frame.strip_prefix(queue.as_str()).is_some_and(is_of))
    }
}

/// Adds up folded stacks (`loop;phase;site;more microseconds`) by site, widest first; `shapes` has what the frames of each loop
/// are, by its name, and a loop that is not there is one that says nothing of itself. Lines that are not stacks, and stacks
/// that reach no site, are passed over.
pub fn sites(folded: &str, shapes: &HashMap<String, StackShape>) -> Vec<SiteTime> {
    let plain = StackShape::of(&Description::new());
    let mut sums: HashMap<[&str; 3], (u64, HashMap<&str, u64>)> = HashMap::new();
    for line in folded.lines() {
        let Some((stack, us)) = line.rsplit_once(' ') else { continue };
        let (frames, Ok(us)) = (stack.split(';').collect::<Vec<_>>(), us.parse::<u64>()) else { continue };
        let shape = shapes.get(frames[0]).unwrap_or(&plain);
        let (name, phase, site, below) = match (frames.as_slice(), shape.has_phases) {
            ([name, phase, site, below @ ..], true) => (name, *phase, site, below),
            ([name, site, below @ ..], false) => (name, "", site, below),
            _ => continue,
        };
        let (sum, jobs) = sums.entry([name, phase, site]).or_default();
        *sum = sum.saturating_add(us);
        if let Some(job) = below.first().filter(|frame| shape.is_job(frame)) {
            let sum: &mut u64 = jobs.entry(job).or_default();
            *sum = sum.saturating_add(us);
        }
    }
    let lane = |name: &str| shapes.get(name).unwrap_or(&plain).lane.clone();
    let mut sites: Vec<SiteTime> =
        sums.iter().map(|(frames, (us, jobs))| site(frames, lane(frames[0]), *us, jobs)).collect();
    sites.sort_by(|a, b| b.ns.cmp(&a.ns).then_with(|| a.label().cmp(&b.label())));
    sites
}

fn site([name, phase, frame]: &[&str; 3], lane: String, us: u64, jobs: &HashMap<&str, u64>) -> SiteTime {
    let job = jobs.iter().find(|(_, part_us)| part_us.saturating_mul(2) > us);
    SiteTime {
        loop_name: (*name).to_owned(),
        lane,
        phase: (*phase).to_owned(),
        frame: (*frame).to_owned(),
        ns: us.saturating_mul(1_000),
        job: job.map_or(String::new(), |(job, _)| (*job).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Queue;

    fn plain(folded: &str) -> Vec<SiteTime> {
        sites(folded, &HashMap::new())
    }

    #[test]
    fn sites_are_summed_over_their_children_and_sorted() {
        let folded = "web;timers;timer tick (a.rs:1) 5\n\
                      web;timers;timer parse (b.rs:2) 10\n\
                      web;timers;timer parse (b.rs:2);span;deeper 90\n\
                      web;poll 3\n\
                      not a stack\n\
                      load;timers;timer tick (a.rs:1) 7\n";
        let found = plain(folded);
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
    fn a_line_of_sites_is_plain_and_read_back() {
        let found = plain("web;poll;read, µs (a.rs:1) 5\nweb;timers;tick;microtask x;y 9\nload;poll;z 3\n");
        let line = line(&found, 2);
        assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
        let back = read(&line).unwrap();
        assert_eq!(back[..2], found[..2]);
        assert_eq!((back[2].ns, &*back[2].frame), (3_000, ""), "the rest is one");
        assert_eq!((read("x"), read("1,a,b,%zz,d")), (None, None));
    }

    #[test]
    fn a_flood_is_told_with_the_job_that_makes_it() {
        let folded = "web;timers;start (a.rs:1) 5\n\
                      web;timers;start (a.rs:1);microtask a.rs:9 10\n\
                      web;timers;start (a.rs:1);microtask a.rs:9;span 90\n\
                      web;poll;serve (b.rs:2);microtask a.rs:9 1\n\
                      web;poll;serve (b.rs:2);a_span 5\n";
        let jobs: Vec<String> = plain(folded).into_iter().map(|site| site.job).collect();
        assert_eq!(jobs, ["microtask a.rs:9", ""]);
        assert!(plain(folded)[0].label().starts_with("start (a.rs:1), most of it in microtask a.rs:9  ("));
    }

    #[test]
    fn a_runtime_has_its_own_queues_and_phases_or_none() {
        let scripts = Description::new().queue(Queue::Microtask, "promise", "promise job", "promise jobs");
        let tasks = Description::new().term(Term::Lane, "worker", "workers").fills(&[Fact::Callbacks]);
        let shapes = [("main", &scripts), ("rt-0", &tasks)];
        let shapes = shapes.map(|(name, runtime)| (name.to_owned(), StackShape::of(runtime))).into();
        let folded = "main;poll;onrequest (a.js:1);promise 90\n\
                      main;poll;onrequest (a.js:1) 10\n\
                      rt-0;GET /items (a.rs:1) 7\n\
                      rt-0;GET /items (a.rs:1);microtask span 70\n";
        let told: Vec<String> = sites(folded, &shapes).iter().map(SiteTime::label).collect();
        assert_eq!(
            told,
            [
                "onrequest (a.js:1), most of it in promise  (poll phase of loop main)",
                "GET /items (a.rs:1)  (worker rt-0)"
            ]
        );
    }
}
