//! What is told as a whole, a drain or a batch, without a number: one long job, or many.

use super::*;

#[test]
fn of_what_is_told_as_a_whole_it_is_not_said_that_it_was_many() {
    let mut evidence = stalled(Cause::Microtask, Kind::Microtask, 3_000);
    for stall in &mut evidence.stalls {
        stall.runs = None;
    }
    let findings = diagnose(&[evidence]);
    assert_eq!((findings.len(), findings[0].rule), (1, "microtask_flood"), "{findings:#?}");
    let text = text_of(&findings[0]);
    assert!(text.contains("the longest, of 300 ms, was an unknown number of runs, 100 % of it"), "{text}");
    // It may as well have been one long job.
    assert!(text.contains("is blocked by microtask flush"), "{text}");
    for part in ["(one or many jobs)", "if one of them is long, split it", "if they are many: "] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    assert!(!text.contains("starved"), "{text}");
    // A drain of one job is one long run.
    let findings = diagnose(&[stalled(Cause::Callback, Kind::Microtask, 1)]);
    assert_eq!((findings.len(), findings[0].rule), (1, "blocked"), "{findings:#?}");
}

/// As of Node's ticks, of which the page never tells the number.
#[test]
fn of_what_is_told_as_a_whole_captures_say_whether_it_was_one_or_many() {
    let found = |told: &[(IncidentKind, Option<u64>)]| {
        let mut evidence = stalled(Cause::NextTick, Kind::Tick, 3_000);
        for stall in &mut evidence.stalls {
            stall.runs = None;
        }
        evidence.incidents = told
            .iter()
            .map(|&(kind, jobs_captured)| {
                let cause = if kind == IncidentKind::Stall { "callback" } else { "nexttick" }.to_owned();
                Incident { kind, cause, jobs_captured, ..incident(Class::Computing) }
            })
            .collect();
        let findings = diagnose(&[evidence]);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        (findings[0].rule, text_of(&findings[0]))
    };
    let (stall, many) = (IncidentKind::Stall, IncidentKind::Starvation);
    for (told, rule, words) in [
        (&[(stall, Some(1)), (stall, Some(1))][..], "blocked", "is blocked by"),
        (&[(many, Some(3)), (many, Some(2))], "nexttick_flood", "is starved by"),
        (&[(stall, Some(1)), (many, Some(3))], "nexttick_flood", "(one or many jobs)"),
        (&[(many, Some(1))], "nexttick_flood", "(one or many jobs)"),
        (&[(many, None)], "nexttick_flood", "(one or many jobs)"),
        (&[], "nexttick_flood", "(one or many jobs)"),
    ] {
        let (found, text) = found(told);
        assert_eq!((found, text.contains(words)), (rule, true), "{told:?}: {text}");
        assert_eq!(text.contains("one or many"), words.starts_with('('), "{told:?}: {text}");
        let has_guilty = told.iter().any(|(kind, _)| (*kind == stall) == (rule == "blocked"));
        assert_eq!(text.contains("app::sum_amounts"), has_guilty, "{told:?}: {text}");
    }
}
