//! The runbooks are written by hand; this holds them to one form, one page for each alert.

#[cfg(test)]
mod tests {
    use crate::alerts::groups;
    use crate::durations::Durations;
    use std::collections::BTreeSet;
    use std::path::Path;

    const PARTS: [&str; 3] = ["## What it means", "## How to confirm", "## What to do"];

    #[test]
    fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
        let alerts = groups(Durations::Production).into_iter().flat_map(|group| group.alerts);
        let wanted: BTreeSet<String> = alerts.map(|alert| format!("{}.md", alert.name)).collect();
        let listed = std::fs::read_dir(folder).unwrap();
        let found: BTreeSet<String> =
            listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn every_runbook_says_how_bad_what_how_and_what_then() {
        for alert in groups(Durations::Production).into_iter().flat_map(|group| group.alerts) {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(format!("{}.md", alert.name));
            let text = std::fs::read_to_string(&path).unwrap();
            let places: Vec<usize> = PARTS.iter().filter_map(|part| text.find(part)).collect();
            assert!(
                places.len() == PARTS.len() && places.is_sorted(),
                "{}: its parts are {PARTS:?}",
                alert.name
            );
            assert!(text.starts_with(&format!("# {}\n", alert.name)), "{}: its title", alert.name);
            let severity = alert.severity.name();
            let first = text.lines().nth(2).unwrap().to_lowercase();
            assert!(first.starts_with(&format!("{severity}: ")), "{}: begins with {severity}", alert.name);
            assert!(text.contains("loopscope ") || text.contains("curl "), "{}: how to confirm", alert.name);
        }
    }
}
