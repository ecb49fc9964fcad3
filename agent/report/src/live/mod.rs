//! What a person looks at: loops as they are now and were in the last moments, from copies of their pages.
//!
//! ```text
//!   pages --> LoopSample (one loop, one moment) --> ViewBuilder (keeps the copy before) --> View (serde)
//!                                                                                    |
//!                                                      the live page, `top`, `serve` <
//! ```
//!
//! Metrics tell totals, and leave rates to who reads them; people want the rates. So a [`ViewBuilder`] remembers what it
//! saw last, and a [`View`] tells of the interval between two observations: rates, quantiles, a row of the heatmap.
//! Everything in a view is as of the moments that the caller names: there is no clock, thread, file or socket here, and
//! it makes no difference whether pages are those of this process, of another, or of one that was killed.
//!
//! What still runs counts: a callback that has run for 400 ms has cost 400 ms, although the page counts it at its end,
//! and those who wait for its end are in the lag. When it ends, it is not counted again.
//!
//! ```
//! use loopscope_report::live::{LoopSample, StateKind, ViewBuilder};
//! use loopscope_probe::{Clock, VirtualClock, Writer};
//!
//! let time = VirtualClock::starting_at(1);
//! let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
//! writer.resume();
//! time.advance_ns(300_000_000);
//! let clock = writer.clock().clone();
//! let view = ViewBuilder::new().observe([LoopSample::of(writer.page(), &clock, clock.now())], 0);
//! assert_eq!(view.processes[0].loops[0].state.kind, StateKind::Stalled);
//! ```

mod lag;
mod loop_sample;
mod numbers;
mod past;
mod pending_time;
mod recent;
mod runtime;
mod state;
mod view;
mod view_builder;

pub use lag::LAG_BOUNDS_NS;
pub use loop_sample::LoopSample;
pub use recent::{LOOPS_MAX, PastLoop, PastView, Recent};
pub use view::{
    DamagedView, DrainView, JobView, LagView, LoopView, NumberView, PhaseView, PlaceView, PoolView,
    ProcessView, QueueView, RunningView, SiteView, SpanView, StallView, StateKind, StateView, VerdictView,
    View,
};
pub use view_builder::ViewBuilder;

#[cfg(test)]
mod live_tests;
