//! Tests of what is on the dashboards.

use super::selection::{firing_at_processes, firing_at_targets};
use super::shape::Shape;
use super::*;
use crate::alerts::groups;
use crate::durations::Durations;
use loopscope_report::metrics::catalog as c;
use serde_json::Value;
use std::collections::BTreeSet;

fn all() -> Vec<(Board, Value)> {
    boards("runbooks-are-here")
        .into_iter()
        .map(|board| (board.clone(), serde_json::from_str(&board.text()).unwrap()))
        .collect()
}

#[test]
fn every_panel_is_explained_and_named_once() {
    for (board, _) in all() {
        let mut titles = BTreeSet::new();
        for panel in board.panels() {
            assert!(titles.insert(panel.title()), "{}: {}", board.uid, panel.title());
            let is_explained = panel.queries().is_empty() || panel.description().len() >= 15;
            assert!(
                is_explained && (panel.queries().is_empty() || panel.description().ends_with('.')),
                "{}: {}",
                board.uid,
                panel.title()
            );
        }
    }
}

/// Every cell of the grid belongs to at most one panel, and no panel leaves it.
#[test]
fn panels_lie_beside_each_other() {
    for (board, json) in all() {
        let mut taken = BTreeSet::new();
        for panel in json["panels"].as_array().unwrap() {
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            assert!(x + w <= 24, "{}: {}", board.uid, panel["title"]);
            for cell in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
                assert!(taken.insert(cell), "{}: {} lies on another panel", board.uid, panel["title"]);
            }
        }
    }
}

#[test]
fn every_row_is_filled() {
    for (board, json) in all() {
        let panels: Vec<&Value> = json["panels"].as_array().unwrap().iter().collect();
        let height = panels
            .iter()
            .map(|panel| panel["gridPos"]["y"].as_u64().unwrap() + panel["gridPos"]["h"].as_u64().unwrap())
            .max()
            .unwrap();
        let area: u64 = panels
            .iter()
            .map(|panel| panel["gridPos"]["w"].as_u64().unwrap() * panel["gridPos"]["h"].as_u64().unwrap())
            .sum();
        assert_eq!(area, 24 * height, "{} has holes", board.uid);
    }
}

#[test]
fn links_to_runbooks_lead_to_alerts_that_exist() {
    let names: BTreeSet<&str> = groups(Durations::Production)
        .iter()
        .flat_map(|group| &group.alerts)
        .map(|alert| alert.name)
        .collect();
    let mut linked = BTreeSet::new();
    for (board, _) in all() {
        let text = board.text();
        for (_, rest) in text.match_indices("${runbooks}/").map(|(at, mark)| text.split_at(at + mark.len())) {
            let name = rest.split(".md").next().unwrap().to_owned();
            if name.starts_with("${") {
                continue;
            }
            assert!(names.contains(name.as_str()), "{}: no alert is called {name}", board.uid);
            linked.insert(name);
        }
    }
    let unlinked: Vec<_> = names.iter().filter(|name| !linked.contains(**name)).collect();
    assert!(
        unlinked.iter().all(|name| ["UtilizationFull", "LagBudgetBurnSteady"].contains(name)),
        "no panel links {unlinked:?}"
    );
}

/// What is exported and shown nowhere is exported in vain.
#[test]
fn every_metric_of_the_catalogue_is_on_a_dashboard() {
    let text: String = all().iter().map(|(board, _)| board.text()).collect();
    let missing: Vec<&str> =
        c::ALL.iter().map(|family| family.name).filter(|name| !text.contains(name)).collect();
    assert!(missing.is_empty(), "on no dashboard: {missing:?}");
}

#[test]
fn the_address_of_runbooks_is_what_was_asked_for() {
    for (board, json) in all() {
        let variables = json["templating"]["list"].as_array().unwrap();
        let runbooks = variables.iter().find(|variable| variable["name"] == "runbooks").unwrap();
        assert_eq!(runbooks["query"], "runbooks-are-here", "{}", board.uid);
    }
}

/// Returns the boards of our own metrics with all that they ask.
fn asked() -> Vec<(Board, Vec<String>)> {
    let own = boards("runbooks-are-here").into_iter().filter(|board| board.uid != "loopscope-node");
    own.map(|board| {
        let queries = board.panels().flat_map(|panel| panel.queries()).map(|query| query.expr.as_str());
        let queries = queries.chain(board.marks()).map(str::to_owned).collect();
        (board, queries)
    })
    .collect()
}

/// Returns what stands between `open` and the next `close`, everywhere in `text`.
fn enclosed<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split(close).next())
}

#[test]
fn loops_and_pools_of_several_processes_are_told_apart() {
    for (board, queries) in asked() {
        for query in queries {
            for list in enclosed(&query, " by (", ')').chain(enclosed(&query, " on (", ')')) {
                let labels: BTreeSet<&str> = list.split(", ").collect();
                let is_of_one = ["instance", "loop", "pool"].iter().any(|label| labels.contains(label));
                assert!(!is_of_one || labels.contains("pid"), "{}: {query}", board.uid);
            }
        }
    }
}

#[test]
fn where_a_process_can_be_chosen_everything_goes_by_it() {
    for (board, queries) in asked().into_iter().filter(|(board, _)| board.uid != "loopscope-agent") {
        for query in queries {
            // Whether a target is up is not known of its processes.
            let selectors = enclosed(&query, "{", '}').filter(|_| !query.starts_with("count(up{"));
            for selector in selectors {
                let is_chosen = ["$name\"", "$pid\""].iter().all(|choice| selector.contains(choice));
                assert!(is_chosen, "{}: {selector} in {query}", board.uid);
            }
        }
    }
}

/// `.*`, unlike `.+`, also matches series without the label: those of an agent's own page.
#[test]
fn all_processes_are_shown_at_first_save_where_they_would_be_added_up() {
    for (board, json) in all() {
        let variables = json["templating"]["list"].as_array().unwrap();
        let choices = variables.iter().filter(|choice| choice["name"] == "pid" || choice["name"] == "name");
        let mut count = 0;
        for choice in choices {
            count += 1;
            let is_for_one = board.uid == "loopscope-loop";
            assert_eq!(choice["includeAll"], !is_for_one, "{}: {choice}", board.uid);
            assert_eq!(choice["multi"], !is_for_one, "{}: {choice}", board.uid);
            let at_first = (choice["current"]["value"].as_str(), choice["allValue"].as_str());
            let expected = if is_for_one { (Some(""), None) } else { (Some("$__all"), Some(".*")) };
            assert_eq!(at_first, expected, "{}: {choice}", board.uid);
        }
        let is_without = ["loopscope-agent", "loopscope-node"].contains(&board.uid);
        assert_eq!(count, if is_without { 0 } else { 2 }, "{}", board.uid);
    }
}

/// Some families are exported for some runtimes only. A variable with the values of such a family is empty for the others, and so is the
/// dashboard.
#[test]
fn processes_are_chosen_from_what_every_loop_has() {
    for (board, json) in all() {
        for choice in json["templating"]["list"].as_array().unwrap() {
            let Some(query) = choice["query"]["query"].as_str() else { continue };
            let (name, uid) = (choice["name"].as_str().unwrap(), board.uid);
            let expected = match (uid, name) {
                ("loopscope-agent", _) => "label_values(loopscope_build_info",
                ("loopscope-node", _) => "label_values(nodejs_version_info",
                (_, "pool") => "label_values({__name__=~\"loopscope_pool_.+\",job=~\"$job\",",
                (_, _) => "label_values(loopscope_loop_info",
            };
            assert!(query.starts_with(expected), "{uid}: {name}: {query}");
        }
    }
}

/// `.*` would be every job of the server, with processes that are none of ours.
#[test]
fn all_jobs_are_those_that_are_listed() {
    for (board, json) in all() {
        let variables = json["templating"]["list"].as_array().unwrap();
        let job = variables.iter().find(|choice| choice["name"] == "job").unwrap();
        assert!(job.get("allValue").is_none(), "{}: {job}", board.uid);
    }
}

/// Over a range, the last value of one that has ended would be shown for as long as the range is.
#[test]
fn a_figure_of_now_is_none_of_before() {
    let mut count = 0;
    for (board, json) in all() {
        for panel in json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "stat") {
            for query in panel["targets"].as_array().unwrap() {
                count += 1;
                assert_eq!(
                    (&query["instant"], &query["range"]),
                    (&true.into(), &false.into()),
                    "{}: {query}",
                    board.uid
                );
            }
        }
    }
    assert!(count > 20, "only {count} figures");
}

#[test]
fn every_alert_is_in_the_list_of_those_that_fire() {
    let alerts = groups(Durations::Production).into_iter().flat_map(|group| group.alerts);
    let names: Vec<&str> = alerts.map(|alert| alert.name).collect();
    for listed in [firing_at_targets(), firing_at_processes()] {
        let listed: Vec<&str> =
            enclosed(&listed, "alertname=~\"", '"').flat_map(|names| names.split('|')).collect();
        assert!(names.iter().all(|name| listed.contains(name)), "{listed:?}");
    }
}

#[test]
fn a_row_s_link_leads_to_the_process_of_the_row() {
    let mut count = 0;
    for (board, _) in all() {
        for panel in board.panels() {
            let Shape::Table { labels, link: Some((_, url)), .. } = panel.shape else { continue };
            let fields: BTreeSet<&str> = enclosed(url, "${__data.fields.", '}').collect();
            assert!(fields.iter().all(|field| labels.contains(field)), "{}: {fields:?}", panel.title());
            if url.starts_with("/d/") {
                count += 1;
                assert!(fields.contains("pid") && fields.contains("name"), "{}: {url}", panel.title());
            }
        }
    }
    assert!(count > 3, "{count} tables lead to other dashboards");
}

/// What a runbook quotes with a capital letter is a dashboard or a panel.
#[test]
fn runbooks_name_panels_that_exist() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (board, json) in all() {
        known.insert(json["title"].as_str().unwrap().to_owned());
        known.extend(board.panels().map(|panel| panel.title().to_owned()));
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap().replace('\n', " ");
        for quoted in text.split('"').skip(1).step_by(2) {
            let is_title = quoted.starts_with(|c: char| c.is_ascii_uppercase());
            assert!(!is_title || known.contains(quoted), "{}: no panel is called {quoted}", path.display());
        }
    }
}

/// What is recorded of each loop is judged loop by loop, and the worst is shown: a mean gets better with every idle loop.
#[test]
fn no_share_and_no_quantile_of_a_loop_is_averaged_with_others() {
    let recorded = ["loopscope:loop_", "loopscope:timer_", "loopscope:pool_"];
    let mut count = 0;
    for board in boards("runbooks") {
        for query in board.panels().flat_map(|panel| panel.queries()) {
            if recorded.iter().any(|name| query.expr.contains(name)) {
                count += 1;
                let is_mixed =
                    ["avg", "sum by", "sum(", "sum without"].iter().any(|by| query.expr.contains(by));
                assert!(!is_mixed, "{}: {}", board.uid, query.expr);
            }
        }
    }
    assert!(count > 15, "only {count} queries of what is recorded");
}

#[test]
fn no_query_has_a_value_that_is_not_a_number() {
    for board in boards("runbooks") {
        for query in board.panels().flat_map(|panel| panel.queries()) {
            let expr = &query.expr;
            for line in expr.lines().filter(|line| line.starts_with("histogram_quantile(")) {
                assert!(line.contains(") >= 0"), "{}: a quantile of nothing: {expr}", board.uid);
            }
            for divisor in expr.split("\n/\n").skip(1) {
                let is_guarded = divisor.starts_with('(') && divisor.contains(" > 0)");
                assert!(is_guarded, "{}: divides by what may be 0: {expr}", board.uid);
            }
        }
    }
}
