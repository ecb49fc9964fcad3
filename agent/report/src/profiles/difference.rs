//! How two profiles differ: by callback site for people and for checks, and frame by frame for a picture.
//!
//! A change is that of a frame's **whole** time, of what it calls included, as part of the larger of the two totals. So a new
//! callback that takes 85 % of the time has changed by +85 %, and so has what it calls, as far as that is where its time goes.

use crate::profiles::colour_mark::CHANGE_MARK;
use crate::profiles::profile::Profile;
use inferno::flamegraph::color::{Color, PaletteMap};
use std::collections::{BTreeMap, HashMap};

/// A change of this much of all time has the full colour: a picture of noise alone stays pale.
const FULL_RATIO: f64 = 0.10;

/// A change of less has no colour.
const LEAST_RATIO: f64 = 0.005;

/// Steps from no colour to the full one.
const STEPS: i32 = 8;

/// Colours of the greatest change, and of none.
pub(crate) const MORE: (u8, u8, u8) = (255, 100, 100);
pub(crate) const LESS: (u8, u8, u8) = (100, 100, 255);
pub(crate) const SAME: (u8, u8, u8) = (250, 250, 250);

/// How two profiles of a difference are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Totals {
    /// By their times as they are: right for captures of the same length under the same load.
    #[default]
    AsMeasured,
    /// As if both had the same total: shows how shares have moved.
    Equal,
}

/// How the time of one callback site has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteChange {
    /// `loop;phase;site`, as folded stacks have it.
    pub site: String,
    /// Its whole time before, in nanoseconds; compared as [`Totals`] says.
    pub before_ns: u64,
    /// And after.
    pub after_ns: u64,
    /// The change as part of the larger total, -1 to 1.
    pub change_ratio: f64,
}

/// The whole times of every frame of two profiles, by its path.
pub(crate) struct Difference {
    /// Microseconds before and after.
    paths: HashMap<String, (f64, f64)>,
    /// The larger total, in microseconds.
    scale_us: f64,
}

impl Difference {
    pub(crate) fn between(before: &Profile, after: &Profile, totals: Totals) -> Difference {
        let (old, new) = (before.lines(false), after.lines(false));
        let sum = |lines: &[(String, u64)]| lines.iter().map(|(_, us)| *us as f64).sum::<f64>();
        let (old_us, new_us) = (sum(&old), sum(&new));
        let factor = if totals == Totals::Equal { new_us / old_us.max(1.0) } else { 1.0 };
        let mut paths: HashMap<String, (f64, f64)> = HashMap::new();
        for (stack, us) in &old {
            prefixes(stack)
                .for_each(|path| paths.entry(path.to_owned()).or_default().0 += *us as f64 * factor);
        }
        for (stack, us) in &new {
            prefixes(stack).for_each(|path| paths.entry(path.to_owned()).or_default().1 += *us as f64);
        }
        Difference { paths, scale_us: (old_us * factor).max(new_us).max(1.0) }
    }

    /// Returns the change of a frame by its path, as part of the larger total.
    fn change_ratio(&self, path: &str) -> f64 {
        let (before, after) = self.paths.get(path).copied().unwrap_or_default();
        (after - before) / self.scale_us
    }

    /// Returns a stack as it is drawn: each frame with its change, where that is worth a colour, and the mark of that colour.
    pub(crate) fn drawn(&self, stack: &str) -> String {
        let mut begin = 0;
        let frame = |path: &str| {
            let text = &path[std::mem::replace(&mut begin, path.len() + 1)..];
            let ratio = self.change_ratio(path);
            let level = level(ratio);
            let words = if level == 0 { String::new() } else { format!(" {:+.1}%", ratio * 100.0) };
            format!("{text}{words}{}", mark(level))
        };
        prefixes(stack).map(frame).collect::<Vec<_>>().join(";")
    }

    /// Returns the sites that have changed, the greatest change first.
    fn sites(&self) -> Vec<SiteChange> {
        let of_sites = self.paths.iter().filter(|(path, _)| path.matches(';').count() == 2);
        let ordered: BTreeMap<&String, &(f64, f64)> = of_sites.collect();
        let change = |(path, (before, after)): (&String, &(f64, f64))| SiteChange {
            site: path.clone(),
            before_ns: (before * 1e3) as u64,
            after_ns: (after * 1e3) as u64,
            change_ratio: (after - before) / self.scale_us,
        };
        let mut sites: Vec<SiteChange> = ordered.into_iter().map(change).collect();
        sites.sort_by(|a, b| b.change_ratio.abs().total_cmp(&a.change_ratio.abs()));
        sites
    }
}

impl Profile {
    /// Returns how the whole time of each callback site has changed since `before`, the greatest change first.
    pub fn changes_since(&self, before: &Profile, totals: Totals) -> Vec<SiteChange> {
        Difference::between(before, self, totals).sites()
    }
}

/// Returns the paths of all frames of a stack, the root's first: `a`, `a;b`, `a;b;c`.
fn prefixes(stack: &str) -> impl Iterator<Item = &str> {
    stack.match_indices(';').map(|(at, _)| at).chain([stack.len()]).map(|end| &stack[..end])
}

fn level(ratio: f64) -> i32 {
    if ratio.abs() < LEAST_RATIO {
        return 0;
    }
    let steps = (ratio.abs() / FULL_RATIO * f64::from(STEPS)).ceil().min(f64::from(STEPS));
    steps as i32 * if ratio < 0.0 { -1 } else { 1 }
}

fn mark(level: i32) -> char {
    char::from_u32(CHANGE_MARK + (level + STEPS) as u32).expect("the private characters are characters")
}

/// Gives each frame of the drawn lines the colour that its mark stands for.
pub(crate) fn palette<'a>(lines: impl Iterator<Item = &'a str>) -> PaletteMap {
    let mut palette = PaletteMap::default();
    palette.insert("", colour(0));
    for frame in lines.flat_map(|line| line.split(';')) {
        let mark = frame.chars().next_back().map_or(CHANGE_MARK, u32::from);
        palette.insert(frame, colour(mark.wrapping_sub(CHANGE_MARK) as i32 - STEPS));
    }
    palette
}

fn colour(level: i32) -> Color {
    let full = if level < 0 { LESS } else { MORE };
    let part = f64::from(level.abs().min(STEPS)) / f64::from(STEPS);
    let mix = |same: u8, full: u8| (f64::from(same) + (f64::from(full) - f64::from(same)) * part) as u8;
    Color { r: mix(SAME.0, full.0), g: mix(SAME.1, full.1), b: mix(SAME.2, full.2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(folded: &str) -> Profile {
        Profile::parse_folded(folded).unwrap()
    }

    #[test]
    fn a_new_callback_has_changed_by_all_of_its_time_and_the_noise_by_nothing() {
        let before = profile("web;poll;read (a.rs:1);parse 100\nweb;timers;tick (b.rs:2) 1000\n");
        let after = profile(
            "web;poll;read (a.rs:1);parse 104\nweb;timers;tick (b.rs:2) 996\nweb;timers;new (c.rs:3);sum 6233\n",
        );
        let changes = after.changes_since(&before, Totals::AsMeasured);
        assert_eq!((&*changes[0].site, changes[0].before_ns), ("web;timers;new (c.rs:3)", 0));
        assert!((changes[0].change_ratio - 0.85).abs() < 0.001, "{changes:?}");
        assert!(changes[1].change_ratio.abs() < 0.001, "{changes:?}");
        let difference = Difference::between(&before, &after, Totals::AsMeasured);
        let full = mark(STEPS);
        let drawn = difference.drawn("web;timers;new (c.rs:3);sum");
        assert!(drawn.ends_with(&format!("new (c.rs:3) +85.0%{full};sum +85.0%{full}")), "{drawn}");
        let same = mark(0);
        let noise = difference.drawn("web;poll;read (a.rs:1)");
        assert!(noise.ends_with(&format!(";poll{same};read (a.rs:1){same}")), "noise has no colour: {noise}");
    }

    #[test]
    fn equal_totals_compare_shares() {
        let (before, after) = (profile("a;b;c 10\na;b;d 10\n"), profile("a;b;c 300\na;b;d 100\n"));
        let changes = after.changes_since(&before, Totals::Equal);
        let told: Vec<(&str, i64)> = changes
            .iter()
            .map(|change| (&*change.site, (change.change_ratio * 1e3).round() as i64))
            .collect();
        assert_eq!(told, [("a;b;c", 250), ("a;b;d", -250)]);
    }

    #[test]
    fn colours_go_from_none_to_full() {
        let Color { r, g, .. } = colour(STEPS);
        assert_eq!((r, g), (MORE.0, MORE.1));
        assert_eq!((level(0.004), level(-0.02), level(0.9)), (0, -2, STEPS));
    }
}
