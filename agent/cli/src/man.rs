//! `loopscope man`: the manual pages, from the definition that `--help` is made of.
//!
//! The text around the options in `--help` has blocks, with an empty line between two: sentences, then examples, exit
//! codes, the environment. Each kind of block becomes a section of the page. In a block, an indented line is a term;
//! its explanation follows after two spaces or more, or on lines with a deeper indent.

use crate::args::{Arguments, ManArguments};
use crate::error::Failure;
use crate::output::{Destination, print_bytes};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::Path;

/// A manual page: its name, such as `loopscope-ls`, and its source for `man`.
struct Page {
    name: String,
    source: Vec<u8>,
}

/// Prints a page, or writes all of them to a directory.
///
/// # Errors
/// There is no such subcommand, or stdout or a file cannot be written.
pub fn run(options: &ManArguments) -> Result<(), Failure> {
    let pages = pages().map_err(|error| Failure::system("make the manual pages", error))?;
    if let Some(directory) = &options.output {
        return write_all(directory, &pages);
    }
    let wanted = match &options.subcommand {
        Some(subcommand) => format!("loopscope-{subcommand}"),
        None => "loopscope".to_owned(),
    };
    match pages.iter().find(|page| page.name == wanted) {
        Some(page) => print_bytes(&page.source),
        None => Err(Failure::Usage(format!(
            "there is no manual page {wanted}; `loopscope --help` lists the subcommands"
        ))),
    }
}

fn write_all(directory: &Path, pages: &[Page]) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| Failure::Output { path: directory.to_owned(), error })?;
    pages.iter().try_for_each(|page| {
        Destination::open(&directory.join(format!("{}.1", page.name)))?.write(&page.source)
    })
}

/// Makes the pages; the first is that of the whole command.
fn pages() -> io::Result<Vec<Page>> {
    let mut whole = Arguments::command().disable_help_subcommand(true);
    // Hands global options down to the subcommands.
    whole.build();
    std::iter::once(&whole).chain(whole.get_subcommands()).map(page).collect()
}

fn page(command: &Command) -> io::Result<Page> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let release = concat!("loopscope ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(release).manual("loopscope");
    let text =
        |styled: Option<&clap::builder::StyledStr>| styled.map(ToString::to_string).unwrap_or_default();
    let about = text(command.get_long_about().or(command.get_about()));
    let help = format!("{about}\n\n{}", text(command.get_after_help()));
    let sections = sections(&help);
    let mut source = Vec::new();
    man.render_title(&mut source)?;
    man.render_name_section(&mut source)?;
    man.render_synopsis_section(&mut source)?;
    let mut written = sections.iter();
    // The description comes before the options, all else after them.
    source.extend(written.next().map(Section::source).unwrap_or_default().into_bytes());
    man.render_options_section(&mut source)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut source)?;
    }
    for section in written {
        source.extend(section.source().into_bytes());
    }
    if command.has_subcommands() {
        man.render_version_section(&mut source)?;
    } else {
        source.extend(b".SH \"SEE ALSO\"\nloopscope(1)\n");
    }
    Ok(Page { name, source })
}

/// A section of a page.
#[derive(Debug, PartialEq, Eq)]
struct Section<'a> {
    title: &'static str,
    lines: Vec<&'a str>,
}

/// Splits the text that `--help` has around the options into sections.
fn sections(help: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section { title: "DESCRIPTION", lines: Vec::new() }];
    for block in help.split("\n\n") {
        let first = block.lines().next().unwrap_or_default();
        let (title, skipped) = match first {
            "Examples:" => ("EXAMPLES", 1),
            "Exit codes:" => ("EXIT STATUS", 1),
            first if first.starts_with("Environment of") => ("ENVIRONMENT", 0),
            _ => ("DESCRIPTION", 0),
        };
        let lines = block.lines().skip(skipped);
        match sections.iter_mut().find(|section| section.title == title) {
            Some(section) => section.lines.extend(lines),
            None => sections.push(Section { title, lines: lines.collect() }),
        }
    }
    sections
}

impl Section<'_> {
    fn source(&self) -> String {
        let mut source = format!(".SH \"{}\"\n", self.title);
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            let words = line.trim_start();
            source += &match line.len() - words.len() {
                0 => format!(".PP\n{}\n", escaped(words)),
                1..=2 => {
                    let (term, text) = words.split_once("  ").unwrap_or((words, ""));
                    let text = text.trim_start();
                    let text = if text.is_empty() { String::new() } else { format!("{}\n", escaped(text)) };
                    format!(".TP\n\\fB{}\\fR\n{text}", escaped(term))
                }
                _ => format!("{}\n", escaped(words)),
            };
        }
        source
    }
}

/// Escapes what `man` would read as a command.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    // A dot is a command only at the start of a line.
    if text.starts_with('.') {
        escaped.push_str("\\&");
    }
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\(rs"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_sections_with_terms_and_what_explains_them() {
        let help = "Does it.\n\nShows all.\n  cpu   samples\nMore.\n\nExamples:\n  loopscope x -o 'a'\n\nExit codes:\n  0  done\n\n\
            Environment of a program:\n  A=1\n      sets a";
        let source: String = sections(help).iter().map(Section::source).collect();
        let expected = ".SH \"DESCRIPTION\"\n.PP\nDoes it.\n.PP\nShows all.\n.TP\n\\fBcpu\\fR\nsamples\n.PP\nMore.\n\
            .SH \"EXAMPLES\"\n.TP\n\\fBloopscope x \\-o \\(aqa\\(aq\\fR\n\
            .SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\ndone\n\
            .SH \"ENVIRONMENT\"\n.PP\nEnvironment of a program:\n.TP\n\\fBA=1\\fR\nsets a\n";
        assert_eq!(source, expected);
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let names: Vec<String> = pages().unwrap().into_iter().map(|page| page.name).collect();
        assert_eq!(names[0], "loopscope");
        for subcommand in ["ls", "flame", "completions", "man"] {
            assert!(names.contains(&format!("loopscope-{subcommand}")), "{names:?}");
        }
        assert!(!names.contains(&"loopscope-help".to_owned()), "{names:?}");
    }
}
