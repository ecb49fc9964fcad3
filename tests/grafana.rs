//! The dashboards are what Grafana and Prometheus understand: their queries parse, and they fit the types that Grafana
//! publishes.

use loopscope_dashboards::grafana::boards;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Promtool parses rules; here each query is one.
#[test]
fn every_query_is_valid_promql() {
    let windows = [("$__rate_interval", "1m"), ("$__range", "1h"), ("$__interval", "1m")];
    let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
    let mut count = 0;
    for board in boards("runbooks") {
        let queries = board.panels().flat_map(|panel| panel.queries()).map(|query| query.expr.as_str());
        for query in queries.chain(board.marks()) {
            let query =
                windows.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value));
            rules.push_str(&format!("      - record: panel:{count}\n        expr: |-\n"));
            query.lines().for_each(|line| rules.push_str(&format!("          {line}\n")));
            count += 1;
        }
    }
    let file = std::env::temp_dir().join(format!("loopscope-panels-{}.yml", std::process::id()));
    std::fs::write(&file, rules).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output();
    // It has been read.
    let _ = std::fs::remove_file(&file);
    match output {
        Err(error) => {
            println!(
                "skipped: queries of panels: promtool does not run ({error}); install the package prometheus"
            )
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert!(said.contains(&format!("{count} rules found")), "{said}");
        }
    }
}

#[test]
fn the_dashboards_fit_grafana_s_published_types() {
    let folder = root().join("dashboards/schema");
    if !folder.join("node_modules").exists() {
        println!("skipped: Grafana's types: run `npm install --no-package-lock` in dashboards/schema");
        return;
    }
    let output = Command::new("node").arg("check.mjs").current_dir(&folder).output();
    let output = output.expect("node is there where npm was");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
