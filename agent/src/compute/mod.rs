//! Arithmetic on measurements: values in, values out. Nothing here knows a clock, a thread, a file or a socket.

pub(crate) mod age;
pub(crate) mod budget;
pub(crate) mod class;
pub(crate) mod deadline;
pub(crate) mod episode;
pub(crate) mod figures;
pub(crate) mod groups;
pub(crate) mod guilty;
pub(crate) mod lag_figures;
pub(crate) mod sites;
pub(crate) mod stall;
pub(crate) mod starvation;
pub(crate) mod utilization;
