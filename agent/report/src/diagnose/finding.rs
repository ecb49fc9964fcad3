//! One thing that is wrong, as it is told.

use serde::Serialize;

/// How soon somebody should act. The order is that of a list: the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Users notice it now.
    Critical,
    /// It will be noticed under more load, or is by some.
    Warning,
    /// Worth knowing; nobody has to act.
    Notice,
}

/// How sure a finding is. The order is that of a list: the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It was measured, and nothing else explains it.
    Certain,
    /// The figures say so; another cause would be a coincidence.
    Likely,
    /// It looks like it; watch for longer, or look at the code.
    Possible,
}

impl Urgency {
    /// Returns the word that stands for it.
    pub fn name(self) -> &'static str {
        match self {
            Urgency::Critical => "critical",
            Urgency::Warning => "warning",
            Urgency::Notice => "notice",
        }
    }
}

impl Certainty {
    /// Returns the word that stands for it.
    pub fn name(self) -> &'static str {
        match self {
            Certainty::Certain => "certain",
            Certainty::Likely => "likely",
            Certainty::Possible => "possible",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the rule that found it.
    pub rule: &'static str,
    /// Name of the loop.
    pub r#loop: String,
    /// How soon somebody should act.
    pub urgency: Urgency,
    /// How sure it is.
    pub certainty: Certainty,
    /// What is wrong, a clause without a full stop: `loop web is blocked by timer flush (src/x.rs:40)`.
    pub headline: String,
    /// The figures that show it, a line each.
    pub evidence: Vec<String>,
    /// What to do about it.
    pub remedy: String,
    /// Ids of incidents that show it, newest first.
    pub incidents: Vec<String>,
}

impl Finding {
    /// Begins a finding about the loop called `name`; the rule's table adds the rule.
    pub(crate) fn new(name: &str, urgency: Urgency, certainty: Certainty, headline: String) -> Finding {
        Finding {
            rule: "",
            r#loop: name.to_owned(),
            urgency,
            certainty,
            headline,
            evidence: Vec::new(),
            remedy: String::new(),
            incidents: Vec::new(),
        }
    }

    /// Adds a line of evidence.
    pub(crate) fn because(mut self, line: String) -> Finding {
        self.evidence.push(line);
        self
    }

    /// Adds lines of evidence that may be there.
    pub(crate) fn because_of(mut self, lines: impl IntoIterator<Item = String>) -> Finding {
        self.evidence.extend(lines);
        self
    }

    /// Says what to do.
    pub(crate) fn remedy(mut self, text: impl Into<String>) -> Finding {
        self.remedy = text.into();
        self
    }
}
