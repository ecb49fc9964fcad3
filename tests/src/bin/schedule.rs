//! Runs schedule programs.
fn main() {}
