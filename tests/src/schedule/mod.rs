//! Schedule programs: small scripts of timers, immediates, jobs and so on, with the order in which Node.js runs them.
//!
//! A program is parsed ([`program`]), run on the loop under test ([`interpret`]) and held against what Node printed
//! ([`compare`]). The format is in `tests/conformance/README.md`.

pub mod compare;
pub mod interpret;
pub mod program;
