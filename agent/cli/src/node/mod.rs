//! Programs of Node.js: starting one with the addon in it, and loading it into one that runs.

mod addon;
pub mod attach;
mod command_line;
pub mod demo;
mod options;
mod permission;
mod preload;
pub mod run;
