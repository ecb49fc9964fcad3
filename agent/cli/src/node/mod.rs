//! Programs of Node.js: starting one with the addon in it.

mod addon;
mod options;
mod permission;
mod preload;
pub mod run;
