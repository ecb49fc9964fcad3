//! Source maps: from a place in a script that was compiled, bundled or shortened to the place that a person wrote.
//!
//! Version 3 of the format, as `//# sourceMappingURL=` names it: a file beside the script, or a `data:` address. Maps of maps
//! (`sections`) are not read. A wrong place is worse than the script's own, so a map counts only where both files are older
//! than this process, and a place only where the map has one on its line.

mod base64;
mod places;
mod vlq;

pub use places::{Places, SourceMaps, path_of};

use serde_json::Value;

/// A place in what a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Path or URL.
    pub source: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 where not known.
    pub column: u32,
}

/// A piece of a script's line, from its column to that of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    column: u32,
    /// Source, line and column, from 0; none for what nobody wrote.
    original: Option<(u32, u32, u32)>,
}

/// A map of one script.
#[derive(Debug)]
pub struct SourceMap {
    sources: Vec<String>,
    /// Of each line, in the order of their columns.
    lines: Vec<Vec<Segment>>,
}

impl SourceMap {
    /// Reads a map. Its sources are relative to `base`, the folder or URL that it is in. `None` for what is no map of version 3.
    pub fn parse(text: &[u8], base: &str) -> Option<SourceMap> {
        // Some servers put this before it.
        let text = text.strip_prefix(b")]}'").unwrap_or(text);
        let map: Value = serde_json::from_slice(text).ok()?;
        if map["version"] != 3 || map.get("sections").is_some() {
            return None;
        }
        let root = map["sourceRoot"].as_str().unwrap_or_default();
        let source = |source: &Value| resolve(base, root, source.as_str().unwrap_or_default());
        let sources = map["sources"].as_array()?.iter().map(source).collect();
        let lines = lines(map["mappings"].as_str()?)?;
        Some(SourceMap { sources, lines })
    }

    /// Returns where a place of the script was written; line and column count from 1. With column 0, which is not known, where
    /// all of the line is of one line.
    pub fn original(&self, line: u32, column: u32) -> Option<Original> {
        let segments = self.lines.get(line.checked_sub(1)? as usize)?;
        let Some(column) = column.checked_sub(1) else {
            let mut written = segments.iter().map(|segment| segment.original);
            let (source, line, _) = written.next()??;
            let is_one = written.all(|other| other.is_some_and(|other| (other.0, other.1) == (source, line)));
            let source = self.sources.get(source as usize).filter(|source| is_one && !source.is_empty())?;
            return Some(Original { source: source.clone(), line: line + 1, column: 0 });
        };
        let after = segments.partition_point(|segment| segment.column <= column);
        let (source, line, column) = segments.get(after.checked_sub(1)?)?.original?;
        let source = self.sources.get(source as usize).filter(|source| !source.is_empty())?;
        Some(Original { source: source.clone(), line: line + 1, column: column + 1 })
    }
}

/// Reads the mappings: lines apart by `;`, segments by `,`, each of 1, 4 or 5 numbers that count on from the one before.
fn lines(mappings: &str) -> Option<Vec<Vec<Segment>>> {
    let (mut source, mut line, mut column) = (0i64, 0i64, 0i64);
    let mut read_line = |text: &str| {
        let mut generated = 0i64;
        let mut segments = Vec::new();
        for text in text.split(',').filter(|text| !text.is_empty()) {
            let (numbers, count) = vlq::decode(text)?;
            generated += numbers[0];
            let original = match count {
                1 => None,
                4 | 5 => {
                    (source, line, column) = (source + numbers[1], line + numbers[2], column + numbers[3]);
                    Some((
                        u32::try_from(source).ok()?,
                        u32::try_from(line).ok()?,
                        u32::try_from(column).ok()?,
                    ))
                }
                _ => return None,
            };
            segments.push(Segment { column: u32::try_from(generated).ok()?, original });
        }
        segments.sort_by_key(|segment| segment.column);
        Some(segments)
    };
    mappings.split(';').map(&mut read_line).collect()
}

/// Returns the path or URL of a source.
fn resolve(base: &str, root: &str, source: &str) -> String {
    let source =
        if root.is_empty() { source.to_owned() } else { format!("{}/{source}", root.trim_end_matches('/')) };
    if source.starts_with("file://") {
        return path_of(&source).into_owned();
    }
    if source.contains("://") || source.is_empty() {
        return source;
    }
    let joined = if source.starts_with('/') { source } else { format!("{base}/{source}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(mappings: &str) -> SourceMap {
        let text = format!(
            r#"{{"version":3,"sources":["../src/app.ts","webpack://app/./b.ts"],"names":["a"],"mappings":"{mappings}"}}"#
        );
        SourceMap::parse(text.as_bytes(), "/srv/app/dist").unwrap()
    }

    #[test]
    fn a_place_is_that_of_the_segment_it_is_in() {
        // Line 1: column 0 -> app.ts 1:1, column 4 -> app.ts 2:3, column 9 -> nobody. Line 3: column 2 -> b.ts 1:1.
        let map = map("AAAA,IACE,K;;ECDF");
        let at = |line, column| {
            map.original(line, column)
                .map(|place| format!("{}:{}:{}", place.source, place.line, place.column))
        };
        assert_eq!(at(1, 1).unwrap(), "/srv/app/src/app.ts:1:1");
        assert_eq!(at(1, 5).unwrap(), "/srv/app/src/app.ts:2:3");
        assert_eq!(at(1, 9).unwrap(), "/srv/app/src/app.ts:2:3");
        assert_eq!(at(1, 10), None, "nobody wrote it");
        assert_eq!(at(2, 1), None);
        assert_eq!(at(3, 1), None, "before the first segment");
        assert_eq!(at(3, 7).unwrap(), "webpack://app/./b.ts:1:1");
        assert_eq!(at(4, 1), None);
        assert_eq!((at(0, 1), at(1, 0)), (None, None), "the line is of several");
        assert_eq!(at(3, 0).unwrap(), "webpack://app/./b.ts:1:0");
    }

    #[test]
    fn what_is_no_map_is_none() {
        for text in [
            "",
            "{}",
            r#"{"version":2,"sources":[],"mappings":""}"#,
            r#"{"version":3,"sections":[],"sources":[],"mappings":""}"#,
            r#"{"version":3,"sources":["a"],"mappings":"AA"}"#,
            r#"{"version":3,"sources":["a"],"mappings":"!"}"#,
            r#"{"version":3,"sources":["a"],"mappings":"D"}"#,
        ] {
            assert!(SourceMap::parse(text.as_bytes(), "/").is_none(), "{text}");
        }
    }

    #[test]
    fn sources_are_relative_to_their_map_and_root() {
        for (root, source, expected) in [
            ("", "a.ts", "/srv/dist/a.ts"),
            ("", "./../src/a.ts", "/srv/src/a.ts"),
            ("../lib/", "a.ts", "/srv/lib/a.ts"),
            ("", "/abs/a.ts", "/abs/a.ts"),
            ("", "file:///abs/a%20b.ts", "/abs/a b.ts"),
            ("webpack://x", "a.ts", "webpack://x/a.ts"),
            ("", "", ""),
        ] {
            assert_eq!(resolve("/srv/dist", root, source), expected);
        }
    }
}
