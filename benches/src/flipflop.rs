//! Interleaved slices: A B C A B C ..., compared slice by slice with the first contender.
//!
//! Absolute times on a shared machine mean little; the median of paired differences within one run means much more.

use std::fmt::Write;
use std::time::Instant;

/// Work that a contender does: so many operations.
pub type Work<'a> = Box<dyn FnMut(u64) + 'a>;

/// One of the things compared.
pub struct Contender<'a> {
    name: String,
    work: Work<'a>,
    ns_per_op: Vec<f64>,
}

impl<'a> Contender<'a> {
    /// Names a contender.
    pub fn new(name: &str, work: impl FnMut(u64) + 'a) -> Self {
        Contender { name: name.to_owned(), work: Box::new(work), ns_per_op: Vec::new() }
    }
}

/// Median and quartiles.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// First quartile.
    pub low: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub high: f64,
    /// Smallest value: on a machine with other work, the nearest to what an idle one would show.
    pub fastest: f64,
}

impl Spread {
    /// Returns the quartiles of some values.
    ///
    /// # Panics
    /// Panics without values.
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
        Spread { low: at(0.25), median: at(0.5), high: at(0.75), fastest: values[0] }
    }
}

/// Runs `rounds` rounds in which every contender does `ops` operations, in an order that rotates.
pub fn interleave(contenders: &mut [Contender<'_>], rounds: usize, ops: u64) {
    let count = contenders.len();
    for round in 0..rounds + 1 {
        for turn in 0..count {
            let contender = &mut contenders[(round + turn) % count];
            let start = Instant::now();
            (contender.work)(ops);
            let ns = start.elapsed().as_nanos() as f64 / ops as f64;
            // The first round warms up caches and branch predictors.
            if round > 0 {
                contender.ns_per_op.push(ns);
            }
        }
    }
}

/// Returns a table: each contender's time, and its paired difference from the first. The second row is the A/A control.
pub fn table(contenders: &[Contender<'_>]) -> String {
    let mut text = String::from(
        "| contender | ns/op median [quartiles] | added ns/op median [quartiles] | fastest slice |\n|---|---|---|---|\n",
    );
    let base = &contenders[0].ns_per_op;
    for contender in contenders {
        let own = Spread::of(contender.ns_per_op.clone());
        let added = Spread::of(contender.ns_per_op.iter().zip(base).map(|(ns, base)| ns - base).collect());
        writeln!(
            text,
            "| {} | {:.1} [{:.1}, {:.1}] | {:+.1} [{:+.1}, {:+.1}] | {:.1} |",
            contender.name, own.median, own.low, own.high, added.median, added.low, added.high, own.fastest
        )
        .expect("a string takes everything");
    }
    text
}
