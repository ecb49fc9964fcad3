//! How long a loop's thread was ready to run and had no processor, counted from when the loop was first seen.
//!
//! The kernel counts from the thread's beginning. A thread may have run other loops before, whose sums keep what they counted:
//! so what came before this loop is left out, and no delay is in two of them.

/// The delay of one loop's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunDelay {
    /// What the kernel had counted at the first reading.
    first_ns: Option<u64>,
    total_ns: u64,
}

impl RunDelay {
    /// Takes a reading of the kernel's account (`schedstat`), in nanoseconds since the thread began.
    pub fn note(&mut self, kernel_ns: u64) {
        let first_ns = *self.first_ns.get_or_insert(kernel_ns);
        // A thread's number may come again: what is published does not fall.
        self.total_ns = self.total_ns.max(kernel_ns.saturating_sub(first_ns));
    }

    /// Returns the delay since the first reading, in nanoseconds; `None` where the kernel never told.
    pub fn total_ns(&self) -> Option<u64> {
        self.first_ns.map(|_| self.total_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_counted_from_the_first_reading_and_never_falls() {
        let mut delay = RunDelay::default();
        assert_eq!(delay.total_ns(), None, "the kernel does not tell");
        let told = [7_000, 7_400, 7_100, 12, 9_000].map(|kernel_ns| {
            delay.note(kernel_ns);
            delay.total_ns()
        });
        assert_eq!(told, [0, 400, 400, 400, 2_000].map(Some));
    }
}
