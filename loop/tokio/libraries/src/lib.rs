//! Nothing but its tests: tasks that libraries spawn.
