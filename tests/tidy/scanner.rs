//! A scanner that tells Rust's code, comments and strings apart, and finds the functions in the code.
//!
//! It knows just enough of the language that a word in a string or a comment is not taken for code. What it returns has
//! the same length and the same lines as the source, with everything else blanked out, so offsets and lines agree.

/// One source seen twice.
pub struct Scanned {
    /// Code alone: comments and the contents of strings are spaces.
    pub code: String,
    /// Comments alone.
    pub comments: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Offset of the `fn`.
    pub begin: usize,
    /// Offsets of its outer braces.
    pub body: (usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Text,
}

/// Splits a source.
pub fn scan(source: &str) -> Scanned {
    let bytes = source.as_bytes();
    let (mut parts, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let (part, length) = next_part(bytes, at);
        let end = (at + length.max(1)).min(bytes.len());
        parts.resize(end, part);
        at = end;
    }
    let only = |wanted: Part| {
        let keep = |(byte, part): (&u8, &Part)| if *part == wanted || *byte == b'\n' { *byte } else { b' ' };
        let kept: Vec<u8> = bytes.iter().zip(&parts).map(keep).collect();
        String::from_utf8(kept).expect("parts end at ASCII bytes")
    };
    Scanned { code: only(Part::Code), comments: only(Part::Comment) }
}

/// Returns what begins at `at`, and its length.
fn next_part(bytes: &[u8], at: usize) -> (Part, usize) {
    let rest = &bytes[at..];
    let is_word = at > 0 && is_identifier(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => {
            (Part::Comment, rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()))
        }
        [b'/', b'*', ..] => (Part::Comment, block_comment(rest)),
        [b'"', ..] => (Part::Text, quoted(rest, b'"')),
        [b'r', b'"' | b'#', ..] if !is_word => raw_text(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if !is_word => raw_text(rest, 2),
        [b'\'', b'\\', ..] => (Part::Text, quoted(rest, b'\'')),
        // A character of one to four bytes; anything else after the quote is a lifetime or a label.
        [b'\'', ..] => match rest.iter().skip(1).take(5).position(|byte| *byte == b'\'') {
            Some(length @ 1..) if length == 1 || rest[1] >= 0x80 => (Part::Text, length + 2),
            _ => (Part::Code, 1),
        },
        _ => (Part::Code, 1),
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_text(rest: &[u8], prefix: usize) -> (Part, usize) {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        // A raw identifier such as `r#type`.
        return (Part::Code, prefix);
    }
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[prefix + hashes + 1..];
    let length = body.windows(closing.len()).position(|window| window == closing).unwrap_or(body.len());
    (Part::Text, prefix + hashes + 1 + length + closing.len())
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Returns the offsets at which `word` stands in `code`, not as a part of a longer word.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let stands_alone = |at: &usize| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(at + word.len()).copied();
        !before.is_some_and(is_identifier) && !after.is_some_and(is_identifier)
    };
    code.match_indices(word).map(|(at, _)| at).filter(stands_alone).collect()
}

/// Finds the functions of `code`, which has no comments and strings any more.
pub fn functions(code: &str) -> Vec<Function> {
    words(code, "fn").into_iter().filter_map(|begin| function_at(code, begin)).collect()
}

fn function_at(code: &str, begin: usize) -> Option<Function> {
    let after = &code[begin + 2..];
    let name: String = after.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        // A function pointer type.
        return None;
    }
    let mut depth = 0i32;
    for (at, byte) in code.bytes().enumerate().skip(begin + 2) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(Function { name, begin, body: (at, closing_brace(code, at)) }),
            _ => {}
        }
    }
    None
}

/// Returns the offset of the brace that closes the one at `open`, or the end of the text.
pub fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// Returns the code with the bodies of its unit tests, and everything else behind `#[cfg(test)]`, blanked out.
pub fn without_unit_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    let marks = ["#[cfg(test)]", "#[cfg(all(test"];
    for (at, _) in marks.iter().flat_map(|mark| code.match_indices(mark)) {
        let end = code[at..].find([';', '{']).map(|length| at + length);
        if let Some(open) = end.filter(|end| code.as_bytes()[*end] == b'{') {
            let close = closing_brace(code, open);
            let blank: String = code[open..close].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            // Blanks of several bytes' characters would change the length; code has them in strings only.
            if blank.len() == close - open {
                kept.replace_range(open..close, &blank);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_comments_and_strings_are_not_code() {
        let source = "/* a /* b */ unsafe */ let a = \"unsafe \\\" unsafe\"; // unsafe\nlet b = r#\"unsafe\"#; 'u'; b'\\''; x";
        let scanned = scan(source);
        assert!(words(&scanned.code, "unsafe").is_empty());
        assert_eq!(words(&scanned.comments, "unsafe").len(), 2);
        assert!(scanned.code.ends_with("; x"), "{}", scanned.code);
        assert_eq!(scanned.code.len(), source.len());
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        let scanned = scan("fn f<'a>(x: &'a str, r#type: u8) { 'outer: loop { unsafe_x(); unsafe {} } }");
        assert_eq!(words(&scanned.code, "unsafe").len(), 1);
        assert_eq!(functions(&scanned.code)[0].name, "f");
    }

    #[test]
    fn a_function_ends_at_its_own_brace() {
        let code = "trait T { fn a(&self) -> [u8; 3]; fn b(f: fn(u8)) { if x { y } } } fn c() {}";
        let found = functions(code);
        let names: Vec<_> = found.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(&code[found[0].body.0..=found[0].body.1], "{ if x { y } }");
    }

    #[test]
    fn unit_tests_are_blanked_out() {
        let code = "fn a() { x.unwrap() }\n#[cfg(test)]\nmod tests { fn b() { y.unwrap() } }\n#[cfg(test)]\nmod other;\nfn c() {}";
        let kept = without_unit_tests(code);
        assert!(kept.contains("x.unwrap") && !kept.contains("y.unwrap") && kept.contains("fn c"));
        assert_eq!(kept.len(), code.len());
    }
}
