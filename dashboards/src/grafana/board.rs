//! One dashboard: its variables, links, annotations, and rows of panels laid out on Grafana's grid of 24 columns.

use super::panel::{Panel, data_source};
use super::selection::{firing_at_processes, firing_at_targets, processes, targets};
use crate::promql::Series;
use loopscope_report::metrics::catalog as c;
use serde_json::{Value, json};

const COLUMNS: u32 = 24;

/// The version of the layout below; newer Grafanas read it and convert it.
const SCHEMA_VERSION: u32 = 39;

/// A choice in the bar at the top.
#[derive(Clone, Debug)]
struct Variable {
    name: &'static str,
    label: &'static str,
    query: String,
    is_multiple: bool,
}

/// One dashboard.
#[derive(Clone, Debug)]
pub struct Board {
    /// Its fixed name in addresses.
    pub uid: &'static str,
    title: &'static str,
    description: &'static str,
    since: &'static str,
    variables: Vec<Variable>,
    annotations: Vec<Value>,
    rows: Vec<(&'static str, Vec<Panel>)>,
    runbooks: String,
}

impl Board {
    pub(super) fn new(uid: &'static str, title: &'static str, description: &'static str) -> Board {
        Board {
            uid,
            title,
            description,
            since: "now-1h",
            variables: Vec::new(),
            annotations: Vec::new(),
            rows: Vec::new(),
            runbooks: String::new(),
        }
    }

    /// Sets the time that is shown at first.
    #[must_use]
    pub(super) fn since(mut self, since: &'static str) -> Board {
        self.since = since;
        self
    }

    /// Lets the reader choose values of a label of `series`.
    #[must_use]
    pub(super) fn choose(
        self,
        label: &'static str,
        title: &'static str,
        series: &Series,
        multiple: bool,
    ) -> Board {
        self.choose_from(label, title, &series.select(), multiple)
    }

    /// Lets the reader choose a process with loops, step by step: many and all at first, or one. By what every loop has: other families
    /// are of some runtimes only.
    #[must_use]
    pub(super) fn choose_process(self, multiple: bool) -> Board {
        let family = &c::LOOP_INFO;
        let of_job = Series::of(family).with("job", "=~", "$job");
        let of_name = targets(family).with("name", "=~", "$name");
        self.choose("job", "Job", &Series::of(family), multiple)
            .choose("instance", "Instance", &of_job, multiple)
            .choose("name", "Program", &targets(family), multiple)
            .choose("pid", "Process", &of_name, multiple)
    }

    /// The same as [`Board::choose`], of any series.
    #[must_use]
    pub(super) fn choose_from(
        mut self,
        name: &'static str,
        label: &'static str,
        series: &str,
        is_multiple: bool,
    ) -> Board {
        let query = format!("label_values({series}, {name})");
        self.variables.push(Variable { name, label, query, is_multiple });
        self
    }

    /// Marks moments at which `expr` has a value.
    #[must_use]
    pub(super) fn mark(mut self, name: &str, color: &str, expr: &str, title: &str, text: &str) -> Board {
        self.annotations.push(json!({
            "name": name, "datasource": data_source(), "enable": true, "hide": false, "iconColor": color,
            "expr": expr, "step": "15s", "titleFormat": title, "textFormat": text, "useValueForTime": false,
        }));
        self
    }

    /// Adds a row of panels under a heading.
    #[must_use]
    pub(super) fn row(mut self, title: &'static str, panels: Vec<Panel>) -> Board {
        self.rows.push((title, panels));
        self
    }

    pub(super) fn runbooks(mut self, runbooks: &str) -> Board {
        runbooks.clone_into(&mut self.runbooks);
        self
    }

    /// Returns its panels.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|(_, panels)| panels)
    }

    /// Returns what its annotations ask Prometheus.
    pub fn marks(&self) -> impl Iterator<Item = &str> {
        self.annotations.iter().filter_map(|mark| mark["expr"].as_str())
    }

    /// Returns the file that Grafana loads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        push_sorted(&mut text, &self.json(), 0);
        text.push('\n');
        text
    }

    fn json(&self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["loopscope"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": self.since, "to": "now" },
            "timezone": "browser",
            "fiscalYearStartMonth": 0,
            "liveNow": false,
            "links": [{
                "title": "loopscope", "type": "dashboards", "tags": ["loopscope"], "asDropdown": true,
                "includeVars": true, "keepTime": true, "targetBlank": false, "icon": "external link",
                "tooltip": "", "url": "",
            }],
            "annotations": { "list": self.annotations_json() },
            "templating": { "list": self.variables_json() },
            "panels": self.panels_json(),
        })
    }

    fn annotations_json(&self) -> Vec<Value> {
        let own = json!({
            "name": "Annotations & Alerts", "builtIn": 1, "type": "dashboard", "enable": true, "hide": true,
            "iconColor": "rgba(0, 211, 255, 1)", "datasource": { "type": "grafana", "uid": "-- Grafana --" },
        });
        std::iter::once(own).chain(self.annotations.iter().cloned()).collect()
    }

    fn variables_json(&self) -> Vec<Value> {
        let source = json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
            "current": nothing(), "options": [], "multi": false, "includeAll": false, "regex": "", "refresh": 1, "hide": 0,
            "skipUrlSync": false,
        });
        let runbooks = json!({
            "name": "runbooks", "label": "Runbooks at", "type": "textbox", "query": self.runbooks,
            "description": "Base URL of links to runbooks.",
            "current": { "selected": true, "text": self.runbooks, "value": self.runbooks },
            "options": [{ "selected": true, "text": self.runbooks, "value": self.runbooks }],
            "hide": 0, "skipUrlSync": false,
        });
        let mut all = vec![source];
        all.extend(self.variables.iter().map(Variable::json));
        all.push(runbooks);
        all
    }

    fn panels_json(&self) -> Vec<Value> {
        let (mut out, mut id, mut y) = (Vec::new(), 0, 0);
        for (title, panels) in &self.rows {
            id += 1;
            out.push(json!({
                "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": { "x": 0, "y": y, "w": COLUMNS, "h": 1 },
            }));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in panels {
                if x + panel.width > COLUMNS {
                    y += height;
                    (x, height) = (0, 0);
                }
                id += 1;
                out.push(panel.json(id, x, y));
                x += panel.width;
                height = height.max(panel.height);
            }
            y += height;
        }
        out
    }
}

/// Of a variable: no choice yet, so Grafana takes the first value.
fn nothing() -> Value {
    json!({ "selected": false, "text": "", "value": "" })
}

impl Variable {
    fn json(&self) -> Value {
        let all = json!({ "selected": true, "text": "All", "value": "$__all" });
        // Pids as numbers from the highest down: where one is to be chosen, the first is, and the highest is most often
        // that of the process that was started last. All others by the alphabet.
        let sort = if self.name == "pid" { 4 } else { 1 };
        let mut variable = json!({
            "name": self.name, "label": self.label, "type": "query", "datasource": data_source(), "query": { "query": self.query, "refId": self.name, "qryType": 1 },
            "refresh": 2, "sort": sort, "multi": self.is_multiple, "includeAll": self.is_multiple, "regex": "",
            "current": if self.is_multiple { all } else { nothing() }, "options": [], "hide": 0, "skipUrlSync": false,
        });
        // All jobs are those that are listed: others have processes, too, which are none of ours.
        if self.is_multiple && self.name != "job" {
            variable["allValue"] = json!(".*");
        }
        variable
    }
}

/// Adds what dashboards of loops mark: blocks, and alerts, of the processes chosen.
pub(super) fn with_marks(board: Board) -> Board {
    marked(board, processes(&c::BLOCKED), &firing_at_processes())
}

/// The same, of the targets chosen, for a dashboard on which no process can be chosen.
pub(super) fn with_marks_of_targets(board: Board) -> Board {
    marked(board, targets(&c::BLOCKED), &firing_at_targets())
}

fn marked(board: Board, blocked: Series, firing: &str) -> Board {
    let blocked = blocked.with("severity", "=", "critical").select();
    board
        .mark(
            "Blocks",
            "red",
            &format!("increase({blocked}[$__rate_interval]) > 0"),
            "Loop {{loop}} was blocked",
            "See `loopscope incidents`: {{instance}} {{name}} {{pid}}",
        )
        .mark("Alerts", "orange", firing, "{{alertname}}", "{{instance}} {{loop}}{{pool}} {{name}} {{pid}}")
}

/// Writes JSON with its keys in order, whatever map the library was built with, short values on one line.
fn push_sorted(out: &mut String, value: &Value, depth: usize) {
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&" ".repeat(depth));
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                newline(out, depth + 1);
                out.push_str(&Value::String(key.clone()).to_string());
                out.push_str(": ");
                push_sorted(out, &map[key], depth + 1);
            }
            newline(out, depth);
            out.push('}');
        }
        Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                newline(out, depth + 1);
                push_sorted(out, item, depth + 1);
            }
            newline(out, depth);
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}
