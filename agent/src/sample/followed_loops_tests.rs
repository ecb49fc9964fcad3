//! Loops that come and go while a session lasts.

use super::*;
use crate::address_source::AddressSources;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_probe::{Kind, Phase, TaskTimes, Writer};
use loopscope_report::profiles::Of;
use std::panic::Location;

fn page_of(writer: &Writer) -> LocalPage {
    registry::pages().into_iter().find(|page| std::ptr::eq(page.page(), writer.page())).unwrap()
}

#[test]
fn pages_of_loops_that_ended_are_let_go_while_the_session_lasts() {
    let mut shared = Shared::new(Of::Cpu, AddressSources::default(), 0, 1_000_000);
    let mut followed = FollowedLoops::default();
    // More than a process may have at once.
    for _ in 0..300 {
        let writer = Writer::builder("brief").build();
        let page = page_of(&writer);
        assert!(page.path().is_some(), "{:?}", page.private_because());
        followed.follow(Some("brief"), &mut shared);
        assert_eq!(followed.loops.len(), 1);
        drop((page, writer));
        followed.follow(Some("brief"), &mut shared);
    }
    assert!(followed.loops.is_empty());
    assert_eq!(followed.into_names(&mut Profile::new(Of::Cpu)).len(), 0, "without samples no name is needed");
}

#[test]
fn the_samples_of_a_loop_that_ended_keep_its_names() {
    loopscope_stacks::prepare();
    let mut shared = Shared::new(Of::Waits, AddressSources::default(), 0, 1_000_000);
    let mut followed = FollowedLoops::default();
    let mut writer = Writer::builder("ends").build();
    let site = writer.named_site(Location::caller(), Kind::Timer, "guilty");
    followed.follow(Some("ends"), &mut shared);
    let index = followed.loops[0].index();
    writer.resume();
    writer.phase(Phase::TIMERS);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    followed.loops[0].record_own(&mut shared);
    writer.end();
    drop(writer);
    followed.follow(Some("ends"), &mut shared);
    assert!(followed.loops.is_empty());
    // One that comes later is another.
    let later = Writer::builder("ends").build();
    followed.follow(Some("ends"), &mut shared);
    assert_ne!(followed.loops[0].index(), index);
    let mut profile = Profile::new(Of::Waits);
    let names = followed.into_names(&mut profile);
    assert_eq!((names[&index].name(), profile.pid), ("ends", std::process::id()));
    let (unwinder, sources) = (shared.unwinder, shared.addresses);
    let (stacks, _) = shared.store.into_parts();
    crate::sample::names::Names::new(&unwinder, &sources, names).add(&stacks, &mut profile);
    assert!(profile.folded().contains("ends;timers;guilty ("), "{}", profile.folded());
    drop(later);
}
