//! Names of functions as a display has room for them that shows one thing a line: a log, `top`, a list of incidents.
//!
//! Names that compilers make of generic code are longer than any line. What tells most of them is where they come from,
//! the crate or the first namespace, and what they are called, so these are what stays:
//!
//! ```text
//!   app::db::Pool<app::db::Tls, 8>::checkout                            app::db::Pool<…>::checkout
//!   <app::server::pool::Connection<S> as app::Service<R>>::call         app::…::Connection<…>::call
//!   core::ops::function::FnOnce::call_once<app::main::{{closure}}, ()>  core::…::FnOnce::call_once<…>
//!   app::reports::monthly::invoices::totals::{{closure}}                app::…::totals::{{closure}}
//!   void std::sort<Iterator, Compare>(Iterator, Iterator, Compare)      void std::sort<…>(…)
//! ```
//!
//! Names that are short enough stay as they are. Data for programs (JSON, metrics, profiles) has the whole names.

use crate::words::without_directories;

/// Letters of a name that is shown whole: two of them, the places in the source and what happened are a line of 160 letters.
const NAME_MAX: usize = 32;

/// Letters of a name that say something in a row that has room for no more.
const NAME_MIN: usize = 8;

/// Stands for what is left out.
const LEFT_OUT: char = '…';

/// Signs that names of C++ operators are made of.
const OPERATOR_SIGNS: &str = "<>=!+-*/%^&|~,()[]";

/// Returns a text about functions for one line: long names are shortened, and places lose their directories.
pub fn one_line(text: &str) -> String {
    without_directories(&short_names(text))
}

/// Shortens the long names of functions in a text; all else, such as places, routes and figures, stays.
pub fn short_names(text: &str) -> String {
    let (mut shown, mut rest, mut is_in_path) = (String::new(), text, false);
    while let Some(letter) = rest.chars().next() {
        let end = if is_in_path { 0 } else { name_end(rest) };
        let (taken, after) = rest.split_at(if end > 0 { end } else { letter.len_utf8() });
        // The path of a file, or of a route, is none of a function.
        match end > 0 && !after.starts_with(['/', '.']) {
            true => shown += &short_name(taken),
            false => shown.push_str(taken),
        }
        is_in_path = end == 0 && !" (".contains(letter) && (is_in_path || "/.".contains(letter));
        rest = after;
    }
    shown
}

/// Returns where the name ends that a text begins with; 0 where it does not begin with one.
fn name_end(text: &str) -> usize {
    let mut end = 0;
    loop {
        let rest = &text[end..];
        let more = match rest.chars().next() {
            Some('<' | '{' | '[') => group_end(rest),
            // A place stands in brackets, too, but not right behind a name.
            Some('(') if end > 0 || rest.starts_with("(anonymous namespace)::") => group_end(rest),
            Some(':') if rest.starts_with("::") => 2,
            Some(letter) if is_of_name(letter) => identifier_end(rest),
            _ => 0,
        };
        if more == 0 {
            return end;
        }
        end += more;
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || "_#$~@".contains(letter)
}

/// Returns where an identifier ends; that of a C++ operator has signs in it.
fn identifier_end(text: &str) -> usize {
    let end = text.find(|letter| !is_of_name(letter)).unwrap_or(text.len());
    if &text[..end] != "operator" {
        return end;
    }
    let signs = &text[end..];
    match ["()", "[]"].iter().any(|call| signs.starts_with(call)) {
        true => end + 2,
        // Not the bracket of its arguments.
        false => {
            end + signs.find(|sign| sign == '(' || !OPERATOR_SIGNS.contains(sign)).unwrap_or(signs.len())
        }
    }
}

/// Brackets within brackets that are looked into: real names have some ten.
const DEPTH_MAX: usize = 64;

/// Returns where the brackets end that a text begins with; 0 where they do not, or others end before them, as in text that is no
/// name.
fn group_end(text: &str) -> usize {
    let (mut ends, mut before) = (Vec::new(), ' ');
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => ends.push('>'),
            '(' => ends.push(')'),
            '[' => ends.push(']'),
            '{' => ends.push('}'),
            // Not the end of an arrow.
            '>' if before == '-' => {}
            '>' | ')' | ']' | '}' if ends.pop() != Some(letter) => return 0,
            _ => {}
        }
        match ends.len() {
            0 => return at + letter.len_utf8(),
            DEPTH_MAX.. => return 0,
            _ => before = letter,
        }
    }
    0
}

/// Shortens one name until it fits: arguments first, then the modules in the middle, then what it belongs to, then its own
/// middle.
fn short_name(name: &str) -> String {
    let fits = |name: &String| name.chars().count() <= NAME_MAX;
    let whole = name.to_owned();
    if fits(&whole) {
        return whole;
    }
    let segments: Vec<String> = segments(name).into_iter().map(without_arguments).collect();
    // Closures and operators say little without what they are in.
    let is_named = |segment: &String| !segment.starts_with(['{', '<']) && !segment.starts_with("operator");
    let last = segments.iter().rposition(is_named).unwrap_or(0);
    let owner = last.checked_sub(1).filter(|owner| *owner > 0);
    let from = |kept: usize| match kept {
        0 | 1 => segments.join("::"),
        kept => format!("{}::{LEFT_OUT}::{}", segments[0], segments[kept..].join("::")),
    };
    let shorter = [from(0)].into_iter().chain(owner.map(from)).chain([from(last)]);
    let shortest = from(last);
    // Of a name that nobody could demangle there is no shorter form.
    shorter.into_iter().find(fits).unwrap_or_else(|| without_middle(&shortest, NAME_MAX))
}

/// Splits a name at its `::` outside of all brackets. An implementation, `<T as Trait>::f`, has the path of `T`.
fn segments(name: &str) -> Vec<&str> {
    let (mut segments, mut start, mut at) = (Vec::new(), 0, 0);
    while at < name.len() {
        let rest = &name[at..];
        if rest.starts_with("::") {
            segments.push(&name[start..at]);
            (start, at) = (at + 2, at + 2);
            continue;
        }
        let letter = rest.chars().next().map_or(1, char::len_utf8);
        at += match rest.starts_with(['<', '(', '[', '{']) {
            true => group_end(rest).max(letter),
            false => identifier_end(rest).max(letter),
        };
    }
    segments.push(&name[start..]);
    match segments.first().and_then(|first| implementation(first)) {
        Some(of) => [self::segments(of), segments[1..].to_vec()].concat(),
        None => segments,
    }
}

/// Returns the type of `<T as Trait>` and of `<T>`; `None` of anything else.
fn implementation(segment: &str) -> Option<&str> {
    let inner =
        segment.strip_prefix('<').filter(|_| group_end(segment) == segment.len())?.strip_suffix('>')?;
    let mut at = 0;
    while at < inner.len() {
        let rest = &inner[at..];
        if rest.starts_with(" as ") {
            return Some(&inner[..at]);
        }
        let letter = rest.chars().next().map_or(1, char::len_utf8);
        at += if rest.starts_with(['<', '(', '[', '{']) { group_end(rest).max(letter) } else { letter };
    }
    (!inner.is_empty()).then_some(inner)
}

/// Returns a segment with `<…>` for its parameters and `(…)` for its arguments.
fn without_arguments(segment: &str) -> String {
    let name_end = match segment.chars().next() {
        Some('{' | '(' | '[' | '<') => group_end(segment),
        _ => identifier_end(segment.trim_start_matches(['&', '*'])),
    };
    let (mut shown, mut rest) = (segment[..name_end].to_owned(), &segment[name_end..]);
    while let Some(letter) = rest.chars().next() {
        let end = if "<([".contains(letter) { group_end(rest) } else { 0 };
        match end {
            0 => shown.push(letter),
            _ if end > 2 => {
                shown.extend([letter, LEFT_OUT].into_iter().chain(rest[..end].chars().next_back()))
            }
            _ => shown += &rest[..end],
        }
        rest = &rest[end.max(letter.len_utf8())..];
    }
    shown
}

/// Returns a text of at most `most` letters: of one that has more, the middle is left out.
pub fn without_middle(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let (front, back) = (most / 2, most.saturating_sub(most / 2 + 1));
    letters[..front].iter().chain([&LEFT_OUT]).chain(&letters[letters.len() - back..]).take(most).collect()
}

/// Returns `name (place)` in at most `most` letters: the name loses its middle, and the place stays, as long as that leaves some
/// letters of the name. Other texts lose their end.
pub fn keeping_place(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let (name, place) = text.split_at(text.rfind(" (").filter(|_| text.ends_with(')')).unwrap_or(text.len()));
    match most.saturating_sub(place.chars().count()) {
        room if !place.is_empty() && room >= NAME_MIN => without_middle(name, room) + place,
        _ => text.chars().take(most.saturating_sub(1)).chain([LEFT_OUT]).take(most).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_shorter_and_its_place_stays() {
        let text = "timer expire_session (trouble.rs:124)";
        for (most, expected) in [
            (37, text),
            (36, "timer exp…e_session (trouble.rs:124)"),
            (30, "timer …ession (trouble.rs:124)"),
            (25, "time…ion (trouble.rs:124)"),
            (24, "timer expire_session (t…"),
            (0, ""),
        ] {
            let found = keeping_place(text, most);
            assert!(found.chars().count() <= most, "{found}");
            assert_eq!(found, expected);
        }
        assert_eq!(keeping_place("4 of 4 threads busy", 9), "4 of 4 t…");
    }

    /// Names as they were seen on stacks of programs in Rust, C++ and C.
    const REAL: [(&str, &str); 16] = [
        ("app::db::Pool<app::db::Tls, 8>::checkout", "app::db::Pool<…>::checkout"),
        ("<app::server::pool::Connection<S> as app::Service<R>>::call", "app::…::Connection<…>::call"),
        (
            "core::ops::function::FnOnce::call_once<app::main::{{closure}}, ()>",
            "core::…::FnOnce::call_once<…>",
        ),
        ("app::reports::monthly::invoices::totals::{{closure}}", "app::…::totals::{{closure}}"),
        (
            "<tower_http::trace::service::Trace<S,M,MakeSpan,OnRequest> as tower_service::Service<http::request::Request<ReqBody>>>::call",
            "tower_http::…::Trace<…>::call",
        ),
        (
            "serde_json::value::de::<impl serde_core::de::Deserialize for serde_json::value::Value>::deserialize",
            "serde_json::…::deserialize",
        ),
        (
            "<alloc::vec::Vec<T> as alloc::vec::spec_from_iter::SpecFromIter<T,I>>::from_iter",
            "alloc::vec::Vec<…>::from_iter",
        ),
        (
            "regex_automata::meta::strategy::Pre<regex_automata::util::prefilter::aho_corasick::AhoCorasick>::new",
            "regex_automata::…::Pre<…>::new",
        ),
        (
            "std::__1::vector<std::pair<int, std::string>, std::allocator<std::pair<int, std::string>>>::push_back(std::pair<int, std::string>&&)",
            "std::…::vector<…>::push_back(…)",
        ),
        (
            "void std::__introsort_loop<__gnu_cxx::__normal_iterator<int*, std::vector<int>>, long>(int*, int*)",
            "void std::__introsort_loop<…>(…)",
        ),
        (
            "boost::asio::detail::executor_op<boost::asio::detail::binder0<Handler>, std::allocator<void>>::do_complete(void*, boost::system::error_code const&, unsigned long)",
            "boost::…::do_complete(…)",
        ),
        (
            "(anonymous namespace)::ThreadPoolOfTheServer::Run(std::function<void ()> const&)",
            "(anonymous namespace)::…::Run(…)",
        ),
        (
            "std::ostream& std::operator<< <std::char_traits<char> >(std::ostream&, char const*)",
            "std::ostream& std::operator<< <std::char_traits<char> >(…)",
        ),
        (
            "node::crypto::Handle::operator()(v8::FunctionCallbackInfo<v8::Value> const&) const",
            "node::…::Handle::operator()(…) const",
        ),
        ("_RNvXs5_NtNtCs9ltgdHTiPiY_4core3fmt3numyNtB7_7Display3fmt", "_RNvXs5_NtNtCs9l…B7_7Display3fmt"),
        ("ssl_cipher_list_to_bytes_of_the_handshake", "ssl_cipher_list_…f_the_handshake"),
    ];

    #[test]
    fn long_names_keep_where_they_are_from_and_what_they_are_called() {
        for (name, expected) in REAL {
            assert_eq!(short_names(name), expected, "{name}");
        }
    }

    #[test]
    fn names_are_shortened_within_a_sentence_and_nothing_else_is() {
        let name = "app::reports::monthly::Invoices<app::db::Postgres>::totals";
        let text = format!(
            "388 x timer {name} (agent/cli/src/a_very_long_folder_of_the_program/x.rs:40), then read"
        );
        let short = text.replace(name, "app::…::Invoices<…>::totals");
        assert_eq!(short_names(&text), short);
        assert_eq!(one_line(&text), "388 x timer app::…::Invoices<…>::totals (x.rs:40), then read");
        for text in [
            "",
            "app::flush",
            "app::db::Pool<Tls>::checkout",
            "timer flush (src/x.rs:40)",
            "poll GET /api/v1/customers/:customer/invoices/:invoice/lines (src/routes.rs:12)",
            "487,213 callbacks, the 16,254 observed of 500 ns each: about 487,213 x tick at src/x.rs:3",
            "read(fd 3 -> pipe:[81]) called by sum_amounts (src/x.rs:61) [4711-3]",
            "script file:///srv/app/node_modules/express/lib/router/index.js:47",
            "Object.handleOneOfTheRequestsOfTheServer",
            "timer [2J (src/x.rs:71), waiting in read(fd 3 -> /tmp/x]0;fake line)",
        ] {
            assert_eq!(short_names(text), text);
        }
    }

    #[test]
    fn a_text_without_its_middle_is_as_long_as_was_asked_for() {
        for (most, expected) in
            [(9, "some text"), (8, "some…ext"), (5, "so…xt"), (2, "s…"), (1, "…"), (0, "")]
        {
            assert_eq!(without_middle("some text", most), expected);
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let long = "x".repeat(40);
        for part in [
            "::",
            "<",
            ">",
            "<>",
            "<<",
            "operator",
            "operator<",
            "{{",
            "é<ü::",
            "->",
            "(",
            ")",
            "<impl",
            "::<",
            "&",
        ] {
            for text in
                [format!("{part}{long}"), format!("{long}{part}"), format!("{long}::{part}{part}::{long}")]
            {
                short_names(&text);
            }
        }
        assert!(short_names(&long).chars().count() <= NAME_MAX);
        let deep = format!("app::{}{}::call", "<a::".repeat(10_000), ">".repeat(10_000));
        assert!(short_names(&deep).ends_with("::call"), "{}", &short_names(&deep)[..80]);
    }
}
