//! The method of every benchmark here: contenders take turns in short slices within one process, and the first two
//! are the same code, so that their difference shows what the machine's noise alone looks like.

pub mod cputime;
pub mod descriptors;
pub mod echo;
pub mod flipflop;
pub mod processors;
pub mod requests;
