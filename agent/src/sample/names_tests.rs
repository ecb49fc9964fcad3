//! Naming of stacks that are partly a runtime's own code, and were never run.

use super::*;
use crate::address_source::tests::Jit;
use loopscope_probe::raw::registry;
use loopscope_probe::{Kind, Phase, Writer};
use loopscope_report::profiles::Of;

fn stacked(loop_index: usize, addresses: Vec<u64>, foreign: Vec<u64>) -> Stacked {
    let found = Found {
        loop_index,
        phase: Phase::TIMERS,
        kind: Some(Kind::Timer),
        site: SiteId::NONE,
        parent: SiteId::NONE,
        spans: Vec::new(),
        addresses,
        foreign,
        wait: None,
    };
    Stacked { found: Arc::new(found), ns: 5_000_000, count: 1 }
}

#[test]
fn a_runtime_names_its_own_code_in_flamegraphs_and_other_loops_keep_native_names() {
    let writers = [("jit", "js"), ("plain", "mio")]
        .map(|(name, runtime)| Writer::builder(name).runtime(runtime).build());
    let pages = registry::pages();
    let page_of = |writer: &Writer| pages.iter().find(|page| std::ptr::eq(page.page(), writer.page()));
    let names = writers.iter().filter_map(page_of).map(LoopNames::of).enumerate().collect();
    let (mut sources, jit) = (AddressSources::default(), Arc::new(Jit::default()));
    sources.set("js", jit.clone());
    let mut unwinder = Unwinder::new();
    unwinder.unwind(&own_sample());
    let mut names = Names::new(&unwinder, &sources, names);
    let own = stacked as fn(usize, Vec<u64>, Vec<u64>) -> Stacked as usize as u64;
    let stacks = [
        stacked(0, vec![0x1000, own], vec![7]),
        stacked(1, vec![0x1000, own], vec![]),
        stacked(0, vec![0x2000], vec![]),
    ];
    let mut profile = Profile::new(Of::Cpu);
    names.add(&stacks, &mut profile);
    let folded = profile.folded();
    assert!(folded.contains(";jit 0x1000 [7] ") && folded.contains(";jit 0x2000 [] "), "{folded}");
    assert!(folded.contains("plain;timers;") && folded.contains(";unknown+0x1000 "), "{folded}");
    assert_eq!(*jit.batches.lock().unwrap(), [2], "all of one runtime at once");
    assert_eq!(names.advice(), [""; 0]);
}

/// A sample of nothing, which makes an unwinder read the list of modules.
fn own_sample() -> loopscope_stacks::Sample {
    loopscope_stacks::prepare();
    let target = loopscope_stacks::Target::this_thread();
    let mut capturer = loopscope_stacks::Capturer::attach(target).unwrap();
    capturer.capture(std::time::Duration::from_secs(30)).unwrap()
}
