//! Proof that circles are found however a module is named, and nothing else is.

use super::*;

const LIB: &str = "src/lib.rs";

fn findings(files: &[(&str, &str)], known: &[Known]) -> Findings {
    let read = |path: &str| {
        let file = files.iter().find(|(name, _)| *name == path);
        file.map(|(_, text)| (*text).to_owned())
    };
    check_all(&[Target { package: "sample".to_owned(), root: LIB.to_owned() }], known, &read)
}

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    findings(files, &[]).faults.iter().map(Fault::to_string).collect()
}

/// A crate of two files, `a` with the struct `A` and `b` with the struct `B`, of which `a` names `b`.
fn two(a: &str, b: &str) -> Vec<String> {
    let a = format!("use crate::b::B;\npub struct A(B);\n{a}");
    let b = format!("pub struct B;\n{b}");
    faults(&[(LIB, "mod a;\nmod b;\npub use a::A;"), ("src/a.rs", &a), ("src/b.rs", &b)])
}

#[test]
fn a_circle_of_two_files_is_told_with_both_places() {
    let told = "src/a.rs:1: circle of modules of sample: a -> b at src/a.rs:1 and 1 more -> a at src/b.rs:2";
    assert_eq!(two("", "use crate::a::A;"), [told]);
}

#[test]
fn every_way_of_naming_a_module_counts() {
    for back in [
        "use super::a::A;",
        "use super::{a::{A}};",
        "use {crate::a as other, std::fmt};",
        "use crate::A;",
        "use crate::A as Other;",
        "pub(crate) use super::a::A;",
        "fn f() { use super::a::A; }",
        "fn f(a: crate::a::A) {}",
        "fn f() { super::a::f::<u8>() }",
        "fn f() -> Vec<super::A> { Vec::new() }",
        "impl B { fn f(&self) { super::a::A::new() } }",
        "impl Clone for B { fn clone(&self) -> B { match self { super::a::C => B } } }",
        "fn f() { println!(\"{}\", crate::a::A); }",
        "fn f() { println!(\"{}\", { let x = [1, crate::A]; }); }",
        "macro_rules! m { () => { $crate::a::A }; }",
        "fn f() { crate::a::m!() }",
        "use super::*; fn f(a: A) {}",
        "use crate::*; fn f() { vec![A] }",
        "mod inner { use super::super::a::A; }",
        "#[cfg(any(test, unix))] use crate::a::A;",
        "#[cfg(not(test))] fn f() { crate::a::f() }",
    ] {
        assert_eq!(two("", back).len(), 1, "{back}");
    }
}

#[test]
fn what_names_no_sibling_does_not_count() {
    for harmless in [
        "#[cfg(test)] mod tests { use crate::a::A; }",
        "#[cfg(all(test, unix))] use crate::a::A;",
        "impl B { #[cfg(test)] fn f() { crate::a::f() } }",
        "#[cfg(test)] fn f() { crate::a::f() }",
        "// use crate::a::A;\nconst TEXT: &str = \"crate::a::A\";",
        "/// See [`crate::a::A`].\npub(in crate::a) fn f() {}",
        "use ::a::A;",
        "use std::a::A;",
        "use super::*; fn f(x: Other) -> u8 { x.a }",
        "fn f(a: u8) -> u8 { a }",
        "use super::*; fn f(a: u8) { println!(\"{}\", a) }",
        "use super::*; fn f(x: X) { println!(\"{}\", x.A) }",
        "mod inner { use super::B; }",
        "use self::B as Own;",
    ] {
        assert_eq!(two("", harmless), Vec::<String>::new(), "{harmless}");
    }
}

#[test]
fn a_name_counts_for_the_file_that_defines_it() {
    let folder = ("src/folder/mod.rs", "mod c;\npub use c::C;");
    let files = |b: &'static str| {
        [
            (LIB, "mod a;\nmod b;\nmod folder;"),
            ("src/a.rs", "use crate::b::B;\npub struct A(B);"),
            ("src/b.rs", b),
            folder,
            ("src/folder/c.rs", "pub struct C;"),
        ]
    };
    let other = ("src/folder/mod.rs", "pub use crate::a::A;");
    let through =
        files("pub struct B(crate::folder::A);").map(|file| if file.0 == other.0 { other } else { file });
    let told = faults(&through);
    let circle = "a -> b at src/a.rs:1 and 1 more -> a at src/b.rs:1";
    assert!(told.iter().any(|told| told.ends_with(circle)), "{told:?}");
    assert_eq!(faults(&files("pub struct B(crate::folder::C);")), Vec::<String>::new());
}

#[test]
fn folders_and_the_files_in_them_are_levels_of_their_own() {
    let shared =
        [(LIB, "mod x;\nmod y;"), ("src/x/mod.rs", "mod a;\nmod b;"), ("src/y.rs", "use crate::x::a::A;")];
    let with = |a, b| faults(&[&shared[..], &[("src/x/a.rs", a), ("src/x/b.rs", b)]].concat());
    assert_eq!(with("pub struct A;", "use super::a::A;"), Vec::<String>::new());
    let inside = with("pub struct A; use super::b::B;", "pub struct B; use super::a::A;");
    assert!(inside.len() == 1 && inside[0].contains("in x: a -> b"), "{inside:?}");
    let outside = with("pub struct A; use super::super::y::f;", "");
    assert!(outside.len() == 1 && outside[0].contains("sample: x -> y"), "{outside:?}");
}

#[test]
fn files_are_found_where_the_compiler_finds_them() {
    let back = "use crate::a::A;";
    let a = ("src/a.rs", "pub struct A; use crate::b::B;");
    for (lib, file) in [
        ("mod a; mod b;", "src/b/mod.rs"),
        ("mod a; #[path = \"other.rs\"] mod b;", "src/other.rs"),
        ("mod a; #[path = \"../shared/b.rs\"] mod b;", "shared/b.rs"),
        ("mod a; #[cfg(unix)] mod b; #[cfg(not(unix))] #[path = \"absent.rs\"] mod b;", "src/absent.rs"),
    ] {
        assert_eq!(faults(&[(LIB, lib), a, (file, back), ("src/b.rs", "")]).len(), 1, "{file}");
    }
    assert_eq!(faults(&[(LIB, "mod a; mod b;"), a, ("src/b_tests.rs", back)]), Vec::<String>::new());
}

#[test]
fn a_long_circle_is_told_once_and_two_are_told_apart() {
    let of = |c: &'static str| {
        [
            (LIB, "mod a; mod b; mod c; mod d;"),
            ("src/a.rs", "use crate::b::B; pub struct A;"),
            ("src/b.rs", "use crate::c::C; pub struct B;"),
            ("src/c.rs", c),
            ("src/d.rs", "use crate::c::C; pub struct D;"),
        ]
    };
    let one = faults(&of("use crate::a::A; pub struct C;"));
    let circle = "a -> b at src/a.rs:1 -> c at src/b.rs:1 -> a at src/c.rs:1";
    assert!(one.len() == 1 && one[0].ends_with(circle), "{one:?}");
    assert_eq!(faults(&of("use crate::{a::A, d::D}; pub struct C;")).len(), 2);
}

#[test]
fn a_circle_through_a_folders_own_file_is_told_apart_and_is_no_fault() {
    let files = |lib: &'static str| [(LIB, lib), ("src/a.rs", "use crate::Own; pub struct A;")];
    let logic = findings(&files("mod a;\npub struct Own(a::A);"), &[]);
    assert_eq!((logic.faults.len(), logic.through_own_files.len()), (0, 1));
    let reexport = findings(&files("mod a;\npub use a::A;\npub struct Own;"), &[]);
    assert_eq!((reexport.faults.len(), reexport.through_own_files.len()), (0, 0));
}

#[test]
fn a_known_circle_is_excused_and_an_entry_without_one_is_stale() {
    let circle = [
        (LIB, "mod a; mod b;"),
        ("src/a.rs", "use crate::b::B; pub struct A;"),
        ("src/b.rs", "use crate::a::A; pub struct B;"),
    ];
    let known = |from, to| Known { root: LIB, folder: "", from, to };
    assert_eq!(findings(&circle, &[known("a", "b")]).faults, []);
    assert_eq!(findings(&circle, &[known("a", "c")]).faults.len(), 2, "the circle, and the entry");
    let both = findings(&circle, &[known("a", "b"), known("b", "a")]);
    assert_eq!(both.faults.len(), 2, "either alone would do, so neither is needed");
    let line = [circle[0], circle[1], ("src/b.rs", "pub struct B;")];
    assert_eq!(findings(&line, &[known("a", "b")]).faults.len(), 1);
    let elsewhere = Known { root: "src/main.rs", ..known("a", "b") };
    assert_eq!(findings(&line, &[elsewhere]).faults.len(), 1, "there is no such target");
}

#[test]
fn a_file_that_is_not_rust_is_named() {
    assert!(faults(&[(LIB, "mod a;"), ("src/a.rs", "\nfn {")])[0].starts_with("src/a.rs:2: "));
}
