//! The page of help.

/// Keys and words, a line each.
pub const LINES: &[&str] = &[
    "Keys",
    "  up down j k     choose a loop; PgUp PgDn Home End go further",
    "  Enter           details of the chosen loop; Enter, Esc or q goes back",
    "  s               sort by: trouble, busy, lag p99, stalls, name",
    "  r               reverse the order",
    "  /               filter by process, loop or pid; Enter keeps it, Esc clears it",
    "  a               list all processes, also those that exited while idle",
    "  w               show each worker of a runtime, or one row for all of them",
    "  space p         pause the display (the loops keep running)",
    "  ? h             this page",
    "  q Ctrl-C        quit",
    "",
    "Words",
    "  BUSY            share of the time since the last refresh that the loop was not in its poll",
    "  LAG             how long an event that becomes ready at a random time waits for the loop",
    "  STALLED         busy for longer than its threshold; NOW names the culprit",
    "  STALLS          total, and new ones since the last refresh",
    "  BLOCKED         total time in stalls",
    "  POOL            busy threads / threads, and queued jobs",
    "",
    "More: loopscope incidents ID, loopscope flame PID, loopscope doctor PID",
];
