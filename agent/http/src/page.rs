//! The live page: the files of the folder `page`, compiled in, so that it needs nothing from anywhere.

use crate::answer::Answer;
use crate::negotiate::weight_of;
use hyper::HeaderMap;

/// Where the page is for whoever asks by name. At `/`, those who want HTML get it, and others text.
pub const PAGE: &str = "/live";

/// What requests for its files are counted as.
pub const FILES: &str = "/page/FILE";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const DRAWING: &str = "image/svg+xml";
const HTML: &str = "text/html; charset=utf-8";

/// The title in the file.
const TITLE: &str = "<title>loopscope</title>";

macro_rules! files {
    // An array of (name, media type, bytes) of files in the folder `page`.
    ($($name:literal $media:ident,)*) => {
        &[$(($name, $media, include_bytes!(concat!("../page/", $name))),)*]
    };
}

/// Name below `/page/`, media type, bytes.
const ALL: &[(&str, &str, &[u8])] = files! {
    "page.css" STYLE,
    "uPlot.min.css" STYLE,
    "uPlot.min.js" SCRIPT,
    "main.js" SCRIPT,
    "feed.js" SCRIPT,
    "request.js" SCRIPT,
    "history.js" SCRIPT,
    "headline.js" SCRIPT,
    "loops.js" SCRIPT,
    "detail.js" SCRIPT,
    "charts.js" SCRIPT,
    "incidents.js" SCRIPT,
    "stack.js" SCRIPT,
    "timeline.js" SCRIPT,
    "capture.js" SCRIPT,
    "theme.js" SCRIPT,
    "format.js" SCRIPT,
    "element.js" SCRIPT,
    "icon.svg" DRAWING,
    "icon-trouble.svg" DRAWING,
};

/// Tells whether a client wants HTML: browsers say so, and `curl` takes anything.
pub fn wants_html(headers: &HeaderMap) -> bool {
    let html = weight_of(headers, "text/html");
    html > 0 && html >= weight_of(headers, "text/plain")
}

/// Returns the page, of this process or server.
pub fn page(title: &str) -> Answer {
    let escaped = title.replace('&', "&amp;").replace('<', "&lt;");
    let html = include_str!("../page/page.html").replacen(
        TITLE,
        &format!("<title>{escaped} · loopscope</title>"),
        1,
    );
    Answer::page(HTML, html.as_bytes())
}

/// Tells whether a path is below the folder of the page's files.
pub fn is_file(path: &str) -> bool {
    path.starts_with("/page/")
}

/// Answers with the file at a path.
pub fn file(path: &str) -> Answer {
    let name = path.strip_prefix("/page/");
    match ALL.iter().find(|(known, ..)| Some(*known) == name) {
        Some((_, media, bytes)) => Answer::page(media, bytes),
        None => Answer::text(404, "no such file\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::ACCEPT;

    /// The whole page, in bytes.
    const SIZE_MAX: usize = 300_000;

    #[test]
    fn the_page_is_small_and_every_file_it_names_is_there() {
        let html = String::from_utf8(page("a<b> · pid 7").body().to_vec()).unwrap();
        assert!(html.contains("<title>a&lt;b> · pid 7 · loopscope</title>"), "{html}");
        let names = html.split('"').filter_map(|part| part.strip_prefix("page/"));
        let missing: Vec<_> = names.filter(|name| file(&format!("/page/{name}")).status != 200).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let size = html.len() + ALL.iter().map(|(.., bytes)| bytes.len()).sum::<usize>();
        assert!(size < SIZE_MAX, "{size}");
        for bad in ["/page/", "/page/../page.html", "/page/page.html", "/page/x", "/pages"] {
            assert_eq!(file(bad).status, 404, "{bad}");
        }
    }

    /// Reads a class of characters as JavaScript writes it: `\u00ad`, `\u{e0000}`, and ranges of these.
    fn class(text: &str) -> Vec<std::ops::RangeInclusive<u32>> {
        let (mut ranges, mut rest) = (Vec::new(), text);
        let next = |rest: &mut &str| {
            let escape = rest.strip_prefix("\\u").unwrap();
            let (digits, after) = match escape.strip_prefix('{') {
                Some(long) => long.split_once('}').unwrap(),
                None => escape.split_at(4),
            };
            *rest = after;
            u32::from_str_radix(digits, 16).unwrap()
        };
        while !rest.is_empty() {
            let first = next(&mut rest);
            let is_range = rest.strip_prefix('-').inspect(|after| rest = after).is_some();
            ranges.push(first..=if is_range { next(&mut rest) } else { first });
        }
        ranges
    }

    #[test]
    fn the_page_hides_what_everybody_hides() {
        let (_, _, script) = ALL.iter().find(|(name, ..)| *name == "request.js").unwrap();
        let script = std::str::from_utf8(script).unwrap();
        let (hidden, _) = script.split_once("  /[").unwrap().1.split_once("]/gu").unwrap();
        let hidden = class(hidden);
        for c in '\0'..=char::MAX {
            let is_hidden = hidden.iter().any(|range| range.contains(&u32::from(c)));
            assert_eq!(is_hidden, loopscope_probe::raw::printable::is_hidden(c), "{c:?}");
        }
    }

    #[test]
    fn modules_import_only_what_is_there() {
        for (name, _, bytes) in ALL.iter().filter(|(_, media, _)| *media == SCRIPT) {
            let text = std::str::from_utf8(bytes).unwrap();
            let imports = text.lines().filter_map(|line| line.split_once(" from \"./")?.1.split_once('"'));
            for (import, _) in imports {
                assert_eq!(file(&format!("/page/{import}")).status, 200, "{name} imports {import}");
            }
        }
    }

    #[test]
    fn browsers_get_html_and_others_text() {
        let wants = |accept: &str| wants_html(&[(ACCEPT, accept.parse().unwrap())].into_iter().collect());
        assert!(wants("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        for other in ["*/*", "text/plain", "text/html;q=0", "text/plain, text/html;q=0.5", "application/json"]
        {
            assert!(!wants(other), "{other}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }
}
