//! The page of help.

/// Keys and words, a line each.
pub const LINES: &[&str] = &[
    "Keys",
    "  up down j k     choose a loop; PgUp PgDn Home End go further",
    "  Enter           everything about the chosen loop; Enter, Esc or q comes back",
    "  s               sort by: trouble, busy, lag p99, stalls, name",
    "  r               reverse the order",
    "  /               filter by process, loop or pid; Enter keeps it, Esc clears it",
    "  w               show each worker of a runtime, or one row for all of them",
    "  space p         pause: the figures stand still, the loops do not",
    "  ? h             this page",
    "  q Ctrl-C        quit",
    "",
    "Words",
    "  BUSY            share of the time since the last look that the loop was outside its poll",
    "  LAG             how long an event that becomes ready at a random moment waits for the loop",
    "  STALLED         busy for longer than its threshold; NOW says who is to blame",
    "  STALLS          how many there ever were, and new ones since the last look",
    "  BLOCKED         time in stalls, all in all",
    "  POOL            busy threads of all, and jobs that wait",
    "",
    "More: loopscope incidents ID, loopscope flame PID, loopscope doctor PID",
];
