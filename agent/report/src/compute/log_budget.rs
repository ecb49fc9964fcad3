//! The budget of reports: so many a minute, and one line that says how many more there were.

const MINUTE_NS: u64 = 60_000_000_000;

/// Counts the reports of one loop. A minute begins with its first report.
#[derive(Clone, Debug)]
pub struct LogBudget {
    per_minute: u32,
    minute: Option<Minute>,
    /// Refused since the begin.
    refused_total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    began_ns: u64,
    granted: u32,
    refused: u64,
}

impl LogBudget {
    pub fn new(per_minute: u32) -> Self {
        LogBudget { per_minute, minute: None, refused_total: 0 }
    }

    /// Asks for one report at `now_ns`; a refusal is not counted yet.
    pub fn ask(&mut self, now_ns: u64) -> bool {
        let minute = self.minute.get_or_insert(Minute { began_ns: now_ns, granted: 0, refused: 0 });
        let is_granted = minute.granted < self.per_minute;
        minute.granted += u32::from(is_granted);
        is_granted
    }

    /// Counts something that was not reported.
    pub fn refuse(&mut self) {
        self.refused_total += 1;
        if let Some(minute) = &mut self.minute {
            minute.refused += 1;
        }
    }

    /// Returns how many reports were refused since the begin.
    pub fn refused_total(&self) -> u64 {
        self.refused_total
    }

    /// Ends the minute when it is over. Returns how many reports were refused in it, `None` for none.
    pub fn end_minute(&mut self, now_ns: u64) -> Option<u64> {
        let minute = self.minute.filter(|minute| now_ns.saturating_sub(minute.began_ns) >= MINUTE_NS)?;
        self.minute = None;
        Some(minute.refused).filter(|refused| *refused > 0)
    }

    /// Returns how many reports of the running minute were refused, and forgets the minute: for an agent that stops.
    pub fn give_up(&mut self) -> Option<u64> {
        self.minute.take().map(|minute| minute.refused).filter(|refused| *refused > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_budget_all_are_counted_and_told_when_the_minute_is_over() {
        let mut budget = LogBudget::new(5);
        let second = 1_000_000_000;
        let granted = (0..12).filter(|at| {
            let is_granted = budget.ask(at * second);
            if !is_granted {
                budget.refuse();
            }
            is_granted
        });
        assert_eq!(granted.count(), 5);
        assert_eq!(budget.end_minute(59 * second), None);
        assert_eq!(budget.end_minute(60 * second), Some(7));
        assert_eq!((budget.end_minute(61 * second), budget.refused_total()), (None, 7));
        assert!(budget.ask(61 * second), "a new minute");
        assert_eq!(budget.end_minute(121 * second), None, "nothing was refused");
    }

    #[test]
    fn a_budget_of_nothing_reports_nothing() {
        let mut budget = LogBudget::new(0);
        assert!(!budget.ask(1));
        budget.refuse();
        assert_eq!(budget.give_up(), Some(1));
    }
}
