//! The recording rules and alerts are valid, fire when they should and stay silent when they should not: promtool's
//! word for it.

use std::path::Path;
use std::process::Command;

fn promtool(arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = match Command::new("promtool").args(arguments).current_dir(root).output() {
        Err(error) => {
            let what = arguments.join(" ");
            println!(
                "skipped: promtool {what}: it does not run here ({error}); install the package prometheus"
            );
            return;
        }
        Ok(output) => output,
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {}:\n{said}", arguments.join(" "));
}

#[test]
fn the_rules_are_valid() {
    promtool(&["check", "rules", "dashboards/rules.yml", "dashboards/alerts.yml"]);
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    promtool(&["test", "rules", "dashboards/alerts_test.yml"]);
}

#[test]
fn nothing_is_recorded_that_is_not_a_number() {
    promtool(&["test", "rules", "dashboards/rules_test.yml"]);
}

#[test]
fn the_budget_s_alerts_hold_over_days() {
    promtool(&["test", "rules", "dashboards/budget_test.yml"]);
}

#[test]
fn the_sample_configuration_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sample = std::fs::read_to_string(root.join("deploy/prometheus.yml")).unwrap();
    assert!(
        sample.contains("    scrape_native_histograms: true\n"),
        "Prometheus 3.9 asks for them by nothing else"
    );
    // Debian's promtool is older than this setting.
    let known = |line: &&str| !line.contains("scrape_native_histograms");
    let dashboards = root.join("dashboards").canonicalize().unwrap();
    let text = sample.lines().filter(known).collect::<Vec<_>>().join("\n");
    let text = text.replace("../dashboards", dashboards.to_str().unwrap());
    let file = std::env::temp_dir().join(format!("loopscope-prometheus-{}.yml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    promtool(&["check", "config", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
}
