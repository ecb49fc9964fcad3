//! Arithmetic on measurements: values in, values out. Nothing here knows a clock, a thread, a file or a socket.

pub(crate) mod deadline;
pub(crate) mod episode;
pub(crate) mod sites;
pub(crate) mod starvation;
pub(crate) mod utilization;
