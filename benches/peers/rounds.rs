//! Rounds of work, asked for on standard input: what every peer speaks with whoever compares them.
//!
//! A line with a number of operations comes in, the peer does so many, and a line goes out. Processor time and time are
//! read by the other side, for all peers alike.

use std::io::{Write, stdin, stdout};

/// Does each round that is asked for, until there are no more.
pub fn answer(mut work: impl FnMut(u64)) {
    for line in stdin().lines().map_while(Result::ok) {
        work(line.parse().expect("a round is a number of operations"));
        println!("done");
        stdout().flush().expect("whoever asked reads the answer");
    }
}

/// Says that a server listens on `port`.
pub fn serving(port: u16) {
    println!("{port}");
    stdout().flush().expect("whoever asked reads the port");
}

/// Durations that are the same in every peer: 15 random bits of a linear congruential generator (see `c/driver.h`).
pub struct Random(u32);

const FEW_MS: [u64; 5] = [1, 10, 100, 250, 500];

impl Random {
    pub const fn new() -> Random {
        Random(1)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        u64::from(self.0 >> 17)
    }

    /// 1 to 1,000 ms.
    pub fn any_ms(&mut self) -> u64 {
        1 + self.bits() % 1000
    }

    /// One of five between 1 and 500 ms.
    pub fn few_ms(&mut self) -> u64 {
        FEW_MS[(self.bits() % 5) as usize]
    }

    /// One of 30,000 that no run lasts for.
    pub fn far_ms(&mut self) -> u64 {
        60_000 + self.bits() % 30_000
    }

    /// One of five that no run lasts for.
    pub fn few_far_ms(&mut self) -> u64 {
        60_000 + self.few_ms()
    }

    /// 20 to 199 ms.
    pub fn period_ms(&mut self) -> u64 {
        20 + self.bits() % 180
    }
}
