//! The kinds of panels: how each shows its values, in Grafana's own settings.

use super::query::Query;
use super::thresholds::{self, Steps};
use serde_json::{Value, json};

/// A column of a table that gets a unit, colours or a link of its own.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Grafana's name of its unit.
    pub unit: &'static str,
    /// Colours of the cell.
    pub steps: Option<Steps>,
}

/// How a panel shows its values.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// One figure for each series.
    Figure,
    /// Lines over time.
    Lines,
    /// Lines over time, one upon the other.
    Stack,
    /// Counts by bucket over time.
    Heatmap,
    /// The distribution of many series' values over time.
    Spread,
    /// States over time, with the name of state 1.
    States(&'static str),
    /// Rows, sorted by a column; the labels named are shown and no others.
    Table {
        /// Labels, in order.
        labels: &'static [&'static str],
        /// Values, in order.
        columns: &'static [Column],
        /// Where a click on the first label leads, with its title.
        link: Option<(&'static str, &'static str)>,
    },
    /// Words for the reader.
    Words(&'static str),
}

impl Shape {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Shape::Figure => "stat",
            Shape::Lines | Shape::Stack => "timeseries",
            Shape::Heatmap | Shape::Spread => "heatmap",
            Shape::States(_) => "state-timeline",
            Shape::Table { .. } => "table",
            Shape::Words(_) => "text",
        }
    }

    pub(super) fn size(self) -> (u32, u32) {
        match self {
            Shape::Figure => (4, 4),
            Shape::Words(_) => (24, 3),
            Shape::Table { .. } => (24, 9),
            _ => (8, 8),
        }
    }

    pub(super) fn is_instant(self) -> bool {
        // A figure of now is none of what has ended meanwhile.
        matches!(self, Shape::Table { .. } | Shape::Figure)
    }

    pub(super) fn is_coloured_by_threshold(self) -> bool {
        matches!(self, Shape::Figure | Shape::States(_) | Shape::Table { .. })
    }

    pub(super) fn format(self) -> &'static str {
        match self {
            Shape::Table { .. } => "table",
            Shape::Heatmap => "heatmap",
            _ => "time_series",
        }
    }

    pub(super) fn options(self, unit: &str) -> Value {
        let legend = json!({
            "showLegend": true, "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"],
        });
        match self {
            Shape::Figure => json!({
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                "colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto",
                "orientation": "auto", "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
            }),
            Shape::Lines | Shape::Stack => {
                json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } })
            }
            Shape::Heatmap | Shape::Spread => heatmap(unit, matches!(self, Shape::Spread)),
            Shape::States(_) => json!({
                "mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.8,
                "legend": { "showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": [] },
                "tooltip": { "mode": "single", "sort": "none" },
            }),
            Shape::Table { columns, .. } => json!({
                "showHeader": true, "cellHeight": "sm",
                "sortBy": columns.first().map(|column| json!({ "displayName": column.name, "desc": true })).into_iter().collect::<Vec<_>>(),
            }),
            Shape::Words(text) => json!({ "mode": "markdown", "content": text }),
        }
    }

    /// Settings of the fields, by the kind of panel.
    pub(super) fn custom(self, has_lines: bool, is_logarithmic: bool) -> Value {
        let thresholds = json!({ "mode": if has_lines { "dashed" } else { "off" } });
        // Near zero it is linear, so that zero has a place.
        let scale = match is_logarithmic {
            true => json!({ "type": "symlog", "log": 2, "linearThreshold": 0.001 }),
            false => json!({ "type": "linear" }),
        };
        match self {
            Shape::Lines | Shape::Stack => {
                let is_stack = matches!(self, Shape::Stack);
                json!({
                    "drawStyle": "line", "lineWidth": 1, "lineInterpolation": "linear",
                    "fillOpacity": if is_stack { 40 } else { 8 },
                    "gradientMode": "none", "showPoints": "never", "spanNulls": false,
                    "stacking": { "mode": if is_stack { "normal" } else { "none" }, "group": "A" },
                    "thresholdsStyle": thresholds,
                    "scaleDistribution": scale,
                })
            }
            Shape::States(_) => json!({ "lineWidth": 0, "fillOpacity": 80 }),
            Shape::Table { .. } => {
                json!({ "align": "auto", "cellOptions": { "type": "auto" }, "filterable": true })
            }
            _ => json!({}),
        }
    }

    pub(super) fn mappings(self) -> Value {
        let Shape::States(name) = self else { return json!([]) };
        json!([{ "type": "value", "options": {
            "0": { "text": "no", "color": "green", "index": 0 },
            "1": { "text": name, "color": "red", "index": 1 },
        } }])
    }

    pub(super) fn transformations(self, queries: &[Query]) -> Vec<Value> {
        let Shape::Table { labels, .. } = self else { return Vec::new() };
        // One question's values are called `Value`, those of several `Value #A` and so on.
        let value = |index: usize| match queries.len() {
            1 => "Value".to_owned(),
            _ => format!("Value #{}", ('A'..='Z').nth(index).unwrap_or('Z')),
        };
        let renamed: serde_json::Map<String, Value> =
            queries.iter().enumerate().map(|(index, query)| (value(index), json!(query.column))).collect();
        let shown: Vec<String> =
            labels.iter().map(|label| (*label).to_owned()).chain((0..queries.len()).map(value)).collect();
        let order: serde_json::Map<String, Value> =
            shown.iter().enumerate().map(|(index, name)| (name.clone(), json!(index))).collect();
        vec![
            json!({ "id": "merge", "options": {} }),
            json!({ "id": "filterFieldsByName", "options": { "include": { "names": shown } } }),
            json!({ "id": "organize", "options": {
                "excludeByName": {}, "includeByName": {}, "indexByName": order, "renameByName": renamed,
            } }),
        ]
    }

    pub(super) fn overrides(self, queries: &[Query]) -> Value {
        let Shape::Table { labels, columns, link } = self else { return json!([]) };
        debug_assert_eq!(queries.len(), columns.len());
        let property = |id: &str, value: Value| json!({ "id": id, "value": value });
        let by_name = |name: &str, properties: Vec<Value>| json!({ "matcher": { "id": "byName", "options": name }, "properties": properties });
        let mut overrides: Vec<Value> = columns
            .iter()
            .map(|column| {
                let mut properties = vec![property("unit", json!(column.unit))];
                if let Some(steps) = column.steps {
                    properties.push(property("thresholds", thresholds::json_of(steps)));
                    let cell = json!({ "type": "color-background", "mode": "basic" });
                    properties.push(property("custom.cellOptions", cell));
                }
                by_name(column.name, properties)
            })
            .collect();
        if let (Some((title, url)), Some(label)) = (link, labels.first()) {
            let links = json!([{ "title": title, "url": url, "targetBlank": false }]);
            overrides.push(by_name(label, vec![property("links", links)]));
        }
        Value::Array(overrides)
    }
}

/// `is_spread`: Grafana counts the series' values itself.
fn heatmap(unit: &str, is_spread: bool) -> Value {
    let mut options = json!({
        "calculate": is_spread,
        "cellGap": 1,
        "cellValues": { "unit": "short" },
        "color": {
            "mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange",
            "scale": "exponential", "reverse": false,
        },
        // A bucket without values is empty, and not dark.
        "filterValues": { "le": 1e-9 },
        "rowsFrame": { "layout": "auto" },
        "exemplars": { "color": "rgba(255,0,255,0.7)" },
        "legend": { "show": true },
        "showValue": "never",
        "tooltip": { "mode": "single", "showColorScale": false, "yHistogram": true },
        "yAxis": { "axisPlacement": "left", "unit": unit },
    });
    if is_spread {
        options["calculation"] = json!({
            "xBuckets": { "mode": "size" },
            "yBuckets": { "mode": "size", "value": "0.1", "scale": { "type": "linear" } },
        });
    }
    options
}
