//! Schedule programs as values, parsed from JSON lines.

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A program and what Node.js printed for it.
#[derive(Clone, Debug, Deserialize)]
pub struct Program {
    /// Its name; where the file gives none, its line.
    #[serde(default)]
    pub id: String,
    /// Threads in the pool.
    #[serde(default = "four")]
    pub pool: usize,
    /// What the main script does.
    pub main: Body,
    /// The labels in the order in which they were printed.
    pub expect: Vec<String>,
    /// One letter a label: the callback it was printed in or behind. See [`super::interpret::Line`].
    pub ph: String,
    /// One letter a label: callback, tick or microtask.
    pub q: String,
    /// The iteration of each label, where it does not depend on the machine.
    pub it: Option<Vec<u64>>,
}

fn four() -> usize {
    4
}

/// The steps of one callback; cheap to clone, so that every callback can own its own.
#[derive(Clone, Debug)]
pub struct Body(pub Arc<[Step]>);

impl Default for Body {
    fn default() -> Self {
        Body(Arc::from([]))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::<Step>::deserialize(from).map(|steps| Body(steps.into()))
    }
}

/// One step: print a label, or do something.
#[derive(Clone, Debug)]
pub enum Step {
    /// Prints a label.
    Label(String),
    /// Does something.
    Do(Operation),
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct StepVisitor;
        impl<'de> Visitor<'de> for StepVisitor {
            type Value = Step;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a label or an object with `op`")
            }

            fn visit_str<E>(self, label: &str) -> Result<Step, E> {
                Ok(Step::Label(label.to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Step, M::Error> {
                Operation::deserialize(MapAccessDeserializer::new(map)).map(Step::Do)
            }
        }
        from.deserialize_any(StepVisitor)
    }
}

/// What a step does. The fields are those of the format.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[expect(missing_docs, reason = "tests/conformance/README.md has a table of the operations and their fields")]
pub enum Operation {
    Timeout {
        id: Option<String>,
        ms: f64,
        #[serde(rename = "do")]
        body: Body,
    },
    Interval {
        id: Option<String>,
        ms: f64,
        n: u64,
        #[serde(rename = "do")]
        body: Body,
    },
    Immediate {
        id: Option<String>,
        #[serde(rename = "do")]
        body: Body,
    },
    Tick {
        #[serde(rename = "do")]
        body: Body,
    },
    #[serde(alias = "then")]
    Micro {
        #[serde(rename = "do")]
        body: Body,
    },
    Chain {
        via: Via,
        n: u64,
        #[serde(rename = "do")]
        body: Body,
    },
    Wake {
        #[serde(rename = "do")]
        body: Body,
    },
    Pool {
        id: Option<String>,
        kind: JobKind,
        #[serde(default)]
        ms: f64,
        #[serde(rename = "do")]
        body: Body,
        #[serde(default)]
        cancelled: Body,
    },
    Cancel {
        id: String,
    },
    Close {
        #[serde(rename = "do")]
        body: Body,
    },
    Clear {
        id: String,
    },
    Refresh {
        id: String,
    },
    Ref {
        id: String,
    },
    Unref {
        id: String,
    },
    Busy {
        ms: f64,
    },
    BeforeExit {
        #[serde(rename = "do")]
        body: Body,
    },
}

/// What the hops of a chain are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names of the operations")]
pub enum Via {
    Tick,
    Micro,
    Immediate,
    Wake,
}

/// What a pool job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Holds a thread for a time.
    Sleep,
    /// Asks the file system for something.
    Fs,
    /// Computes for less than a millisecond.
    Cpu,
}

/// Reads a file of programs.
///
/// # Errors
/// A text that names the file, and the line where one is malformed.
pub fn read(path: &Path) -> Result<Vec<Program>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_written = |(_, line): &(usize, &str)| !line.trim().is_empty();
    let parsed = text.lines().enumerate().filter(is_written).map(|(index, line)| {
        parse(line, index + 1).map_err(|error| format!("{}:{}: {error}", path.display(), index + 1))
    });
    let programs: Vec<Program> = parsed.collect::<Result<_, _>>()?;
    match programs.is_empty() {
        true => Err(format!("{}: no program in this file", path.display())),
        false => Ok(programs),
    }
}

fn parse(line: &str, number: usize) -> Result<Program, String> {
    let mut program: Program = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if program.id.is_empty() {
        program.id = format!("line {number}");
    }
    let count = program.expect.len();
    let iterations = program.it.as_ref().map_or(count, Vec::len);
    if [program.ph.chars().count(), program.q.chars().count(), iterations] != [count; 3] {
        return Err(format!("`ph`, `q` and `it` must be as long as `expect`, which has {count} labels"));
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_program_is_named_by_what_is_wrong_with_it() {
        let error = |line| parse(line, 7).unwrap_err();
        assert!(error("{").contains("EOF"));
        assert!(error(r#"{"main":[{"op":"jump"}],"expect":[],"ph":"","q":""}"#).contains("jump"));
        assert!(error(r#"{"main":[5],"expect":[],"ph":"","q":""}"#).contains("a label or an object"));
        assert!(error(r#"{"main":["a"],"expect":["a"],"ph":"","q":"-"}"#).contains("1 labels"));
        assert!(error(r#"{"expect":["a"],"ph":"m","q":"-"}"#).contains("main"));
        let program = parse(r#"{"main":["a"],"expect":["a"],"ph":"m","q":"-"}"#, 7).unwrap();
        assert_eq!((program.id.as_str(), program.pool), ("line 7", 4));
    }
}
