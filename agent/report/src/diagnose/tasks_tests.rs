//! The rules about tasks, locks and single workers speak where they should, and nowhere near it.

use super::*;

/// A runtime that has remedies against these troubles.
fn with_tasks(evidence: LoopEvidence) -> LoopEvidence {
    with(evidence, |evidence| {
        let described = Description::new()
            .remedy(Trouble::SelfWaking, "wait for what it looks for")
            .remedy(Trouble::LockHeld, "drop the guard first")
            .remedy(Trouble::OneWorker, "spawn its parts");
        evidence.runtime = Arc::new(described);
    })
}

fn waking() -> LoopEvidence {
    with(with_tasks(well()), |evidence| {
        (evidence.active_ns, evidence.callbacks) = (9_900 * MS, 1_000_000);
        evidence.sites = vec![site("poll spin (src/x.rs:3)", 990_000, 5 * S, MS)];
    })
}

fn locked() -> LoopEvidence {
    with(with_tasks(blocked()), |evidence| {
        evidence.stalls[0].looks_asleep = 8;
    })
}

pub(super) fn task_cases() -> Vec<Case> {
    vec![
        (
            "self_waking",
            waking(),
            vec![
                "poll spin (src/x.rs:3), which may be waking itself",
                "99,000/s",
                "5.0 µs",
                "wait for what it looks for",
            ],
            // As often, and each does something.
            with(waking(), |evidence| evidence.sites[0].run_ns = 40 * S),
        ),
        (
            "lock_held",
            locked(),
            vec!["waited for a lock in flush (src/x.rs:40)", "1 stall", "drop the guard first"],
            with(locked(), |evidence| evidence.stalls[0].asleep_in = Some("read(fd 3)".into())),
        ),
    ]
}

#[test]
fn nothing_is_said_of_a_runtime_without_a_remedy_nor_of_what_is_near() {
    let silent = |rule: &str, evidence: &LoopEvidence| {
        let rule = RULES.iter().find(|known| known.name == rule).unwrap();
        assert_eq!(rule.apply(evidence), [], "{}", rule.name);
    };
    let plain = |evidence| with(evidence, |evidence| evidence.runtime = well().runtime);
    silent("self_waking", &plain(waking()));
    silent("lock_held", &plain(locked()));
    // Often, but the loop rests; much, but of many places; busy, but with few runs.
    silent("self_waking", &with(waking(), |evidence| evidence.active_ns = 5 * S));
    silent("self_waking", &with(waking(), |evidence| evidence.sites[0].calls = 400_000));
    silent(
        "self_waking",
        &with(waking(), |evidence| {
            (evidence.callbacks, evidence.sites[0].calls) = (100_000, 99_000);
        }),
    );
    // It computes, and was asleep for a lock once.
    silent("lock_held", &with(locked(), |evidence| evidence.stalls[0].looks_asleep = 1));
    // Many runs share the stall.
    silent("lock_held", &with(locked(), |evidence| evidence.stalls[0].is_flood = true));
}

#[test]
fn a_worker_that_works_alone_is_told_and_others_are_not() {
    let worker = |name: &str, active_ns| {
        with(with_tasks(well()), |evidence| {
            (evidence.name, evidence.group, evidence.is_worker) = (name.into(), "web".into(), true);
            evidence.active_ns = active_ns;
        })
    };
    let told = |loops: &[LoopEvidence]| -> Vec<String> {
        let findings = diagnose(loops).into_iter().filter(|finding| finding.rule == "one_worker");
        findings
            .map(|finding| format!("{} {:?} {}", finding.headline, finding.evidence, finding.remedy))
            .collect()
    };
    let alone = told(&[worker("web/0", 9_900 * MS), worker("web/1", S), worker("web/2", 2 * S)]);
    assert_eq!(alone.len(), 1, "{alone:?}");
    for part in
        ["web/0 is busy while the others of web are idle", "99 %", "2 others", "20 %", "spawn its parts"]
    {
        assert!(alone[0].contains(part), "{part}: {alone:?}");
    }
    assert!(told(&[worker("web/0", 9_900 * MS), worker("web/1", 9 * S)]).is_empty(), "all are busy");
    assert!(told(&[worker("web/0", 8 * S), worker("web/1", S)]).is_empty(), "there is room");
    assert!(told(&[worker("web/0", 9_900 * MS)]).is_empty(), "there is no other");
    let other = with(worker("api/0", S), |evidence| evidence.group = "api".into());
    assert!(told(&[worker("web/0", 9_900 * MS), other]).is_empty(), "of another runtime");
    let other = with(worker("web/1", S), |evidence| evidence.pid = 4712);
    assert!(told(&[worker("web/0", 9_900 * MS), other]).is_empty(), "of another process");
    let plain = with(worker("web/0", 9_900 * MS), |evidence| evidence.runtime = well().runtime);
    assert!(told(&[plain, worker("web/1", S)]).is_empty(), "there is no remedy");
}
