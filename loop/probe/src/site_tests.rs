//! Tests of the site table: numbers, names, bounds.

use super::*;

fn table() -> Box<SiteTable> {
    let words = || SharedU64::default();
    Box::new(SiteTable {
        length: words(),
        overflow: words(),
        entries: std::array::from_fn(|_| SiteWords::default()),
    })
}

#[test]
fn one_place_has_one_number_per_kind() {
    let (table, pen) = (table(), WriteToken::mint());
    let mut index = SiteIndex::new(&pen, &table);
    let here = Location::caller();
    let timer = index.at(&pen, &table, here, Kind::Timer);
    assert_eq!(index.at(&pen, &table, here, Kind::Timer), timer);
    assert_ne!(index.at(&pen, &table, here, Kind::Immediate), timer);
    assert_eq!(index.intern(&pen, &table, site_at(here, Kind::Timer, "")), timer);
    let site = table.read_one(timer).unwrap();
    assert_eq!((site.kind, site.line, site.column), (Kind::Timer, here.line(), here.column()));
    assert!(site.file.ends_with("site_tests.rs"));
}

#[test]
fn functions_at_one_place_are_told_apart_by_address_and_put_together_by_name() {
    let (table, pen) = (table(), WriteToken::mint());
    let mut index = SiteIndex::new(&pen, &table);
    let here = Location::caller();
    let mut find = |function: &'static str, name: &str| {
        let address = SiteAddress::of_function(here, function, Kind::Timer);
        index.addressed(&pen, &table, address, || site_at(here, Kind::Timer, name))
    };
    let expire = find("app::expire", "expire");
    assert_eq!(find("app::expire", "is not asked again"), expire);
    let evict = find("app::evict", "evict");
    assert_ne!(evict, expire);
    assert_eq!(find("a copy of app::evict", "evict"), evict);
    let unnamed = find("", "");
    assert!(![expire, evict].contains(&unnamed));
    assert_eq!(table.read_one(expire).unwrap().name, "expire");
}

// Not under Miri, which checks all twelve thousand words of the table again at each of five hundred calls.
#[cfg(not(miri))]
#[test]
fn a_full_table_shares_its_last_entry_and_counts() {
    let (table, pen) = (table(), WriteToken::mint());
    let mut index = SiteIndex::new(&pen, &table);
    for line in 0..SITES as u32 + 10 {
        index.intern(&pen, &table, Site { line, file: "a.rs".to_owned(), ..unknown_site() });
    }
    assert_eq!(table.overflow(), 12);
    let sites = table.read();
    assert_eq!((sites.len(), sites[0].label().as_str()), (SITES, "?"));
    assert_eq!(sites[SiteId::OTHER.index()].label(), "(other)");
    assert_eq!(table.read_one(SiteId::OTHER).unwrap().label(), "(other)");
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let (words, pen) = (<[SharedU64<LoopOwned>; 2]>::default(), WriteToken::mint());
    for (text, keep_end, expected) in [
        ("short", false, "short"),
        ("exactly sixteen!", false, "exactly sixteen!"),
        ("fifteen bytes..é", false, "fifteen bytes.."),
        ("é fifteen bytes..", true, " fifteen bytes.."),
        ("/a/long/path/to/main.rs", true, "path/to/main.rs".get(..).unwrap()),
    ] {
        store_text(&pen, &words, text, keep_end);
        let loaded = load_text(&words);
        assert!(text.ends_with(&loaded) || text.starts_with(&loaded), "{loaded}");
        assert!(loaded.ends_with(expected) || loaded.starts_with(expected), "{loaded} for {text}");
    }
}

#[test]
fn hidden_characters_do_not_reach_a_terminal() {
    let (words, pen) = (<[SharedU64<LoopOwned>; 2]>::default(), WriteToken::mint());
    store_text(&pen, &words, "a\x1b[2Jb", false);
    assert_eq!(load_text(&words), "a\u{fffd}[2Jb");
    for (text, loaded) in
        [("a\u{202e}b", "a\u{fffd}b"), ("\u{85}\u{2066}", "\u{fffd}\u{fffd}"), ("é 中文 👩", "é 中文 👩")]
    {
        store_text(&pen, &words, text, false);
        assert_eq!(load_text(&words), loaded);
    }
}
