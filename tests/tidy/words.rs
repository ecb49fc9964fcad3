//! What people read says nothing of a runtime that the runtime did not say itself: no name of one stands in the strings of what
//! reports, serves, draws and advises. Runtimes bring their words with them, in the description on their page.
//!
//! Looked for, in any case and as whole words (with no letter, digit or `_` beside them), are [`WORDS`], and words that begin
//! with `uv_`. One thing is no offence: `nexttick` in lower case, where it is a label value: the whole of a string, or between
//! backticks. Rust: string literals outside tests, those in macros too, and under `agent/cli/src/args/` also the documentation,
//! which is what `--help` says. The page in the browser, and runbooks: everything but comments.

use super::circles::attributes::{attributes, is_for_tests};
use super::tracked::{Fault, Tracked};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The names.
const WORDS: [&str; 5] = ["libuv", "v8", "node.js", "nexttick", "tokio"];

/// What names of one begin with.
const PREFIX: &str = "uv_";

/// What is read by people, or is handed to them.
const READ: [&str; 8] = [
    "agent/report/src/",
    "agent/src/",
    "agent/http/src/",
    "agent/http/page/",
    "agent/host/src/",
    "agent/cli/src/",
    "dashboards/src/",
    "dashboards/runbooks/",
];

/// Files, or folders, that may have words of these, and why.
const EXCEPTIONS: [(&str, &[&str], &str); 7] = [
    ("agent/http/page/uPlot.min.js", &[], "a library, as it came"),
    ("agent/cli/src/node/", &[], "runs and attaches to programs of that runtime by its name"),
    (
        "agent/cli/src/args/demo.rs",
        &["nexttick"],
        "a value of its option, by the queue of the loop that it runs",
    ),
    ("dashboards/src/grafana/node.rs", &["node.js"], "shows the metrics of that runtime's own exporter"),
    ("dashboards/src/grafana/tokio.rs", &["tokio"], "the dashboard of that runtime"),
    ("agent/report/src/compute/guilty.rs", &["tokio"], "paths of functions that are nobody's fault"),
    ("agent/report/src/model/plumbing.rs", &["tokio", "uv_"], "paths of functions below a program's own"),
];

/// Finds the names.
pub fn of_runtimes(files: &[Tracked]) -> Vec<Fault> {
    let is_read = |file: &&Tracked| READ.iter().any(|folder| file.path.starts_with(folder));
    files.iter().filter(is_read).flat_map(of_file).collect()
}

fn of_file(file: &Tracked) -> Vec<Fault> {
    let exception = EXCEPTIONS.iter().find(|(path, _, _)| file.path.starts_with(path));
    if exception.is_some_and(|(_, words, _)| words.is_empty()) || file.path.ends_with("_tests.rs") {
        return Vec::new();
    }
    let is_excepted =
        |word: &str| exception.is_some_and(|(_, words, _)| words.iter().any(|known| word.starts_with(known)));
    let texts = if file.path.ends_with(".rs") { strings(file) } else { plain(file) };
    let mut faults = Vec::new();
    for (line, text) in texts {
        for word in names(&text).into_iter().filter(|word| !is_excepted(word)) {
            let remedy = format!("`{word}` is a runtime's word: take it from the page's description");
            faults.push(Fault::new(&file.path, line, remedy));
        }
    }
    faults
}

/// Returns the names in a text, in lower case.
fn names(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = |at: usize| at == 0 || !is_part(lower.as_bytes()[at - 1]);
    let mut found = Vec::new();
    for word in WORDS {
        for (at, _) in lower.match_indices(word).filter(|(at, _)| begins(*at)) {
            let end = at + word.len();
            let is_whole = !lower.as_bytes().get(end).copied().is_some_and(is_part);
            if is_whole && !is_label(text, at, end) {
                found.push(word.to_owned());
            }
        }
    }
    for (at, _) in lower.match_indices(PREFIX).filter(|(at, _)| begins(*at)) {
        let length = lower[at..].bytes().take_while(|byte| is_part(*byte)).count();
        found.push(lower[at..at + length].to_owned());
    }
    found
}

/// Tells whether a word is the label value of a queue.
fn is_label(text: &str, at: usize, end: usize) -> bool {
    let is_quoted = text[..at].ends_with('`') && text[end..].starts_with('`');
    text.get(at..end) == Some("nexttick") && (is_quoted || (at, end) == (0, text.len()))
}

/// Returns the string literals of a Rust file that are not in tests, each with its line.
fn strings(file: &Tracked) -> Vec<(usize, String)> {
    let Ok(parsed) = syn::parse_file(&file.text) else { return Vec::new() };
    if is_for_tests(&parsed.attrs) {
        return Vec::new();
    }
    let has_help = file.path.starts_with("agent/cli/src/args/");
    let mut literals = Literals { has_help, found: Vec::new() };
    literals.visit_file(&parsed);
    literals.found
}

struct Literals {
    /// Documentation is what the command says of itself.
    has_help: bool,
    found: Vec<(usize, String)>,
}

impl Literals {
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    match syn::Lit::new(literal) {
                        syn::Lit::Str(text) => self.found.push((line, text.value())),
                        syn::Lit::ByteStr(bytes) => {
                            self.found.push((line, String::from_utf8_lossy(&bytes.value()).into_owned()));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'a> Visit<'a> for Literals {
    fn visit_item(&mut self, item: &'a syn::Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        self.found.push((text.span().start().line, text.value()));
    }

    fn visit_lit_byte_str(&mut self, bytes: &'a syn::LitByteStr) {
        let text = String::from_utf8_lossy(&bytes.value()).into_owned();
        self.found.push((bytes.span().start().line, text));
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'a syn::Attribute) {
        if self.has_help {
            visit::visit_attribute(self, attribute);
        }
    }
}

/// Returns the lines of a file that is no Rust, without what is a comment there.
fn plain(file: &Tracked) -> Vec<(usize, String)> {
    let mut text = file.text.clone();
    for (open, close) in [("/*", "*/"), ("<!--", "-->")] {
        while let Some(begin) = text.find(open) {
            let end = text[begin..].find(close).map_or(text.len(), |at| begin + at + close.len());
            let blank: String = text[begin..end].chars().filter(|letter| *letter == '\n').collect();
            text.replace_range(begin..end, &blank);
        }
    }
    let is_script = file.path.ends_with(".js");
    let without_comment = |line: &str| match line.find("//") {
        // In an address, it follows a colon.
        Some(at) if is_script && !line[..at].ends_with(':') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().enumerate().map(|(at, line)| (at + 1, without_comment(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::sample;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let word = |remedy: &str| remedy.split('`').nth(1).unwrap_or("").to_owned();
        of_runtimes(&[sample(path, text)])
            .into_iter()
            .map(|fault| (fault.line, word(&fault.remedy)))
            .collect()
    }

    #[test]
    fn a_runtime_s_name_is_found_in_every_kind_of_string() {
        let bad = "//! Tokio in a comment is none.\n\
                   fn f() {\n  let a = \"as in Node.js\";\n  g(format!(\"{a} nextTick jobs\"), [r\"libuv\"]);\n  let b = b\"V8\";\n\
                   }\nconst C: &str = \"set UV_THREADPOOL_SIZE=4\";\nm! { x = \"tokio's\" }\n";
        let told = found("agent/report/src/x.rs", bad);
        let words: Vec<(usize, &str)> = told.iter().map(|(line, word)| (*line, word.as_str())).collect();
        assert_eq!(
            words,
            [
                (3, "node.js"),
                (4, "nexttick"),
                (4, "libuv"),
                (5, "v8"),
                (7, "uv_threadpool_size"),
                (8, "tokio")
            ]
        );
        let page = "// nextTick\nconst a = `a nextTick job`; // tokio\nsay(\"http://x/V8\");\n/* libuv */\n";
        let told = found("agent/http/page/x.js", page);
        assert_eq!(told, [(2, "nexttick".to_owned()), (3, "v8".to_owned())]);
        assert_eq!(found("dashboards/runbooks/X.md", "Raise `UV_X`.\n").len(), 1);
        let help = "/// Like Node.js.\nstruct A;\n";
        assert_eq!(found("agent/cli/src/args/x.rs", help).len(), 1, "documentation is help there");
        assert!(found("agent/cli/src/x.rs", help).is_empty());
    }

    #[test]
    fn labels_parts_of_words_tests_and_other_crates_are_no_offence() {
        let good = "/// Tokio.\nfn f() { tokio::spawn(g(\"nexttick\")); h(\"`nexttick` is a label\", \"nexttick_flood\"); }\n\
                    const A: &str = \"a V80 engine, nodejs_lag, tokios, uv\";\n\
                    #[cfg(test)]\nmod tests { const B: &str = \"Tokio\"; }\n";
        assert_eq!(found("agent/report/src/x.rs", good), []);
        assert_eq!(found("agent/report/src/x_tests.rs", "const A: &str = \"Tokio\";"), []);
        assert_eq!(found("loop/engine/src/x.rs", "const A: &str = \"Node.js\";"), []);
        assert_eq!(found("agent/report/src/x.rs", "const A: &str = \"the nexttick queue\";").len(), 1);
        assert_eq!(found("agent/report/src/x.rs", "const A: &str = \"NextTick\";").len(), 1);
    }
}
