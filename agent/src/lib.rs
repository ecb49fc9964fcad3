//! The sidecar agent.
