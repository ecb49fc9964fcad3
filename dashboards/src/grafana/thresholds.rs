//! The colours of values. Times of the loop change colour on boundaries of the histograms, so what a colour says is
//! exact: 62.5, 125 (the objective) and 250 ms.

use serde_json::{Value, json};

/// From which value on a colour holds; the first one holds from the beginning.
pub type Steps = &'static [(f64, &'static str)];

/// Lag and lateness, in seconds.
pub const LAG: Steps = &[(0.0, "green"), (0.0625, "yellow"), (0.125, "orange"), (0.25, "red")];
/// The age of a busy period, in seconds: the warning threshold, the critical one, and that of `LoopStalled`.
pub const STALL: Steps = &[(0.0, "green"), (0.1, "yellow"), (1.0, "orange"), (2.0, "red")];
/// Busy share of a loop.
pub const UTILIZATION: Steps = &[(0.0, "green"), (0.7, "yellow"), (0.9, "orange"), (0.98, "red")];
/// Share of moments that are late: the budget, then the factors of the burn alerts.
pub const LATE_SHARE: Steps = &[(0.0, "green"), (0.001, "yellow"), (0.006, "orange"), (0.0144, "red")];
/// How many times too fast the budget is used up.
pub const BURN: Steps = &[(0.0, "green"), (1.0, "yellow"), (6.0, "orange"), (14.4, "red")];
/// Wait for a thread of the pool, in seconds.
pub const POOL_WAIT: Steps = &[(0.0, "green"), (0.125, "yellow"), (0.25, "orange"), (1.0, "red")];
/// Share of time in which a pool was full with jobs waiting.
pub const SATURATION: Steps = &[(0.0, "green"), (0.1, "yellow"), (0.5, "red")];
/// The age of the first job in a queue, in seconds.
pub const OLDEST_WAIT: Steps = &[(0.0, "green"), (1.0, "yellow"), (10.0, "red")];
/// Processor time of the agent, in processors.
pub const AGENT_CPU: Steps = &[(0.0, "green"), (0.02, "yellow"), (0.05, "orange")];
/// Looks of an agent a minute.
pub const LOOKS: Steps = &[(0.0, "red"), (3.0, "yellow"), (10.0, "green")];
/// A count that should be 0.
pub const NONE_EXPECTED: Steps = &[(0.0, "green"), (1.0, "orange")];
/// A value that is neither good nor bad.
pub const NEUTRAL: Steps = &[(0.0, "blue")];

/// Returns them as Grafana writes them.
pub fn json_of(steps: Steps) -> Value {
    let step = |(index, (from, color)): (usize, &(f64, &str))| {
        let from = if index == 0 { Value::Null } else { json!(from) };
        json!({ "color": color, "value": from })
    };
    json!({ "mode": "absolute", "steps": steps.iter().enumerate().map(step).collect::<Vec<_>>() })
}
