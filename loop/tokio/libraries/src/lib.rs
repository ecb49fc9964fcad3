//! Nothing but its tests: tasks that libraries spawn, and what only newer versions of Tokio have.
