//! Rules in the words of a runtime, and what they say of what it cannot know.

use super::*;

/// A runtime that polls tasks, and knows when it is busy and little else.
fn tasks() -> Arc<Description> {
    let runtime = Description::new()
        .term(Term::Callback, "poll", "polls")
        .term(Term::Lane, "worker", "workers")
        .term(Term::Between, "a poll that is not told", "polls that are not told")
        .kind(Kind::Task, "poll", "poll", "polls")
        .culprit(description::Culprit::Callback, "many short polls")
        .remedy(Trouble::Computing, "`spawn_blocking`")
        .remedy(Trouble::ManyCallbacks, "yield")
        .parks("parks", "parked");
    Arc::new(runtime.fills(&[Fact::Time, Fact::PoolQueue]))
}

#[test]
fn findings_are_in_the_words_of_the_runtime() {
    let evidence = [
        stalled(Cause::Callback, Kind::Task, 1),
        stalled(Cause::Callback, Kind::Task, 3_000),
        with(blocked(), |evidence| evidence.stalls.iter_mut().for_each(|stall| stall.kind = None)),
        with(well(), |evidence| {
            (evidence.blocked, evidence.blocked_ns, evidence.sites[0].longest_ns) = ([3, 1], 2 * S, S);
        }),
        with(well(), |evidence| evidence.active_ns = 9_900 * MS),
        with(well(), |evidence| evidence.sites_overflow = 88),
        with(well(), |evidence| evidence.agent_late_ns = Some(2 * S)),
    ];
    let all: String = evidence
        .map(|evidence| with(evidence, |evidence| evidence.runtime = tasks()))
        .iter()
        .flat_map(|evidence| diagnose(std::slice::from_ref(evidence)))
        .map(|finding| text_of(&finding) + "\n")
        .collect();
    for part in [
        "worker web is blocked by poll flush (src/x.rs:40)",
        "move this work to `spawn_blocking`",
        "worker web is starved by many short polls from poll flush",
        "worker web is blocked by a poll that is not told",
        "the longest poll of the last minute",
        "over more workers",
        "worker web has more poll sites",
        "did not check worker web",
    ] {
        assert!(all.contains(part), "`{part}` is not in\n{all}");
    }
    for word in ["callback", "loop", "lag", "events waited", "an iteration takes"] {
        assert!(!all.contains(word), "`{word}` is in\n{all}");
    }
}

#[test]
fn a_rule_is_silent_where_the_runtime_cannot_know_what_it_looks_at() {
    for (name, fires, _, _) in cases() {
        let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
        let evidence = with(fires, |evidence| evidence.runtime = Arc::new(Description::new().fills(&[])));
        if !rule.needs.is_empty() || name == "panics" {
            assert_eq!(rule.apply(&evidence), [], "{name}");
        }
        assert_eq!(rule.is_answered(&evidence), rule.needs.is_empty(), "{name}");
        for finding in diagnose(&[evidence]) {
            let text = text_of(&finding);
            let made_up = [
                "wait p95",
                "run p95",
                "jobs wait 4",
                "events waited",
                "an iteration takes",
                "fired meanwhile",
            ];
            assert!(!made_up.iter().any(|words| text.contains(words)), "{name}: {text}");
        }
    }
}

#[test]
fn a_pool_is_full_where_only_its_depth_is_known() {
    let full = |saturated_ns| {
        let mut evidence = with_pool(|pool| {
            (pool.saturated_ns, pool.queued, pool.oldest_wait_ns) = (saturated_ns, Some(16), None);
            pool.kinds = Vec::new();
        });
        evidence.runtime = Arc::new(
            Description::new()
                .remedy(Trouble::PoolSize, "set its size to {threads}")
                .fills(&[Fact::Time, Fact::PoolQueue]),
        );
        evidence
    };
    let findings = diagnose(&[full(6 * S)]);
    assert_eq!((findings.len(), findings[0].rule), (1, "pool_saturated"), "{findings:#?}");
    assert_eq!(findings[0].headline, "the pool of loop web is saturated");
    let text = text_of(&findings[0]);
    assert!(
        text.contains("for 60 % of the time; 16 jobs wait now") && text.contains("its size to 8"),
        "{text}"
    );
    assert_eq!(diagnose(&[full(500 * MS)]), [], "a moment of it is no trouble");
    let unknown = with(full(6 * S), |evidence| evidence.pool.as_mut().unwrap().threads = None);
    assert!(diagnose(&[unknown])[0].remedy.contains("set its size to a higher number"));
}

#[test]
fn a_pool_thread_that_waits_for_ever_while_others_have_room_is_a_notice() {
    let urgency = |stuck: usize, queued| {
        let evidence = with_pool(|pool| (pool.stuck, pool.queued) = (vec![stuck_job(); stuck], Some(queued)));
        diagnose(&[evidence]).first().map(|finding| (finding.rule, finding.urgency))
    };
    assert_eq!(urgency(1, 0), Some(("pool_stuck", Urgency::Notice)));
    assert_eq!(urgency(1, 3), Some(("pool_stuck", Urgency::Warning)));
    assert_eq!(urgency(4, 0), Some(("pool_stuck", Urgency::Warning)));
    assert_eq!(urgency(4, 3), Some(("pool_stuck", Urgency::Critical)));
    assert_eq!(urgency(0, 0), None);
}
