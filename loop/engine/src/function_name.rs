//! The name that people read of a callback's function, made from the name of the callback's type.
//!
//! ```text
//! app::cache::expire                                   expire
//! app::main::{{closure}}                               main: the function that the closure stands in
//! app::Server<app::Tls>::accept::{{closure}}           Server::accept
//! <app::Server as app::Service>::call                  Server::call
//! core::pin::Pin<alloc::boxed::Box<app::serve::{{closure}}>>   serve: what a type of the standard library holds
//! app::retry<app::jobs::Upload>                        retry<Upload>
//! fn(&mut Cx), Box<dyn FnMut(..)>, (A, B), i32         nothing: the function is not known
//! ```
//!
//! A callback of this crate, behind which a future waits, has no name either: its place is the program's own.

use std::fmt::Write;

/// As long as a page has room for; longer ones lose what is between angle brackets.
const NAME_BYTES_MAX: usize = 64;

const STANDARD: [&str; 3] = ["core", "alloc", "std"];

/// Returns the name of a callback's function; `None` where the type's name does not tell it.
pub(crate) fn function_name(type_name: &str) -> Option<String> {
    let own = concat!(env!("CARGO_CRATE_NAME"), "::");
    if type_name.trim_start_matches('<').starts_with(own) {
        return None;
    }
    let segments = named_segments(type_name)?;
    let (last, before) = segments.split_last()?;
    let (name, arguments) = split_arguments(last);
    let is_type = name.starts_with(char::is_uppercase);
    if is_type && STANDARD.contains(segments.first()?) {
        return arguments.into_iter().find_map(function_name);
    }
    let owner = before.last().and_then(|owner| owner_name(owner));
    let name = owner.map_or_else(|| name.to_owned(), |owner| format!("{owner}::{name}"));
    let whole = with_arguments(&name, &arguments);
    Some(if whole.len() > NAME_BYTES_MAX { format!("{name}<..>") } else { whole })
}

/// Splits a path, and leaves out what has no name at its end, such as closures. `None` for what is not the path of something
/// in a crate.
fn named_segments(path: &str) -> Option<Vec<&str>> {
    let mut segments = split(path, "::");
    if !segments.iter().all(|segment| is_plain(segment)) {
        return None;
    }
    while segments.last()?.starts_with('{') {
        segments.pop();
    }
    // A path of one segment is a primitive type; one that ends with `<..>` an `impl` block.
    (segments.len() > 1 && !segments.last()?.starts_with('<')).then_some(segments)
}

/// Tells whether a segment is a name, and perhaps something between angle brackets.
fn is_plain(segment: &str) -> bool {
    let (mut depth, mut before) = (0_usize, ' ');
    segment.chars().all(|letter| {
        let is_name = letter.is_alphanumeric() || "_#{}".contains(letter);
        let is_plain = depth > 0 || letter == '<' || is_name;
        match letter {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = letter;
        is_plain
    })
}

/// Returns the name of the type that a function belongs to; `None` where this is a module or a function.
fn owner_name(segment: &str) -> Option<&str> {
    // `<T as Trait>` in front of a trait's function, `<impl T>` of one in an `impl` block elsewhere.
    let inside = segment.strip_prefix('<').map(|inside| inside.strip_suffix('>').unwrap_or(inside));
    let path = match inside {
        Some(inside) => split(inside.strip_prefix("impl ").unwrap_or(inside), " as ").first().copied()?,
        None => segment,
    };
    let (name, _) = split_arguments(split(path, "::").last().copied()?);
    name.starts_with(char::is_uppercase).then_some(name)
}

/// Takes `name<A, B>` apart; lifetimes are left out.
fn split_arguments(segment: &str) -> (&str, Vec<&str>) {
    let Some((name, arguments)) = segment.split_once('<') else { return (segment, Vec::new()) };
    let arguments = split(arguments.strip_suffix('>').unwrap_or(arguments), ", ");
    (name, arguments.into_iter().filter(|argument| !argument.starts_with('\'')).collect())
}

fn with_arguments(name: &str, arguments: &[&str]) -> String {
    let mut text = name.to_owned();
    for (number, argument) in arguments.iter().enumerate() {
        let argument = named_segments(argument).map_or_else(|| "_".to_owned(), |segments| short(&segments));
        // Writing to a string does not fail.
        let _ = write!(text, "{}{argument}", if number == 0 { "<" } else { ", " });
    }
    text + if arguments.is_empty() { "" } else { ">" }
}

fn short(segments: &[&str]) -> String {
    let (name, arguments) = split_arguments(segments.last().copied().unwrap_or_default());
    with_arguments(name, &arguments)
}

/// Splits a text where the separator stands outside of all brackets.
fn split<'t>(text: &'t str, separator: &str) -> Vec<&'t str> {
    let (mut parts, mut depth, mut start, mut before) = (Vec::new(), 0_usize, 0, ' ');
    for (at, letter) in text.char_indices() {
        match letter {
            '<' | '(' | '[' => depth += 1,
            // Not the end of an arrow.
            '>' if before != '-' => depth = depth.saturating_sub(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 && at >= start && text[at..].starts_with(separator) => {
                parts.push(&text[start..at]);
                start = at + separator.len();
            }
            _ => {}
        }
        before = letter;
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_what_encloses_closures_are_named() {
        for (type_name, expected) in [
            ("app::expire", "expire"),
            ("app::cache::expire", "expire"),
            ("app::main::{{closure}}", "main"),
            ("app::main::{{closure}}::{{closure}}", "main"),
            ("app::serve::{{closure}}", "serve"),
            ("app::main::inner::x::Clock::tick::{{closure}}", "Clock::tick"),
            ("app::m::Server<alloc::vec::Vec<alloc::string::String>>::accept::{{closure}}", "Server::accept"),
            ("app::m::Server<alloc::vec::Vec<u8>>::expire", "Server::expire"),
            ("<app::m::Server<u8> as app::m::Service>::call", "Server::call"),
            ("<app::m::Server<app::Tls> as app::m::Service>::call::{{closure}}", "Server::call"),
            ("app::calls::<impl app::m::Server<u8>>::accept", "Server::accept"),
            ("app::retry<core::option::Option<alloc::vec::Vec<u8>>>", "retry<Option<Vec<_>>>"),
            ("app::build<app::main::{{closure}}>::{{closure}}", "build<main>"),
            ("app::Server<u8>::generic<fn(i32) -> alloc::vec::Vec<u8>>", "Server::generic<_>"),
            ("app::HELD::{{closure}}", "HELD"),
            ("app::Pending", "Pending"),
            ("app::Pending<'_, app::Job>", "Pending<Job>"),
            ("alloc::boxed::Box<app::main::{{closure}}>", "main"),
            ("core::pin::Pin<alloc::boxed::Box<app::serve::{{closure}}>>", "serve"),
            ("core::future::poll_fn::PollFn<app::main::{{closure}}>", "main"),
            ("core::mem::drop<app::Job>", "drop<Job>"),
        ] {
            assert_eq!(function_name(type_name).as_deref(), Some(expected), "{type_name}");
        }
    }

    #[test]
    fn what_does_not_tell_its_function_has_no_name() {
        for type_name in [
            "",
            "i32",
            "fn(&'_ mut i32)",
            "for<'a, 'b> fn(&'a mut app::Cx<'b>) -> alloc::vec::Vec<u8>",
            "alloc::boxed::Box<dyn core::ops::function::FnMut(&'_ mut i32)>",
            "alloc::boxed::Box<dyn for<'a> core::ops::function::FnOnce(&'a mut i32) + core::marker::Send>",
            "alloc::rc::Rc<i32>",
            "core::future::ready::Ready<i32>",
            "(app::A, app::B)",
            "[app::A; 3]",
            "&app::expire",
            "loopscope_loop::twins::calls::<impl loopscope_loop::twins::loop_handle::LoopHandle<S>>::sleep::{{closure}}",
            "<loopscope_loop::Loop as core::ops::drop::Drop>::drop::{{closure}}",
        ] {
            assert_eq!(function_name(type_name), None, "{type_name}");
        }
    }

    #[test]
    fn a_long_name_loses_its_arguments() {
        let long = format!("app::retry<app::{}>", "Upload".repeat(12));
        assert_eq!(function_name(&long).as_deref(), Some("retry<..>"));
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in ["::", "<", ">", "<>", "a::<", "<impl", "{{closure}}", "a::é<ü::", "->", "a::b<->>", "'"]
        {
            function_name(text);
        }
    }
}
