//! One panel: what it asks, how it shows it, and what a reader should know.

use super::query::Query;
use super::shape::Shape;
use super::thresholds::{self, Steps};
use serde_json::{Value, json};

/// A link, shown in a panel's corner.
#[derive(Clone, Debug)]
struct Link {
    title: String,
    url: String,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    pub(super) shape: Shape,
    pub(super) title: &'static str,
    description: &'static str,
    pub(super) queries: Vec<Query>,
    unit: &'static str,
    steps: Option<Steps>,
    has_lines: bool,
    is_logarithmic: bool,
    range: (Option<f64>, Option<f64>),
    decimals: Option<u8>,
    links: Vec<Link>,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Panel {
    pub(super) fn new(shape: Shape, title: &'static str, description: &'static str) -> Panel {
        let (width, height) = shape.size();
        Panel {
            shape,
            title,
            description,
            queries: Vec::new(),
            unit: "short",
            steps: None,
            has_lines: false,
            is_logarithmic: false,
            range: (None, None),
            decimals: None,
            links: Vec::new(),
            width,
            height,
        }
    }

    /// Adds a question.
    #[must_use]
    pub(super) fn ask(mut self, expr: impl Into<String>, legend: impl Into<String>) -> Panel {
        self.queries.push(Query::new(expr, legend));
        self
    }

    /// Adds a column of a table.
    #[must_use]
    pub(super) fn column(mut self, expr: impl Into<String>, heading: &'static str) -> Panel {
        self.queries.push(Query::column(expr, heading));
        self
    }

    /// Sets Grafana's name of the unit: `s`, `percentunit`, `short`, `bytes`, `ops`.
    #[must_use]
    pub(super) fn unit(mut self, unit: &'static str) -> Panel {
        self.unit = unit;
        self
    }

    /// Colours values.
    #[must_use]
    pub(super) fn steps(mut self, steps: Steps) -> Panel {
        self.steps = Some(steps);
        self
    }

    /// Colours values, and draws the thresholds as lines.
    #[must_use]
    pub(super) fn lines(mut self, steps: Steps) -> Panel {
        self.has_lines = true;
        self.steps(steps)
    }

    /// Shows each doubling as one step of the axis, from a thousandth on: times of a loop span six orders of magnitude,
    /// and a median of microseconds belongs into the same picture as a stall of seconds.
    #[must_use]
    pub(super) fn logarithmic(mut self) -> Panel {
        self.is_logarithmic = true;
        self
    }

    /// Shows an axis from `low` on.
    #[must_use]
    pub(super) fn from(mut self, low: f64) -> Panel {
        self.range.0 = Some(low);
        self
    }

    /// Shows an axis from `low` to `high`.
    #[must_use]
    pub(super) fn between(mut self, low: f64, high: f64) -> Panel {
        self.range = (Some(low), Some(high));
        self
    }

    #[must_use]
    pub(super) fn decimals(mut self, decimals: u8) -> Panel {
        self.decimals = Some(decimals);
        self
    }

    #[must_use]
    pub(super) fn size(mut self, width: u32, height: u32) -> Panel {
        (self.width, self.height) = (width, height);
        self
    }

    /// Links the runbook of an alert.
    #[must_use]
    pub(super) fn runbook(self, alert: &'static str) -> Panel {
        self.link(format!("Runbook: {alert}"), format!("${{runbooks}}/{alert}.md"))
    }

    #[must_use]
    pub(super) fn link(mut self, title: impl Into<String>, url: impl Into<String>) -> Panel {
        self.links.push(Link { title: title.into(), url: url.into() });
        self
    }

    /// Returns what it asks.
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    /// Returns its heading.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// Returns what a reader should know.
    pub fn description(&self) -> &'static str {
        self.description
    }

    /// Returns it as Grafana writes it, at a place of the grid.
    pub(super) fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let mut panel = json!({
            "id": id,
            "type": self.shape.kind(),
            "title": self.title,
            "description": self.description,
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height },
            "transparent": false,
            "options": self.shape.options(self.unit),
        });
        if self.queries.is_empty() {
            return panel;
        }
        panel["datasource"] = data_source();
        panel["targets"] =
            self.queries.iter().zip('A'..='Z').map(|(query, id)| self.target(query, id)).collect();
        panel["fieldConfig"] = self.fields();
        let transformations = self.shape.transformations(&self.queries);
        if !transformations.is_empty() {
            panel["transformations"] = Value::Array(transformations);
        }
        if !self.links.is_empty() {
            let link = |link: &Link| {
                json!({
                    "title": link.title, "url": link.url, "type": "link", "icon": "external link", "tooltip": "",
                    "tags": [], "asDropdown": false, "targetBlank": true, "includeVars": false, "keepTime": false,
                })
            };
            panel["links"] = self.links.iter().map(link).collect();
        }
        panel
    }

    fn target(&self, query: &Query, id: char) -> Value {
        let is_instant = self.shape.is_instant();
        json!({
            "refId": id.to_string(),
            "datasource": data_source(),
            "expr": query.expr,
            "legendFormat": query.legend,
            "editorMode": "code",
            "range": !is_instant,
            "instant": is_instant,
            "exemplar": false,
            "format": self.shape.format(),
        })
    }

    fn fields(&self) -> Value {
        let color = if self.shape.is_coloured_by_threshold() { "thresholds" } else { "palette-classic" };
        let mut defaults = json!({
            "unit": self.unit,
            "color": { "mode": color },
            "mappings": self.shape.mappings(),
            "thresholds": thresholds::json_of(self.steps.unwrap_or(thresholds::NEUTRAL)),
            "custom": self.shape.custom(self.has_lines, self.is_logarithmic),
        });
        for (name, value) in [("min", self.range.0), ("max", self.range.1)] {
            if let Some(value) = value {
                defaults[name] = json!(value);
            }
        }
        if let Some(decimals) = self.decimals {
            defaults["decimals"] = json!(decimals);
        }
        json!({ "defaults": defaults, "overrides": self.shape.overrides(&self.queries) })
    }
}

/// The data source that the reader chose.
pub(super) fn data_source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}
