//! Whether a server's loops are still looked at, as its `/-/healthy` tells.

use crate::answer::Answer;
use loopscope_report::duration::show_ns;
use loopscope_report::words::count;

/// Who has not looked for this long, in nanoseconds, only answers: an agent looks every five seconds when it has nothing to
/// do, a host every second. As the alert `AgentStale` has it.
const STALE_NS: u64 = 30_000_000_000;

/// How an agent, or a host's server, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How long it has run, in nanoseconds.
    pub age_ns: u64,
    /// How long ago it last looked at the loops of its own accord, in nanoseconds.
    pub tick_age_ns: u64,
    pub loops: usize,
}

impl Health {
    /// Says so; `does` is what it does with the loops.
    pub fn answer(self, does: &str) -> Answer {
        let (age, tick) = (show_ns(self.age_ns), show_ns(self.tick_age_ns));
        let loops = count(self.loops as u64, "loop");
        let seen = format!("{does} {loops} for {age}, last tick {tick} ago");
        match self.tick_age_ns < STALE_NS {
            true => Answer::text(200, format!("healthy: {seen}\n")),
            false => Answer::text(503, format!("not healthy: {seen}; stalls are not detected\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_answers_is_not_healthy() {
        for (tick_age_s, status, loops, begin) in [
            (0, 200, 2, "healthy: watching 2 loops for "),
            (0, 200, 1, "healthy: watching 1 loop for "),
            (29, 200, 2, "healthy: "),
            (30, 503, 2, "not healthy: watching 2 loops for "),
        ] {
            let health = Health { tick_age_ns: tick_age_s * 1_000_000_000, loops, ..Health::default() };
            let answer = health.answer("watching");
            assert_eq!(answer.status, status, "{tick_age_s} s");
            assert!(answer.body().starts_with(begin.as_bytes()), "{tick_age_s} s");
        }
    }
}
