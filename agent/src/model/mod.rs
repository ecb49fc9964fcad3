//! Values the agent keeps between two looks at the pages: plain data, no clock and no page in it.

pub(crate) mod exemplar;
pub(crate) mod floor;
pub(crate) mod history;
pub(crate) mod label;
pub(crate) mod lag_window;
pub(crate) mod merge;
pub(crate) mod plumbing;
pub(crate) mod tally;
pub(crate) mod thresholds;
pub(crate) mod window;
