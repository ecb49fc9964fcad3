//! Holds what a program printed against what Node.js printed.

use super::interpret::Line;
use super::program::Program;
use std::fmt;

/// A program that did not print what Node.js printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    id: String,
    rows: Vec<(&'static str, String, String)>,
}

/// Compares labels, phases and queues, and iterations where the program has them. `None` where all are equal.
pub fn compare(program: &Program, lines: &[Line]) -> Option<Difference> {
    let words = |words: &[String]| words.join(" ");
    let labels: Vec<String> = lines.iter().map(|line| line.label.clone()).collect();
    let mut rows = vec![
        ("order", words(&program.expect), words(&labels)),
        ("phase", program.ph.clone(), lines.iter().map(|line| line.phase).collect()),
        ("queue", program.q.clone(), lines.iter().map(|line| line.queue).collect()),
    ];
    if let Some(expected) = &program.it {
        let numbers = |numbers: &mut dyn Iterator<Item = u64>| {
            words(&numbers.map(|number| number.to_string()).collect::<Vec<_>>())
        };
        let actual = numbers(&mut lines.iter().map(|line| line.iteration));
        rows.push(("iteration", numbers(&mut expected.iter().copied()), actual));
    }
    rows.retain(|(_, expected, actual)| expected != actual);
    (!rows.is_empty()).then(|| Difference { id: program.id.clone(), rows })
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.id)?;
        for (what, expected, actual) in &self.rows {
            write!(out, "\n  {what:9} expected {expected}\n  {:9} actual   {actual}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_compared() {
        let text = r#"{"id":"x","main":["a"],"expect":["a"],"ph":"m","q":"-","it":[0]}"#;
        let program: Program = serde_json::from_str(text).unwrap();
        let right = Line { label: "a".into(), phase: 'm', queue: '-', iteration: 0 };
        assert_eq!(compare(&program, std::slice::from_ref(&right)), None);
        let wrong = [
            vec![],
            vec![Line { label: "b".into(), ..right.clone() }],
            vec![Line { phase: 't', ..right.clone() }],
            vec![Line { queue: 'n', ..right.clone() }],
            vec![Line { iteration: 1, ..right.clone() }],
        ];
        for lines in wrong {
            assert!(compare(&program, &lines).is_some(), "{lines:?}");
        }
    }
}
