//! The manual pages: two are compared with the checked-in files, and `man` formats all of them without a warning.

use crate::scratch::{Scratch, assert_expected};
use std::process::{Command, Stdio};

#[test]
fn two_pages_are_as_checked_in() {
    let scratch = Scratch::new("pages");
    for (arguments, file) in [(&["man"][..], "loopscope.1"), (&["man", "flame"], "loopscope-flame.1")] {
        let done = scratch.run(arguments);
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert_expected(file, &done.stdout);
    }
}

#[test]
fn every_page_is_written_and_formatted_without_a_warning() {
    let scratch = Scratch::new("manual");
    let done = scratch.run(&["man", "-o", "man1"]);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (Some(0), "", ""));
    let directory = scratch.work().join("man1");
    let mut pages: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let names: Vec<_> = pages.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert!(names.contains(&"loopscope.1") && names.contains(&"loopscope-flame.1"), "{names:?}");
    for page in &pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l"]).arg(page).env("MANWIDTH", "100").stdin(Stdio::null());
        let Ok(output) = man.output() else {
            return println!("skipped: manual pages as they are shown: install the package man-db");
        };
        assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", page.display());
        let shown = String::from_utf8_lossy(&output.stdout);
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"] {
            assert!(shown.contains(section), "{} has no {section}: {shown}", page.display());
        }
    }
}
