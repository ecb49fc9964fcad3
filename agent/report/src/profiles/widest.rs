//! The callback sites that took most time, from folded stacks: what the eye would find in the picture. Also as one line of plain
//! characters, in which an agent sends them beside a file of any format.

use loopscope_probe::Queue;
use std::collections::HashMap;

/// Time of one callback site, with everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The loop's label.
    pub loop_name: String,
    /// The phase, as its runtime calls it.
    pub phase: String,
    /// The site, as flamegraphs have it.
    pub frame: String,
    /// Nanoseconds.
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

/// Fields of a site in a line of figures.
const FIELDS: usize = 5;

/// Writes sites as one line of plain characters, the first `most` of them; what is not plain is percent-encoded. [`read`] reads it.
pub fn line(sites: &[Site], most: usize) -> String {
    let field = |text: &str| -> String {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:()/ ".contains(&byte);
        let encode =
            |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(encode).collect()
    };
    let rest = sites.iter().skip(most).fold(0u64, |sum, site| sum.saturating_add(site.ns));
    let rest = (rest > 0).then(|| Site { ns: rest, ..Site::default() });
    let text = |site: &Site| {
        let texts = [&site.loop_name, &site.phase, &site.frame, &site.job].map(|text| field(text));
        format!("{},{}", site.ns, texts.join(","))
    };
    sites.iter().take(most).chain(&rest).map(text).collect::<Vec<_>>().join(";")
}

/// Reads what [`line`] wrote; `None` where it is something else. Those beyond the first are one site without a name, the last.
pub fn read(line: &str) -> Option<Vec<Site>> {
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
        let [ns, loop_name, phase, frame, job] = <[&str; FIELDS]>::try_from(fields).ok()?;
        let (loop_name, phase, frame, job) =
            (decode(loop_name)?, decode(phase)?, decode(frame)?, decode(job)?);
        Some(Site { loop_name, phase, frame, job, ns: ns.parse().ok()? })
    };
    line.split(';').map(site).collect()
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
    fn a_line_of_sites_is_plain_and_read_back() {
        let found = sites("web;poll;read, µs (a.rs:1) 5\nweb;timers;tick;microtask x;y 9\nload;poll;z 3\n");
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
        let jobs: Vec<String> = sites(folded).into_iter().map(|site| site.job).collect();
        assert_eq!(jobs, ["microtask a.rs:9", ""]);
        assert!(sites(folded)[0].label().starts_with("start (a.rs:1), most of it in microtask a.rs:9  ("));
    }
}
