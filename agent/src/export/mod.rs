//! What leaves the agent as numbers: the catalogue of metrics, the text encoder, and the pages written with them.

pub(crate) mod agent_families;
pub mod catalog;
pub(crate) mod facade;
pub(crate) mod loop_families;
pub(crate) mod page;
pub(crate) mod text;
pub(crate) mod view;
