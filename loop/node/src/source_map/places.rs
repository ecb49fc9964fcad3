//! The places of frames, mapped: maps are read when an incident or a flamegraph has a place that is not known, and not kept.

use super::{Original, SourceMap, base64};
use crate::code_map::JsFrame;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Places that are kept; when there are more, all are forgotten.
const PLACES: usize = 1 << 14;
/// Longest script and longest map that are read.
const FILE_BYTES: u64 = 64 << 20;
/// What names a map, at the end of a script.
const MARK: &str = "//# sourceMappingURL=";

type Key = (String, u32, u32);

/// Places that were looked for, for as long as the process lives.
#[derive(Debug)]
pub struct Places {
    known: Mutex<HashMap<Key, Option<Original>>>,
    /// Files that are younger may be others than those that were loaded.
    begun: SystemTime,
}

impl Places {
    /// Begins with none, in a process that has begun before `begun`.
    pub fn new(begun: SystemTime) -> Places {
        Places { known: Mutex::default(), begun }
    }
}

/// Maps frames; the maps that it needs are kept for as long as it lives.
#[derive(Debug)]
pub struct SourceMaps<'a> {
    places: &'a Places,
    /// Where V8 says that the maps of scripts are.
    urls: HashMap<String, Arc<str>>,
    maps: HashMap<String, Option<SourceMap>>,
}

impl<'a> SourceMaps<'a> {
    /// Maps with what V8 said of scripts; of others the file is read.
    pub fn new(places: &'a Places, urls: HashMap<String, Arc<str>>) -> SourceMaps<'a> {
        SourceMaps { places, urls, maps: HashMap::new() }
    }

    /// Gives a frame the place that a person wrote, where that is known.
    pub fn apply(&mut self, mut frame: JsFrame) -> JsFrame {
        let path = path_of(&frame.script);
        if !path.starts_with('/') || frame.line == 0 {
            return frame;
        }
        let key = (frame.script.clone(), frame.line, frame.column);
        let known = self.lock().get(&key).cloned();
        let original = known.unwrap_or_else(|| {
            let found = self.map(&frame.script).and_then(|map| map.original(frame.line, frame.column));
            let mut places = self.lock();
            if places.len() >= PLACES {
                places.clear();
            }
            places.insert(key, found.clone());
            found
        });
        if let Some(Original { source, line, column }) = original {
            (frame.script, frame.line, frame.column) = (source, line, column);
        }
        frame
    }

    fn lock(&self) -> std::sync::MutexGuard<'a, HashMap<Key, Option<Original>>> {
        self.places.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&mut self, script: &str) -> Option<&SourceMap> {
        if !self.maps.contains_key(script) {
            let map = self.read(script);
            self.maps.insert(script.to_owned(), map);
        }
        self.maps.get(script)?.as_ref()
    }

    fn read(&self, script: &str) -> Option<SourceMap> {
        let path = path_of(script);
        let path = Path::new(&*path);
        let folder = path.parent()?.to_str()?;
        let url = match self.urls.get(script) {
            Some(url) => url.clone(),
            None => last_mark(&self.file(path)?)?.into(),
        };
        if let Some(data) = url.strip_prefix("data:") {
            let (kind, text) = data.split_once(',')?;
            return SourceMap::parse(&base64::decode(text).filter(|_| kind.ends_with(";base64"))?, folder);
        }
        // The script that was loaded must be the one that the map is of.
        self.is_older(path).then_some(())?;
        let file = Path::new(folder).join(map_path(&url)?);
        let base = file.parent()?.to_str()?.to_owned();
        SourceMap::parse(&self.file(&file)?, &base)
    }

    fn is_older(&self, path: &Path) -> bool {
        let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| changed <= self.places.begun)
    }

    /// Reads a file that is older than the process.
    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let metadata = std::fs::metadata(path).ok()?;
        let is_read = metadata.is_file() && metadata.len() <= FILE_BYTES && self.is_older(path);
        is_read.then(|| std::fs::read(path).ok())?
    }
}

/// Returns the path of a script: what its URL says, as modules have one, or the script itself, which no URL has encoded.
pub fn path_of(script: &str) -> Cow<'_, str> {
    let Some(url) = script.strip_prefix("file://") else { return Cow::Borrowed(script) };
    // What distinguishes modules of one file is not the path's: in a path Node encodes these.
    let path = url.split(['?', '#']).next().unwrap_or(url);
    percent_decoded(path).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// Returns the path of a map, which may be relative to its script; `None` where it is no file.
fn map_path(url: &str) -> Option<String> {
    let path = url.strip_prefix("file://").unwrap_or(url);
    if path.contains("://") { None } else { percent_decoded(path) }
}

/// Returns where a script says that its map is: the last line that does.
fn last_mark(script: &[u8]) -> Option<String> {
    let mark = MARK.as_bytes();
    let at = script.windows(mark.len()).rposition(|window| window == mark)?;
    let rest = &script[at + mark.len()..];
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    // What follows must not be code: then the text was one in a string.
    let is_last = rest[end..].iter().all(u8::is_ascii_whitespace);
    is_last.then(|| String::from_utf8(rest[..end].to_vec()).ok())?
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = if *first == b'%' { after.get(..2) } else { None };
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(script: &str, line: u32, column: u32) -> JsFrame {
        JsFrame { function: "f".into(), script: script.into(), line, column, is_start: false }
    }

    fn told(frame: &JsFrame) -> String {
        format!("{}:{}:{}", frame.script, frame.line, frame.column)
    }

    #[test]
    fn a_map_in_the_address_and_one_in_a_file_are_applied() {
        let folder = std::env::temp_dir().join(format!("loopscope-maps-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = folder.join("app.js").display().to_string();
        let map = r#"{"version":3,"sources":["app.ts"],"mappings":"AAAA;AACA"}"#;
        std::fs::write(&script, "a();\nb();\n//# sourceMappingURL=app%2Ejs.map\n").unwrap();
        std::fs::write(folder.join("app.js.map"), map).unwrap();
        let far_off = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        let places = Places::new(far_off);
        let mut maps = SourceMaps::new(&places, HashMap::new());
        let original = folder.join("app.ts").display().to_string();
        assert_eq!(told(&maps.apply(frame(&script, 2, 1))), format!("{original}:2:1"));
        assert_eq!(told(&maps.apply(frame(&script, 3, 1))), format!("{script}:3:1"), "it has no place");

        // What was changed since the process began may be another map than that of the loaded script.
        let places = Places::new(SystemTime::UNIX_EPOCH);
        let mut maps = SourceMaps::new(&places, HashMap::new());
        assert_eq!(told(&maps.apply(frame(&script, 2, 1))), format!("{script}:2:1"));

        let inline = "data:application/json;charset=utf-8;base64,eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbImIudHMiXSwibWFwcGluZ3MiOiJBQUFBIn0=";
        let urls = HashMap::from([("file:///x/b.mjs".to_owned(), inline.into())]);
        let mut maps = SourceMaps::new(&places, urls);
        assert_eq!(told(&maps.apply(frame("file:///x/b.mjs", 1, 3))), "/x/b.ts:1:1");
        assert_eq!(told(&maps.apply(frame("node:fs", 1, 3))), "node:fs:1:3");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_path_of_a_module_is_what_its_url_says_and_that_of_a_script_is_as_it_is() {
        for (script, path) in [
            ("file:///x/sp%20ace/%C3%A9.mjs", "/x/sp ace/é.mjs"),
            ("file:///x/a.mjs?update=1#part", "/x/a.mjs"),
            ("file:///x/what%3F%23.mjs", "/x/what?#.mjs"),
            ("file:///x/100%.mjs", "/x/100%.mjs"),
            ("file:///x/%FF.mjs", "/x/%FF.mjs"),
            ("/x/sp%20ace/a.cjs?", "/x/sp%20ace/a.cjs?"),
            ("node:fs", "node:fs"),
        ] {
            assert_eq!(path_of(script), path);
        }
    }

    #[test]
    fn only_the_last_line_of_a_script_names_its_map() {
        let mark = |text: &str| last_mark(text.as_bytes());
        assert_eq!(mark("a\n//# sourceMappingURL=a.map\n").as_deref(), Some("a.map"));
        assert_eq!(mark("x('//# sourceMappingURL=a.map');\nb()"), None);
        assert_eq!(mark("a"), None);
        assert_eq!(percent_decoded("a%20b%zz").as_deref(), Some("a b%zz"));
        assert_eq!(map_path("https://x/a.map"), None);
        assert_eq!(map_path("file:///x/a%20b.map").as_deref(), Some("/x/a b.map"));
    }
}
