//! The label value of each loop: its name, made unique within the process and bounded in number.

use loopscope_probe::loop_id::label;

/// At most this many loops have a label of their own; further ones are reported together.
pub const LOOPS_MAX: usize = 64;

pub use loopscope_probe::loop_id::OTHER;

/// Returns a label for a loop called `name` that none of `taken` has: the name itself, `name#2`, `name#3` and so on;
/// [`OTHER`] where [`LOOPS_MAX`] labels are taken.
pub fn unique<'a>(name: &str, taken: impl Iterator<Item = &'a str> + Clone) -> String {
    bounded(label(name, taken.clone()), taken)
}

/// Returns a label that none of `taken` is, or [`OTHER`] where [`LOOPS_MAX`] labels are taken.
pub fn bounded<'a>(label: String, taken: impl Iterator<Item = &'a str>) -> String {
    match taken.filter(|label| *label != OTHER).count() >= LOOPS_MAX {
        true => OTHER.to_owned(),
        false => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_numbered_and_the_sixty_fifth_shares() {
        let mut labels: Vec<String> = Vec::new();
        for _ in 0..LOOPS_MAX + 2 {
            let label = unique("worker", labels.iter().map(String::as_str));
            labels.push(label);
        }
        assert_eq!(labels[..3], ["worker", "worker#2", "worker#3"]);
        assert_eq!(labels[LOOPS_MAX - 1], "worker#64");
        assert_eq!(labels[LOOPS_MAX..], [OTHER, OTHER]);
        assert_eq!(unique("", [].into_iter()), "unnamed");
        assert_eq!(unique(OTHER, [].into_iter()), "other");
    }
}
