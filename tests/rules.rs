//! The alerting rules are valid, fire when they should and stay silent when they should not: promtool's word for it.

use std::path::Path;
use std::process::Command;

fn promtool(arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = match Command::new("promtool").args(arguments).current_dir(root).output() {
        Err(error) => {
            println!("skipped: promtool does not run here ({error}); it is in the Debian package prometheus");
            return;
        }
        Ok(output) => output,
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {}:\n{said}", arguments.join(" "));
}

#[test]
fn the_alerts_are_valid_rules() {
    promtool(&["check", "rules", "dashboards/alerts.yml"]);
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    promtool(&["test", "rules", "dashboards/alerts_test.yml"]);
}

#[test]
fn the_sample_configuration_is_valid() {
    promtool(&["check", "config", "deploy/prometheus.yml"]);
}
