//! Values the agent keeps between two looks at the pages: plain data, no clock and no page in it.

pub mod exemplar;
pub mod frame_owner;
pub mod history;
pub mod lag_window;
pub(crate) mod merge;
pub mod monotonic;
pub mod plumbing;
pub mod run_delay;
pub mod threshold_change;
pub mod thresholds;
pub mod waits;
pub mod window;
