//! The variable NODE_OPTIONS: words parted by spaces, in double quotes where a space is in them. It is read, and added to.

use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The variable's name.
pub const VARIABLE: &str = "NODE_OPTIONS";

/// What of a URL stands for itself, beside letters and digits; all else is escaped, and so needs no quotes.
const PLAIN: &[u8] = b"-_.~/";

/// How a script is preloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preloading {
    /// As Node does it at once: a program that may not read the script ends.
    Plain,
    /// By a module within the option, which says what is missing where the script may not be read. It makes Node begin with its
    /// loader of modules, and only versions that can restrict a program are sure to have the option.
    Permitted,
}

/// Returns what is set already, if anything, with an option behind it that preloads `script`; unchanged where it is in there.
pub fn with_preload(set: Option<&OsStr>, script: &Path, preloading: Preloading) -> OsString {
    let own = match preloading {
        Preloading::Plain => word(script),
        Preloading::Permitted => module(script).into_bytes(),
    };
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

/// Returns the words of the variable, as Node parts them.
pub fn words(set: &OsStr) -> Vec<String> {
    let (mut words, mut is_quoted, mut is_inside) = (Vec::new(), false, false);
    let text = set.to_string_lossy();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '"' => {
                is_quoted = !is_quoted;
                continue;
            }
            ' ' if !is_quoted => {
                is_inside = false;
                continue;
            }
            '\\' if is_quoted => letters.next().unwrap_or(letter),
            letter => letter,
        };
        if !std::mem::replace(&mut is_inside, true) {
            words.push(String::new());
        }
        words.last_mut().into_iter().for_each(|word| word.push(letter));
    }
    words
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

/// Returns an option that imports a module whose text is within it: that is read by no permission.
fn module(script: &Path) -> String {
    let folder = script.parent().unwrap_or(script).display();
    let missing = json!(format!("add --allow-fs-read={folder}/* --allow-addons"));
    let text = format!(
        "import module from 'module';\
         const require = module.createRequire('/');\
         try {{ require({script}) }} catch (error) {{\
         const why = error.code === 'ERR_ACCESS_DENIED' ? 'this process may not load it: ' + {missing} : error.message;\
         if (require('worker_threads').isMainThread) process._rawDebug('loopscope: off, because ' + why) }}",
        script = json!(script.display().to_string())
    );
    let escaped = text.bytes().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    format!("--import=data:text/javascript,{}", escaped.collect::<String>())
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
            let set = set.map(OsStr::new);
            let options = with_preload(set, Path::new(path), Preloading::Plain);
            assert_eq!(options, expected, "{set:?} {path}");
            let last = words(&options).into_iter().find(|word| word.starts_with("--require=")).unwrap();
            assert_eq!(last, format!("--require={path}"), "read again as it was written");
        }
    }

    #[test]
    fn words_are_parted_as_node_does() {
        for (set, expected) in [
            ("", &[][..]),
            ("  -r  x ", &["-r", "x"]),
            ("\"--title=a b\" c", &["--title=a b", "c"]),
            ("--title=\"a\\\"b\"c", &["--title=a\"bc"]),
            ("a\\b", &["a\\b"]),
        ] {
            assert_eq!(words(OsStr::new(set)), expected, "{set}");
        }
    }

    #[test]
    fn a_module_within_the_option_is_one_word_without_quotes() {
        let options = with_preload(None, Path::new("/a \"b/r.cjs"), Preloading::Permitted);
        let options = options.to_str().unwrap();
        let text = options.strip_prefix("--import=data:text/javascript,import%20module%20from").unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-_.~/".contains(&byte)), "{text}");
        assert_eq!(
            with_preload(Some(OsStr::new(options)), Path::new("/a \"b/r.cjs"), Preloading::Permitted),
            options
        );
    }
}
