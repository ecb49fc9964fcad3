//! The dashboards are what Grafana and Prometheus understand: their queries parse, and they fit the types that Grafana
//! publishes.

use loopscope_dashboards::grafana::boards;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns what promtool says of a file with this text; nothing where it is not installed.
fn promtool(command: [&str; 2], text: &str) -> Option<String> {
    let file = format!("loopscope-{}-{}.yml", command.join("-"), std::process::id());
    let file = std::env::temp_dir().join(file);
    std::fs::write(&file, text).unwrap();
    let output = Command::new("promtool").args(command).arg(&file).output();
    // It has been read.
    let _ = std::fs::remove_file(&file);
    match output {
        Err(error) => {
            println!(
                "skipped: the dashboards' queries: promtool does not run ({error}); install the package prometheus"
            );
            None
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            Some(said.into_owned())
        }
    }
}

/// Returns a panel's query with Grafana's own variables filled in.
fn with_windows(query: &str) -> String {
    let windows = [("$__rate_interval", "1m"), ("$__range", "1h"), ("$__interval", "1m")];
    windows.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

/// Promtool parses rules; here each query is one.
#[test]
fn every_query_is_valid_promql() {
    let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
    let mut count = 0;
    for board in boards("runbooks") {
        let queries = board.panels().flat_map(|panel| panel.queries()).map(|query| query.expr.as_str());
        for query in queries.chain(board.marks()) {
            rules.push_str(&format!("      - record: panel:{count}\n        expr: |-\n"));
            with_windows(query).lines().for_each(|line| rules.push_str(&format!("          {line}\n")));
            count += 1;
        }
    }
    if let Some(said) = promtool(["check", "rules"], &rules) {
        assert!(said.contains(&format!("{count} rules found")), "{said}");
    }
}

/// Three processes with a loop `main`, seconds a minute that it runs and rests: the first two are on one page of
/// `loopscope serve`, the third on its agent's own.
const LOOPS: [(&str, [&str; 2]); 3] = [
    ("instance=\"host\", job=\"app\", loop=\"main\", name=\"shop\", pid=\"4711\"", ["60", "0"]),
    ("instance=\"host\", job=\"app\", loop=\"main\", name=\"shop\", pid=\"4712\"", ["15", "45"]),
    ("instance=\"own\", job=\"app\", loop=\"main\"", ["30", "30"]),
];

/// Returns promtool's check of what a panel shows when the reader has chosen: name and value of each series.
fn shows(board: &str, panel: &str, chosen: &[(&str, &str)], samples: &[(&str, &str)]) -> String {
    let boards = boards("runbooks");
    let board = boards.iter().find(|known| known.uid == board).unwrap();
    let panel = board.panels().find(|known| known.title() == panel).unwrap();
    let query = with_windows(&panel.queries()[0].expr).replace("[1m]", "[5m]");
    let query = chosen.iter().fold(query, |query, (name, value)| query.replace(&format!("${name}"), value));
    // What is not named is All.
    let query = ["job", "instance", "name", "pid", "loop"]
        .iter()
        .fold(query, |query, name| query.replace(&format!("${name}"), ".*"));
    let mut check = format!("      - expr: {query:?}\n        eval_time: 10m\n        exp_samples:\n");
    for (labels, value) in samples {
        check.push_str(&format!("          - {{ labels: '{{{labels}}}', value: {value} }}\n"));
    }
    check
}

#[test]
fn loops_of_one_name_are_not_added_up() {
    let mut stories = String::from("evaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n");
    for (labels, seconds) in LOOPS {
        for (state, seconds) in ["active", "idle"].into_iter().zip(seconds) {
            let series = format!("loopscope_loop_time_seconds_total{{{labels}, state=\"{state}\"}}");
            stories.push_str(&format!("      - {{ series: '{series}', values: \"0+{seconds}x10\" }}\n"));
        }
    }
    stories.push_str("    promql_expr_test:\n");
    let of_one = [("pid", "4712"), ("name", "shop"), ("instance", "host")];
    // A choice without anything to choose from.
    let of_agent = [("pid", ""), ("name", ""), ("instance", "own")];
    let each = [(LOOPS[0].0, "1"), (LOOPS[1].0, "0.25"), (LOOPS[2].0, "0.5")];
    let states = |active, idle| [("state=\"active\"", active), ("state=\"idle\"", idle)];
    stories.push_str(&shows("loopscope-overview", "Busiest loop", &[], &[("", "1")]));
    stories.push_str(&shows("loopscope-overview", "Utilization", &[], &each));
    stories.push_str(&shows("loopscope-overview", "Utilization", &of_one, &each[1..2]));
    stories.push_str(&shows("loopscope-loop", "Busy and idle", &of_one, &states("0.25", "0.75")));
    stories.push_str(&shows("loopscope-loop", "Busy and idle", &of_agent, &states("0.5", "0.5")));
    promtool(["test", "rules"], &stories);
}

#[test]
fn the_dashboards_fit_grafana_s_published_types() {
    let folder = root().join("dashboards/schema");
    if !folder.join("node_modules").exists() {
        println!("skipped: Grafana's types: run `npm install --no-package-lock` in dashboards/schema");
        return;
    }
    let output = match Command::new("node").arg("check.mjs").current_dir(&folder).output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: Grafana's types: node does not run ({error})"),
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
