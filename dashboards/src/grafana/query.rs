//! What a panel asks Prometheus.

/// A question to Prometheus.
#[derive(Clone, Debug)]
pub struct Query {
    /// In PromQL, with Grafana's variables.
    pub expr: String,
    /// The name of each line: `{{loop}}` stands for a label.
    pub legend: String,
    /// In a table: the heading of the value.
    pub column: &'static str,
}

impl Query {
    /// A question whose answers are called `legend`.
    pub fn new(expr: impl Into<String>, legend: impl Into<String>) -> Query {
        Query { expr: expr.into(), legend: legend.into(), column: "" }
    }

    /// A question whose values are a column of a table.
    pub fn column(expr: impl Into<String>, column: &'static str) -> Query {
        Query { expr: expr.into(), legend: String::new(), column }
    }
}
