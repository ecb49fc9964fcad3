//! What the crates of this project use of the probe beside its public names, module by module: not for others, and it changes
//! without notice.

/// Opens modules of this crate under the same names.
macro_rules! expose {
    ($($(#[$cfg:meta])* $name:ident,)+) => {
        $($(#[$cfg])* pub mod $name { pub use crate::$name::*; })+
    };
}

expose! {
    #[cfg(not(loom))]
    agent_address,
    barrier,
    sleep_flag,
    #[cfg(all(not(loom), target_os = "linux"))]
    boottime,
    #[cfg(all(not(loom), target_os = "linux"))]
    cgroup,
    clock,
    #[cfg(not(loom))]
    control,
    count_histogram,
    #[cfg(all(not(loom), target_os = "linux"))]
    directory,
    #[cfg(all(not(loom), target_os = "linux"))]
    environment,
    #[cfg(all(not(loom), target_os = "linux"))]
    file_limit,
    capture_gate,
    histogram,
    #[cfg(not(loom))]
    incident_id,
    limits,
    #[cfg(not(loom))]
    loop_id,
    #[cfg(not(loom))]
    now,
    observed,
    open_spans,
    #[cfg(not(loom))]
    page,
    #[cfg(not(loom))]
    paths,
    #[cfg(not(loom))]
    pool,
    printable,
    #[cfg(all(not(loom), target_os = "linux"))]
    proc,
    #[cfg(not(loom))]
    process_id,
    #[cfg(not(loom))]
    record,
    #[cfg(not(loom))]
    registry,
    ring,
    site,
    #[cfg(not(loom))]
    snapshot,
    #[cfg(all(not(loom), unix))]
    socket_file,
    #[cfg(not(loom))]
    switch,
    #[cfg(not(loom))]
    tags,
    #[cfg(not(loom))]
    tallies,
    #[cfg(not(loom))]
    thread,
    shared_u64,
}
