//! What a runtime says of itself, once: how it calls things, what its own code looks like, which numbers it can fill,
//! and what helps against what keeps it busy. Readers know no runtime; they print what stands here.
//!
//! On the page it is text: lines of fields with a tab between them, the first of which tells what the line is about. A reader
//! passes over lines that it does not know, and over names that are none, so that the table can grow.
//!
//! ```text
//!   phase   8     tasks                        number, name as metrics have it
//!   kind    14    poll     poll     polls      number, name as metrics have it, one and many of them for people
//!   queue   1     microtask   microtask   microtasks
//!   word    callback   poll   polls            what the field's word is called here, one and many
//!   cause   microtask   microtasks             what many runs of a cause are called
//!   remedy  computing   move it to ...         what helps; `{threads}` is where a number belongs
//!   frames  runtime   file   /tokio-1.         whose a function is, by a part of its name, file or module
//!   sign    blocking   Sync                    what a function of the runtime's own on a stack tells, by a part of its name or file
//!   fills   lag   iterations   ...             which numbers of the page mean something; without the line: all
//!   parks   parks   parked                     what waiting for events is called: it polls, it has not polled
//! ```

pub use crate::description_names::{Culprit, Fact, FramePart, Owner, Sign, Term, Trouble};
use crate::kind::{Kind, Queue};
use crate::phase::Phase;
use crate::printable::is_hidden;
use crate::shared_u64::{LoopOwned, SharedU64, WriteToken};
use crate::site::store_text;
use std::fmt;
use std::sync::{Arc, Mutex, TryLockError};

/// How many bytes of text a page has room for.
pub const DESCRIPTION_BYTES: usize = 8192;

/// The text in shared memory, zero-padded.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct DescriptionWords {
    text: [SharedU64<LoopOwned>; DESCRIPTION_BYTES / 8],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(DescriptionWords, "description", text);

/// One and many of something, as people say them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Noun {
    /// `callback`.
    pub one: String,
    /// `callbacks`.
    pub many: String,
}

impl Noun {
    fn new(one: &str, many: &str) -> Noun {
        Noun { one: clean(one), many: clean(many) }
    }

    /// Returns the word for so many.
    pub fn of(&self, number: u64) -> &str {
        if number == 1 { &self.one } else { &self.many }
    }
}

/// A kind of callback or job, as a runtime calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindName {
    /// Which kind.
    pub kind: Kind,
    /// The label value in metrics.
    pub label: String,
    /// What people call it.
    pub noun: Noun,
}

/// A queue, as a runtime calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueName {
    /// Which queue.
    pub queue: Queue,
    /// The label value in metrics.
    pub label: String,
    /// What people call one of its jobs.
    pub noun: Noun,
}

/// Tells whose a function is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameRule {
    /// Whose.
    pub owner: Owner,
    /// By what.
    pub part: FramePart,
    /// The text to look for.
    pub text: String,
}

/// What a runtime says of itself. Made with the methods that take a value and return the whole, and given to
/// [`Builder::describe`](crate::Builder::describe); what is not said has a plain default.
///
/// ```
/// use loopscope_probe::description::{Description, Fact, Term};
/// use loopscope_probe::{Kind, Phase};
///
/// let tasks = Phase::from_index(8).unwrap();
/// let runtime = Description::new()
///     .phase(Phase::MAIN, "main")
///     .phase(tasks, "tasks")
///     .kind(Kind::Task, "poll", "poll", "polls")
///     .term(Term::Callback, "poll", "polls")
///     .fills(&[Fact::Time, Fact::Lag, Fact::Callbacks]);
/// assert_eq!(runtime.to_string().parse::<Description>(), Ok(runtime.clone()));
/// assert_eq!(runtime.callback().of(2), "polls");
/// assert!(!runtime.knows(Fact::PollEvents));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    phases: Vec<(Phase, String)>,
    kinds: Vec<KindName>,
    queues: Vec<QueueName>,
    terms: Vec<(Term, Noun)>,
    culprits: Vec<(Culprit, String)>,
    remedies: Vec<(Trouble, String)>,
    frames: Vec<FrameRule>,
    signs: Vec<(Sign, String)>,
    fills: Option<Vec<Fact>>,
    parks: Option<(String, String)>,
}

impl Description {
    /// Returns the description of a runtime that says nothing: an event loop with the phases of [`Phase::STANDARD`].
    pub fn new() -> Description {
        Description::default()
    }

    /// The runtime has this phase. One that names phases has no others.
    pub fn phase(mut self, phase: Phase, label: &str) -> Self {
        self.phases.push((phase, clean(label)));
        self
    }

    /// The runtime calls this kind of callback or job so: in metrics, and for people one and many of them.
    pub fn kind(mut self, kind: Kind, label: &str, one: &str, many: &str) -> Self {
        self.kinds.push(KindName { kind, label: clean(label), noun: Noun::new(one, many) });
        self
    }

    /// The runtime has this queue, and calls its jobs so. One that names queues has no others.
    pub fn queue(mut self, queue: Queue, label: &str, one: &str, many: &str) -> Self {
        self.queues.push(QueueName { queue, label: clean(label), noun: Noun::new(one, many) });
        self
    }

    /// The runtime has a word of its own for this term. Said again, the last word holds.
    pub fn term(mut self, term: Term, one: &str, many: &str) -> Self {
        self.terms.retain(|(known, _)| *known != term);
        self.terms.push((term, Noun::new(one, many)));
        self
    }

    /// What keeps the loop busy is called so, where it is many: "a batch of immediates". The last word holds.
    pub fn culprit(mut self, culprit: Culprit, many: &str) -> Self {
        self.culprits.retain(|(known, _)| *known != culprit);
        self.culprits.push((culprit, clean(many)));
        self
    }

    /// This helps against a trouble; see [`Trouble`] for what kind of text each wants. The last text holds.
    pub fn remedy(mut self, trouble: Trouble, text: &str) -> Self {
        self.remedies.retain(|(known, _)| *known != trouble);
        self.remedies.push((trouble, clean(text)));
        self
    }

    /// Functions whose name, file or module has this text are the owner's. The first rule that fits decides.
    ///
    /// ```
    /// use loopscope_probe::description::{Description, FramePart, Owner};
    ///
    /// let runtime = Description::new()
    ///     .frames(Owner::Runtime, FramePart::Function, "turner::")
    ///     .frames(Owner::Dependency, FramePart::File, "/vendor/");
    /// assert_eq!(runtime.frame_rules().len(), 2);
    /// ```
    pub fn frames(mut self, owner: Owner, part: FramePart, text: &str) -> Self {
        self.frames.push(FrameRule { owner, part, text: clean(text) });
        self
    }

    /// A function of the runtime's own that is on a stack tells this, where its name or file has this text.
    ///
    /// ```
    /// use loopscope_probe::description::{Description, Sign};
    ///
    /// let runtime = Description::new().sign(Sign::Blocking, "Sync");
    /// assert_eq!(runtime.blocking_call("readFileSync"), Some("readFile"));
    /// ```
    pub fn sign(mut self, sign: Sign, text: &str) -> Self {
        self.signs.push((sign, clean(text)));
        self
    }

    /// Only these numbers of the page mean something; without this, all do.
    pub fn fills(mut self, facts: &[Fact]) -> Self {
        self.fills = Some(facts.to_vec());
        self
    }

    /// Waiting for events is called so, of one that does it, and as a participle: "parks", "parked".
    pub fn parks(mut self, present: &str, participle: &str) -> Self {
        self.parks = Some((clean(present), clean(participle)));
        self
    }
}

/// What readers ask.
impl Description {
    /// Returns the phases that the runtime has, with their label values, in the order in which it named them.
    pub fn phases(&self) -> Vec<(Phase, &str)> {
        match self.phases.is_empty() {
            true => Phase::STANDARD.iter().map(|phase| (*phase, phase.name())).collect(),
            false => self.phases.iter().map(|(phase, label)| (*phase, label.as_str())).collect(),
        }
    }

    /// Returns the label value of a phase.
    pub fn phase_label(&self, phase: Phase) -> &str {
        let named = self.phases.iter().find(|(known, _)| *known == phase);
        named.map_or(phase.name(), |(_, label)| label)
    }

    /// Returns the label value of a kind.
    pub fn kind_label(&self, kind: Kind) -> &str {
        self.named_kind(kind).map_or(kind.name(), |named| &named.label)
    }

    /// Returns what people call one or many of a kind.
    pub fn kind_noun(&self, kind: Kind, number: u64) -> String {
        match (self.named_kind(kind), kind.queue()) {
            (Some(named), _) => named.noun.of(number).to_owned(),
            (None, Some(queue)) => self.queue_noun(queue, number),
            (None, None) => kind.name().replace('_', " "),
        }
    }

    fn named_kind(&self, kind: Kind) -> Option<&KindName> {
        self.kinds.iter().find(|named| named.kind == kind)
    }

    /// Returns the queues that the runtime has, with their label values.
    pub fn queues(&self) -> Vec<(Queue, &str)> {
        match self.queues.is_empty() {
            true => Queue::ALL.iter().map(|queue| (*queue, queue.name())).collect(),
            false => self.queues.iter().map(|named| (named.queue, named.label.as_str())).collect(),
        }
    }

    /// Returns the label value of a queue.
    pub fn queue_label(&self, queue: Queue) -> &str {
        self.named_queue(queue).map_or(queue.name(), |named| &named.label)
    }

    /// Returns what people call one or many jobs of a queue.
    pub fn queue_noun(&self, queue: Queue, number: u64) -> String {
        match self.named_queue(queue) {
            Some(named) => named.noun.of(number).to_owned(),
            None => format!("{} job{}", queue.name(), if number == 1 { "" } else { "s" }),
        }
    }

    fn named_queue(&self, queue: Queue) -> Option<&QueueName> {
        self.queues.iter().find(|named| named.queue == queue)
    }

    /// Returns the runtime's word for a term.
    pub fn noun(&self, term: Term) -> Noun {
        let own = self.terms.iter().find(|(known, _)| *known == term);
        own.map_or_else(|| default_noun(term), |(_, noun)| noun.clone())
    }

    /// Returns what an entry into user code is called: [`Term::Callback`].
    pub fn callback(&self) -> Noun {
        self.noun(Term::Callback)
    }

    /// Returns what many runs of a culprit are called.
    pub fn culprit_words(&self, culprit: Culprit) -> &str {
        let own = self.culprits.iter().find(|(known, _)| *known == culprit);
        own.map_or(default_culprit(culprit), |(_, words)| words)
    }

    /// Tells whether the runtime names this culprit. One that names none, and no kinds, is a loop that can have all.
    pub fn names_culprit(&self, culprit: Culprit) -> bool {
        let names_none = self.culprits.is_empty() && self.kinds.is_empty();
        names_none || self.culprits.iter().any(|(known, _)| *known == culprit)
    }

    /// Returns the kinds that the runtime names.
    pub fn named_kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter().map(|named| named.kind)
    }

    /// Returns what helps against a trouble; `None` where the runtime says nothing.
    pub fn remedy_for(&self, trouble: Trouble) -> Option<&str> {
        self.remedies.iter().find(|(known, _)| *known == trouble).map(|(_, text)| text.as_str())
    }

    /// Returns the rules for whose a function is, in their order.
    pub fn frame_rules(&self) -> &[FrameRule] {
        &self.frames
    }

    /// Returns the name of a blocking call of the runtime's without what it is known by: `readFileSync` is
    /// `readFile`. `None` of any other function.
    pub fn blocking_call<'a>(&self, function: &'a str) -> Option<&'a str> {
        let endings = self.signs.iter().filter(|(sign, _)| *sign == Sign::Blocking);
        let mut others = endings.filter_map(|(_, ending)| function.strip_suffix(ending.as_str()));
        others.find(|other| !other.is_empty())
    }

    /// Tells whether a request is served where a function of the runtime's own in this file is on the stack.
    pub fn serves_in(&self, file: &str) -> bool {
        self.signs.iter().any(|(sign, text)| *sign == Sign::Serving && file.contains(text.as_str()))
    }

    /// Tells whether a thread that sleeps in this function waits for another one because the program wants it to.
    pub fn is_thread_wait(&self, function: &str) -> bool {
        self.signs.iter().any(|(sign, text)| *sign == Sign::ThreadWait && function.contains(text.as_str()))
    }

    /// Tells whether a debugger has paused a thread that sleeps in this function.
    pub fn is_debugger_pause(&self, function: &str) -> bool {
        self.signs.iter().any(|(sign, text)| *sign == Sign::Debugger && function.contains(text.as_str()))
    }

    /// Tells whether a thread that is in this function of the runtime's has given the loop's work to another one.
    pub fn hands_over(&self, function: &str) -> bool {
        self.signs.iter().any(|(sign, text)| *sign == Sign::HandsOver && function.contains(text.as_str()))
    }

    /// Tells whether functions in which a thread waits for another one are known.
    pub fn knows_thread_waits(&self) -> bool {
        self.signs.iter().any(|(sign, _)| *sign == Sign::ThreadWait)
    }

    /// Tells whether the runtime fills these numbers.
    pub fn knows(&self, fact: Fact) -> bool {
        self.fills.as_ref().is_none_or(|filled| filled.contains(&fact))
    }

    /// Returns what waiting for events is called: `polls`.
    pub fn parks_word(&self) -> &str {
        self.parks.as_ref().map_or("polls", |(present, _)| present)
    }

    /// Returns the participle of [`Description::parks_word`]: `polled`.
    pub fn parked_word(&self) -> &str {
        self.parks.as_ref().map_or("polled", |(_, participle)| participle)
    }
}

fn default_noun(term: Term) -> Noun {
    match term {
        Term::Callback => Noun::new("callback", "callbacks"),
        Term::Iteration => Noun::new("iteration", "iterations"),
        Term::Lane => Noun::new("loop", "loops"),
        Term::PoolJob => Noun::new("job", "jobs"),
        Term::Between => Noun::new("code outside any callback", "code outside any callback"),
        Term::About => Noun::new("", ""),
        Term::ThreadWait => Noun::new("a wait for another thread", "waits for other threads"),
    }
}

fn default_culprit(culprit: Culprit) -> &'static str {
    match culprit {
        Culprit::Callback => "many short callbacks",
        Culprit::Microtask => "microtasks",
        Culprit::NextTick => "nextTick jobs",
        Culprit::Immediate => "a batch of immediates",
        Culprit::Timer => "many timers",
        Culprit::Io => "many short callbacks",
    }
}

/// A field without what ends fields and lines, and without what is not to be shown.
fn clean(field: &str) -> String {
    field.replace(['\t', '\n'], " ").replace(is_hidden, "\u{fffd}")
}

impl fmt::Display for Description {
    /// Writes the text that pages have.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (phase, label) in &self.phases {
            writeln!(f, "phase\t{}\t{label}", phase.index())?;
        }
        for KindName { kind, label, noun } in &self.kinds {
            writeln!(f, "kind\t{}\t{label}\t{}\t{}", kind.index(), noun.one, noun.many)?;
        }
        for QueueName { queue, label, noun } in &self.queues {
            writeln!(f, "queue\t{}\t{label}\t{}\t{}", queue.index(), noun.one, noun.many)?;
        }
        for (term, noun) in &self.terms {
            writeln!(f, "word\t{}\t{}\t{}", term.name(), noun.one, noun.many)?;
        }
        for (culprit, words) in &self.culprits {
            writeln!(f, "cause\t{}\t{words}", culprit.name())?;
        }
        for (trouble, text) in &self.remedies {
            writeln!(f, "remedy\t{}\t{text}", trouble.name())?;
        }
        for FrameRule { owner, part, text } in &self.frames {
            writeln!(f, "frames\t{}\t{}\t{text}", owner.name(), part.name())?;
        }
        for (sign, text) in &self.signs {
            writeln!(f, "sign\t{}\t{text}", sign.name())?;
        }
        if let Some((present, participle)) = &self.parks {
            writeln!(f, "parks\t{present}\t{participle}")?;
        }
        if let Some(facts) = &self.fills {
            f.write_str("fills")?;
            facts.iter().try_for_each(|fact| write!(f, "\t{}", fact.name()))?;
            f.write_str("\n")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Description {
    type Err = std::convert::Infallible;

    /// Reads the text of a page. Lines that say nothing known are passed over.
    fn from_str(text: &str) -> Result<Description, Self::Err> {
        let mut description = Description::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            // A line of a later table.
            let _ = description.read_line(&fields);
        }
        Ok(description)
    }
}

impl Description {
    /// Takes what a line says; `None` for a line that is not known.
    fn read_line(&mut self, fields: &[&str]) -> Option<()> {
        match fields {
            ["phase", number, label] => {
                self.phases.push((Phase::from_index(number.parse().ok()?)?, clean(label)));
            }
            ["kind", number, label, one, many] => {
                let kind = Kind::from_index(number.parse().ok()?)?;
                self.kinds.push(KindName { kind, label: clean(label), noun: Noun::new(one, many) });
            }
            ["queue", number, label, one, many] => {
                let queue = Queue::from_index(number.parse().ok()?)?;
                self.queues.push(QueueName { queue, label: clean(label), noun: Noun::new(one, many) });
            }
            ["word", term, one, many] => self.terms.push((Term::from_name(term)?, Noun::new(one, many))),
            ["cause", culprit, words] => self.culprits.push((Culprit::from_name(culprit)?, clean(words))),
            ["remedy", trouble, text] => self.remedies.push((Trouble::from_name(trouble)?, clean(text))),
            ["frames", owner, part, text] if !text.is_empty() => {
                let (owner, part) = (Owner::from_name(owner)?, FramePart::from_name(part)?);
                self.frames.push(FrameRule { owner, part, text: clean(text) });
            }
            ["sign", sign, text] if !text.is_empty() => {
                self.signs.push((Sign::from_name(sign)?, clean(text)));
            }
            ["parks", present, participle] => self.parks = Some((clean(present), clean(participle))),
            ["fills", facts @ ..] => {
                self.fills = Some(facts.iter().filter_map(|name| Fact::from_name(name)).collect());
            }
            _ => return None,
        }
        Some(())
    }
}

/// How many different descriptions are kept as values. A machine has a few runtimes.
const KEPT: usize = 16;

static KNOWN: Mutex<Vec<(Vec<u64>, Arc<Description>)>> = Mutex::new(Vec::new());

fn of_words(words: &[u64]) -> Description {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').parse().unwrap_or_default()
}

impl DescriptionWords {
    /// Stores a description, of what is too long as many lines as there is room for.
    pub(crate) fn store(&self, pen: &WriteToken<LoopOwned>, description: &Description) {
        let text = description.to_string();
        let fits = match text.len() <= DESCRIPTION_BYTES {
            true => text.len(),
            false => text.as_bytes()[..DESCRIPTION_BYTES]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1),
        };
        store_text(pen, &self.text, &text[..fits], false);
    }

    /// Reads it. The same words give the same value, which is kept: pages are read often, and there are few runtimes.
    pub(crate) fn read(&self) -> Arc<Description> {
        let words: Vec<u64> = self.text.iter().map(SharedU64::get).take_while(|word| *word != 0).collect();
        // Never waited for: in a forked child a thread that is not there may hold it.
        let mut known = match KNOWN.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(known)) => known.into_inner(),
            Err(TryLockError::WouldBlock) => return Arc::new(of_words(&words)),
        };
        if let Some((_, description)) = known.iter().find(|(seen, _)| *seen == words) {
            return description.clone();
        }
        let description = Arc::new(of_words(&words));
        if known.len() == KEPT {
            known.remove(0);
        }
        known.push((words, description.clone()));
        description
    }
}

impl Default for DescriptionWords {
    fn default() -> Self {
        DescriptionWords { text: std::array::from_fn(|_| SharedU64::default()) }
    }
}

#[cfg(test)]
#[path = "description_tests.rs"]
mod tests;
