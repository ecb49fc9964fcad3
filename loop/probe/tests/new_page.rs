//! What an agent finds on the page of a loop that has just been made: it is woken at that very moment.
#![cfg(not(any(loom, miri)))]

use loopscope_probe::Writer;
use loopscope_probe::raw::registry;
use std::sync::Mutex;

#[test]
fn the_page_of_a_new_loop_is_whole_when_the_agent_is_woken() {
    static SEEN: Mutex<Vec<(String, bool)>> = Mutex::new(Vec::new());
    let look = || {
        for page in registry::pages() {
            let (clock, page) = (page.clock(), page.page());
            let now = clock.now();
            let vitals = page.vitals_at(clock, now);
            let has_lived = vitals.active_ns + vitals.idle_ns <= clock.duration_ns(page.created(), now);
            SEEN.lock().unwrap().push((page.facts().label, has_lived && page.check().is_ok()));
        }
    };
    assert!(registry::set_waker(look));
    let first = Writer::builder("woken").build();
    let second = Writer::builder("woken").build();
    let seen: Vec<(String, bool)> = SEEN.lock().unwrap().clone();
    assert_eq!(seen, ["woken", "woken", "woken#2"].map(|label| (label.to_owned(), true)));
    drop((first, second));
}
