//! What `stat` of proc(5) says of a process or a thread of this process.
//!
//! The other crates of this project read it with the probe; this one depends on none of them, and has its own.

/// The fields that captures need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R` runs, `S` sleeps ...
    pub letter: char,
    /// The controlling terminal; 0 for none.
    pub terminal: i64,
}

impl Stat {
    /// Reads the file's text. The name, in parentheses, may hold anything, parentheses and half a letter too.
    pub(crate) fn parse(stat: &[u8]) -> Option<Stat> {
        let after_name = stat.get(stat.iter().rposition(|byte| *byte == b')')? + 1..)?;
        let mut fields = after_name.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let letter = char::from(*fields.next()?.first()?);
        // After it: parent, group, session, terminal.
        let terminal = std::str::from_utf8(fields.nth(3)?).ok()?.parse().ok()?;
        Some(Stat { letter, terminal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_past_any_name_and_refused_where_it_is_cut() {
        let expected = Stat { letter: 'S', terminal: -7 };
        for name in [&b"a"[..], b"a) R (b", b") R 1", b"", b"\xc3"] {
            let text = [b"7 (", name, b") S 1 7 7 -7 -1 4194304 12 0 3 0 5 2"].concat();
            assert_eq!(Stat::parse(&text), Some(expected), "{name:?}");
        }
        for cut in ["", "7 (x", "7 (x)", "7 (x) S", "7 (x) S 1 7 7", "7 (x) S 1 7 7 x -1 1 1 1 1"] {
            assert_eq!(Stat::parse(cut.as_bytes()), None, "{cut}");
        }
    }
}
