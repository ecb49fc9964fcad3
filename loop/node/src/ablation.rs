//! What of the adapter is left out while a program measures what each part costs.

use crate::sys::Listened;

/// What is left out; by default nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ablation {
    /// libuv's handles.
    pub handles: bool,
    /// V8's hooks around entries.
    pub entries: bool,
    /// V8's hook after its checkpoints.
    pub checkpoints: bool,
    /// V8's hooks around collections.
    pub gc: bool,
    /// Node's trace events that are listened to.
    pub(crate) listened: Listened,
    /// What the page is told: handles, hooks and events come, and nothing is done about them.
    pub telling: bool,
}

impl Default for Ablation {
    fn default() -> Ablation {
        Ablation {
            handles: false,
            entries: false,
            checkpoints: false,
            gc: false,
            listened: Listened::ALL,
            telling: false,
        }
    }
}

impl Ablation {
    /// Reads names, separated by commas: `handles`, `entries`, `checkpoints`, `gc`, `telling`, and the trace events `drains`,
    /// `names` and `turns`. Others mean nothing.
    pub fn parse(text: &str) -> Ablation {
        let mut all = Ablation::default();
        let [drains, names, turns] = &mut all.listened.0;
        for name in text.split(',') {
            match name {
                "handles" => all.handles = true,
                "entries" => all.entries = true,
                "checkpoints" => all.checkpoints = true,
                "gc" => all.gc = true,
                "telling" => all.telling = true,
                "drains" => *drains = false,
                "names" => *names = false,
                "turns" => *turns = false,
                _ => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_left_out_and_nothing_else() {
        assert_eq!(Ablation::parse(""), Ablation::default());
        let some = Ablation::parse("checkpoints,turns,nothing");
        let listened = Listened([true, true, false]);
        assert_eq!(some, Ablation { checkpoints: true, listened, ..Ablation::default() });
    }
}
