//! The variable NODE_OPTIONS: words parted by spaces, in double quotes where a space is in them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The variable's name.
pub const VARIABLE: &str = "NODE_OPTIONS";

/// Returns what is set already, if anything, with an option behind it that preloads `script`; unchanged where it is in there.
pub fn with_preload(set: Option<&OsStr>, script: &Path) -> OsString {
    let own = word(script);
    let mut options = set.map(OsStr::as_bytes).unwrap_or_default().to_owned();
    let is_there = options.windows(own.len()).any(|part| part == own);
    if !is_there {
        if !options.is_empty() {
            options.push(b' ');
        }
        options.extend(own);
    }
    OsString::from_vec(options)
}

/// Returns the option as Node reads it: within quotes, a backslash takes the next character as it is.
fn word(script: &Path) -> Vec<u8> {
    let plain = [b"--require=", script.as_os_str().as_bytes()].concat();
    if !plain.iter().any(|byte| matches!(byte, b' ' | b'"' | b'\\')) {
        return plain;
    }
    let escaped = plain.iter().flat_map(|byte| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        byte => vec![*byte],
    });
    [b'"'].into_iter().chain(escaped).chain([b'"']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_stays_in_front() {
        for (set, path, expected) in [
            (None, "/a/r.cjs", "--require=/a/r.cjs"),
            (Some(""), "/a/r.cjs", "--require=/a/r.cjs"),
            (Some("--max-old-space-size=64"), "/a/r.cjs", "--max-old-space-size=64 --require=/a/r.cjs"),
            (Some("--require=/a/r.cjs --trace-gc"), "/a/r.cjs", "--require=/a/r.cjs --trace-gc"),
            (Some("-r x"), "/a b/r.cjs", "-r x \"--require=/a b/r.cjs\""),
            (None, "/a\"b\\c/r.cjs", "\"--require=/a\\\"b\\\\c/r.cjs\""),
        ] {
            assert_eq!(with_preload(set.map(OsStr::new), Path::new(path)), expected, "{set:?} {path}");
        }
    }
}
