//! The rules of the house, each a test: what a reviewer would otherwise have to say again and again.
//!
//! Every rule looks at the files that git tracks and names the place and the remedy. Every rule is also shown, beside its
//! code, a bad sample that it must find and a good one that it must not.

#[path = "tidy/circles/mod.rs"]
mod circles;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/promises.rs"]
mod promises;
#[path = "tidy/scanner.rs"]
mod scanner;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/tracked.rs"]
mod tracked;
#[path = "tidy/weight.rs"]
mod weight;
#[path = "tidy/words.rs"]
mod words;

use tracked::{assert_clean, files, paths, root};

const CATALOG: &str = "agent/report/src/metrics/catalog.rs";

#[test]
fn every_source_begins_with_a_sentence_about_itself() {
    assert_clean(sources::first_line(&files(&[".rs"])));
}

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    assert_clean(sources::file_length(&files(&[".rs"])));
}

#[test]
fn no_function_is_longer_than_sixty_lines() {
    assert_clean(sources::function_length(&files(&[".rs"])));
}

#[test]
fn files_are_named_after_an_idea() {
    assert_clean(sources::names(&files(&[".rs"])));
}

#[test]
fn unsafe_is_only_in_the_listed_files() {
    assert_clean(sources::unsafe_code(&files(&[".rs"])));
}

#[test]
fn no_exception_is_listed_in_vain() {
    assert_clean(sources::stale_entries(&files(&[".rs"])));
}

#[test]
fn features_are_not_chosen_inside_functions() {
    assert_clean(sources::features_in_functions(&files(&[".rs"])));
}

#[test]
fn only_clocks_ask_for_the_time_and_nobody_sleeps() {
    assert_clean(sources::time(&files(&[".rs"])));
}

#[test]
fn nothing_is_put_off_in_a_comment() {
    assert_clean(sources::put_off(&files(&[".rs"])));
    assert_clean(documents::put_off(&files(&[".md", ".toml", ".sh", ".yml", ".yaml"])));
}

#[test]
fn no_string_has_a_runtime_s_word() {
    assert_clean(words::of_runtimes(&files(&[".rs", ".js", ".html", ".md"])));
}

#[test]
fn what_programs_rely_on_can_grow() {
    assert_clean(promises::growth(&files(&[".rs"])));
}

#[test]
fn every_error_of_a_library_hands_on_its_source() {
    assert_clean(promises::errors(&files(&[".rs"])));
}

#[test]
fn libraries_print_nothing() {
    assert_clean(promises::prints(&files(&[".rs"])));
}

#[test]
fn no_test_is_ignored() {
    assert_clean(sources::ignored_tests(&files(&[".rs"])));
}

#[test]
fn no_library_touches_the_panic_hook() {
    assert_clean(sources::panic_hooks(&files(&[".rs"])));
}

#[test]
fn unwrap_is_only_in_tests_and_examples() {
    assert_clean(sources::unwraps(&files(&[".rs"])));
}

#[test]
fn the_report_has_no_clock_thread_file_or_socket() {
    assert_clean(sources::pure_report(&files(&[".rs"])));
    assert_clean(manifests::pure_report(&manifests::packages()));
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    assert_clean(manifests::edges(&manifests::packages()));
}

#[test]
fn no_modules_of_a_folder_name_each_other_in_a_circle() {
    let found = circles::check_all(&manifests::targets(), circles::KNOWN, &circles::read);
    for circle in found.through_own_files {
        println!("no fault, but to be seen: {circle}");
    }
    assert_clean(found.faults);
}

#[test]
fn every_dependency_says_why_it_is_there() {
    assert_clean(manifests::reasons(&files(&["Cargo.toml"])));
}

#[test]
fn a_published_crate_brings_what_registries_and_readers_want() {
    let stability = files(&["docs/stability.md"]).pop().expect("the page is there");
    assert_clean(manifests::published(&stability));
}

#[test]
fn a_host_program_compiles_few_crates_for_us() {
    assert_clean(weight::crates());
}

#[test]
fn every_relative_link_leads_somewhere() {
    assert_clean(documents::links(&files(&[".md"]), &paths()));
}

#[test]
fn every_example_for_prometheus_asks_for_native_histograms() {
    assert_clean(documents::native_histograms(&files(&[".md", ".yml", ".yaml"])));
}

#[test]
fn every_metric_named_anywhere_is_in_the_catalog() {
    let catalog = std::fs::read_to_string(root().join(CATALOG)).expect("the catalogue is where CATALOG says");
    let names_metrics = |path: &str| {
        // The samples of this program itself hold names that must not exist.
        !path.starts_with("tests/tidy")
            && (path.ends_with(".md")
                || ["dashboards/", "deploy/", "docs/", "examples/", "tests/"]
                    .iter()
                    .any(|folder| path.starts_with(folder)))
    };
    let mut named = files(&[".md", ".rs", ".json", ".yml", ".yaml", ".txt"]);
    named.retain(|file| names_metrics(&file.path));
    assert_clean(documents::metrics(&named, &catalog));
}

#[test]
fn no_tracked_file_is_too_big() {
    let size = |path: String| {
        let bytes = std::fs::metadata(root().join(&path)).map_or(0, |facts| facts.len());
        (path, bytes)
    };
    assert_clean(documents::blob_size(&paths().into_iter().map(size).collect::<Vec<_>>()));
}
