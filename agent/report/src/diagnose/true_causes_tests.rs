//! True causes: what is said of each, and what must not be said.

use super::*;

/// Stalls of one callback that computes, and of an innocent batch, of a thread that this happened to.
fn stalls(change: impl Fn(&mut SeenStall)) -> Vec<SeenStall> {
    let long = |ns: u64| stall(Cause::Callback, Kind::Timer, 1, ns);
    let batch =
        SeenStall { label: "read (src/y.rs:9)".into(), ..stall(Cause::Io, Kind::IoRead, 40, 160 * MS) };
    let mut all = vec![long(150 * MS), long(320 * MS), long(610 * MS), batch];
    all.iter_mut().for_each(change);
    all
}

fn suffers(
    change: impl Fn(&mut SeenStall),
    incidents: &[(Class, usize)],
    cpu: Option<CpuTime>,
) -> LoopEvidence {
    let of = |(class, number): &(Class, usize)| vec![incident(*class); *number];
    LoopEvidence {
        stalls: stalls(change),
        blocked: [4, 0],
        incidents: incidents.iter().flat_map(of).collect(),
        active_ns: 1_300 * MS,
        cpu,
        ..well()
    }
}

const CODE: &[&str] = &[
    "blocked",
    "waiting",
    "microtask_flood",
    "nexttick_flood",
    "immediate_flood",
    "many_callbacks",
    "stalls_unseen",
    "overload",
];

const NOT_CODE: &[&str] = &["starved_of_cpu", "stood_still"];

/// A cause, its evidence, the rules that must speak, the surest of them, and those that must not.
#[derive(Clone)]
struct TrueCause {
    name: &'static str,
    evidence: LoopEvidence,
    found: &'static [(&'static str, Certainty)],
    forbidden: Vec<&'static str>,
}

/// All of its time but 15 ms ready to run.
fn renice(stall: &mut SeenStall) {
    (stall.used, stall.looks_asleep) = (used(stall.ns, 15 * MS, stall.ns - 15 * MS), 0);
}

/// The wait that is under way is in no account, and is most of it.
fn quota(stall: &mut SeenStall) {
    (stall.used, stall.looks_asleep) = (used(stall.ns, stall.ns / 10, 0), 0);
}

fn steal(stall: &mut SeenStall) {
    (stall.used, stall.looks_asleep) = (used(stall.ns, stall.ns / 3, 0), 0);
}

fn stopped(stall: &mut SeenStall) {
    (stall.used, stall.looks_asleep, stall.looks_stopped) = (used(stall.ns, 0, 0), 0, 8);
}

fn quota_and_asleep_once(stall: &mut SeenStall) {
    quota(stall);
    stall.looks_asleep = 1;
}

fn stopped_once(stall: &mut SeenStall) {
    stall.looks_stopped = 1;
}

fn asleep(stall: &mut SeenStall) {
    (stall.used, stall.looks_asleep) = (used(stall.ns, MS, 0), 8);
}

fn computes(_: &mut SeenStall) {}

fn cpu(run_ms: u64, ready_ms: u64) -> Option<CpuTime> {
    Some(CpuTime { run_ns: run_ms * MS, runqueue_ns: ready_ms * MS })
}

/// All rules about the code and about what is around it, but these.
fn but(kept: &[&'static str]) -> Vec<&'static str> {
    CODE.iter().chain(NOT_CODE).copied().filter(|rule| !kept.contains(rule)).collect()
}

fn one_long(looks: u64) -> LoopEvidence {
    with(well(), |evidence| {
        let long = stall(Cause::Callback, Kind::Timer, 1, 3 * S);
        evidence.stalls = vec![SeenStall { looks, looks_asleep: 0, is_over: false, ..long }];
        (evidence.active_ns, evidence.blocked) = (4 * S, [0, 0]);
    })
}

fn full(stuck: usize) -> LoopEvidence {
    with_pool(|pool| {
        (pool.saturated_ns, pool.queued, pool.oldest_wait_ns) = (10 * S, Some(16), Some(92 * S));
        pool.stuck = vec![stuck_job(); stuck];
    })
}

/// Kept from running by others.
fn starved() -> Vec<TrueCause> {
    vec![
        TrueCause {
            name: "starved by renice",
            evidence: suffers(renice, &[(Class::StarvedOfCpu, 3), (Class::Waiting, 1)], cpu(60, 1_240)),
            found: &[("starved_of_cpu", Certainty::Certain)],
            forbidden: but(&["starved_of_cpu"]),
        },
        TrueCause {
            name: "starved by renice, without an agent",
            evidence: suffers(renice, &[], cpu(60, 1_240)),
            found: &[("starved_of_cpu", Certainty::Certain)],
            forbidden: but(&["starved_of_cpu"]),
        },
        TrueCause {
            name: "starved by a quota",
            evidence: suffers(quota, &[(Class::StarvedOfCpu, 2)], None),
            found: &[("starved_of_cpu", Certainty::Likely)],
            forbidden: but(&["starved_of_cpu"]),
        },
        TrueCause {
            name: "starved by a quota, and an incident that took the wait for a sleep",
            evidence: suffers(quota, &[(Class::Waiting, 4)], None),
            found: &[("starved_of_cpu", Certainty::Likely)],
            forbidden: but(&["starved_of_cpu"]),
        },
        TrueCause {
            name: "starved by a quota, and asleep at one look of eight",
            evidence: suffers(quota_and_asleep_once, &[(Class::StarvedOfCpu, 2)], None),
            found: &[("starved_of_cpu", Certainty::Likely)],
            forbidden: but(&["starved_of_cpu"]),
        },
        TrueCause {
            name: "starved, by the word of one incident alone",
            evidence: with(well(), |evidence| evidence.incidents = vec![incident(Class::StarvedOfCpu)]),
            found: &[("starved_of_cpu", Certainty::Possible)],
            forbidden: but(&["starved_of_cpu"]),
        },
        TrueCause {
            name: "starved by steal",
            evidence: suffers(steal, &[(Class::StarvedOfCpu, 3)], None),
            found: &[("starved_of_cpu", Certainty::Likely)],
            forbidden: but(&["starved_of_cpu"]),
        },
    ]
}

/// Held as a whole, the agent with it.
fn stood_still() -> Vec<TrueCause> {
    let with_agent = |evidence| with(evidence, |evidence| evidence.agent_late_ns = Some(14 * S));
    vec![
        TrueCause {
            name: "stopped",
            evidence: with_agent(suffers(stopped, &[(Class::Stopped, 1)], cpu(0, 0))),
            found: &[("stood_still", Certainty::Certain)],
            forbidden: [but(&["stood_still"]), vec!["agent_late"]].concat(),
        },
        TrueCause {
            name: "stopped, and over before anybody looked",
            evidence: with_agent(with(suffers(stopped, &[(Class::Stopped, 2)], None), |evidence| {
                (evidence.stalls, evidence.blocked) = (Vec::new(), [2, 0]);
            })),
            found: &[("stood_still", Certainty::Certain)],
            forbidden: [but(&["stood_still"]), vec!["agent_late"]].concat(),
        },
        TrueCause {
            name: "stopped in its poll, and still so",
            evidence: LoopEvidence { stopped_ns: Some(2 * S), ..well() },
            found: &[("stood_still", Certainty::Certain)],
            forbidden: [but(&["stood_still"]), vec!["agent_late"]].concat(),
        },
        TrueCause {
            name: "stopped, without an agent",
            evidence: with_agent(suffers(stopped, &[], cpu(0, 0))),
            found: &[("stood_still", Certainty::Certain)],
            forbidden: [but(&["stood_still"]), vec!["agent_late"]].concat(),
        },
    ]
}

/// The program's own code.
fn code() -> Vec<TrueCause> {
    vec![
        TrueCause {
            name: "many short",
            evidence: stalled(Cause::Io, Kind::IoRead, 3_000),
            found: &[("many_callbacks", Certainty::Certain)],
            forbidden: but(&["many_callbacks"]),
        },
        TrueCause {
            name: "one long",
            evidence: one_long(100),
            found: &[("blocked", Certainty::Certain)],
            forbidden: but(&["blocked"]),
        },
        TrueCause {
            name: "one long, seen once",
            evidence: one_long(1),
            found: &[("blocked", Certainty::Likely)],
            forbidden: but(&["blocked"]),
        },
    ]
}

/// The same, where not all that is known agrees, or little is.
fn code_in_spite_of() -> Vec<TrueCause> {
    vec![
        TrueCause {
            name: "it computes, and one incident of many says that it waited",
            evidence: suffers(computes, &[(Class::Computing, 3), (Class::Waiting, 1)], cpu(1_200, 10)),
            found: &[("blocked", Certainty::Certain)],
            forbidden: but(&["blocked", "many_callbacks"]),
        },
        TrueCause {
            name: "it computes, and nearly half of what is told says that it waited",
            evidence: suffers(computes, &[(Class::Computing, 4), (Class::Waiting, 3)], cpu(1_200, 10)),
            found: &[("blocked", Certainty::Likely)],
            forbidden: but(&["blocked", "many_callbacks"]),
        },
        TrueCause {
            name: "it computes by what its agent says, and by the account of all that the loop did",
            evidence: told(Class::Computing, (0, 0), cpu(1_050, 0)),
            found: &[("blocked", Certainty::Likely)],
            forbidden: but(&["blocked"]),
        },
        TrueCause {
            name: "it computes, and was stopped at one look of eight",
            evidence: suffers(stopped_once, &[(Class::Computing, 3)], cpu(1_200, 10)),
            found: &[("blocked", Certainty::Certain)],
            forbidden: but(&["blocked", "many_callbacks"]),
        },
        TrueCause {
            name: "it computes beyond the threshold, and is starved for five times as long",
            evidence: with(suffers(computes, &[(Class::Computing, 3)], None), |evidence| {
                let long = stall(Cause::Callback, Kind::Timer, 1, 900 * MS);
                let used = used(900 * MS, 150 * MS, 750 * MS);
                evidence.stalls = vec![SeenStall { used, looks_asleep: 0, ..long }; 3];
                (evidence.blocked, evidence.active_ns) = ([3, 0], 2_800 * MS);
            }),
            found: &[("blocked", Certainty::Certain)],
            forbidden: but(&["blocked"]),
        },
        TrueCause {
            name: "it waits",
            evidence: suffers(asleep, &[(Class::Waiting, 3)], cpu(10, 0)),
            found: &[("waiting", Certainty::Certain)],
            forbidden: but(&["waiting", "many_callbacks"]),
        },
        TrueCause {
            name: "it was never asleep, and an incident says that it waited",
            evidence: with(blocked(), |evidence| evidence.incidents = vec![incident(Class::Waiting)]),
            found: &[("blocked", Certainty::Possible)],
            forbidden: but(&["blocked"]),
        },
    ]
}

/// Three stalls that nobody looked at, and an agent that told what they went to, by figures of its own.
fn told(class: Class, (watched_ns, cpu_ns): (u64, u64), of_loop: Option<CpuTime>) -> LoopEvidence {
    let unseen = |stall: &mut SeenStall| {
        (stall.looks, stall.looks_asleep, stall.used) = (0, 0, Used::default());
    };
    with(suffers(unseen, &[(class, 3)], of_loop), |evidence| {
        evidence.stalls.truncate(3);
        (evidence.blocked, evidence.active_ns) = ([3, 0], 1_100 * MS);
        for incident in &mut evidence.incidents {
            (incident.watched_ns, incident.cpu_ns) = (watched_ns, cpu_ns);
        }
    })
}

/// Told by whoever could not know it, while the thread's own figures say otherwise.
fn contradicted() -> Vec<TrueCause> {
    let nothing = |name, evidence| TrueCause { name, evidence, found: &[], forbidden: but(&[]) };
    vec![
        nothing(
            "taken for a wait, and the loop's thread was asleep for 0 % of its busy time",
            told(Class::Waiting, (0, 0), cpu(1_100, 0)),
        ),
        nothing(
            "taken for a wait, and the incidents' own figures say that it computed",
            told(Class::Waiting, (300 * MS, 299 * MS), None),
        ),
        nothing(
            "taken for a wait that was a sixth of the time",
            told(Class::Waiting, (300 * MS, 250 * MS), None),
        ),
        TrueCause {
            name: "a wait, by the figures, too",
            evidence: told(Class::Waiting, (300 * MS, MS), None),
            found: &[("waiting", Certainty::Certain)],
            forbidden: but(&["waiting"]),
        },
    ]
}

/// Its pool.
fn pools() -> Vec<TrueCause> {
    vec![
        TrueCause {
            name: "pool full",
            evidence: full(0),
            found: &[("pool_saturated", Certainty::Certain)],
            forbidden: [but(&[]), vec!["pool_stuck"]].concat(),
        },
        TrueCause {
            name: "pool stuck in a call that never returns",
            evidence: full(4),
            found: &[("pool_stuck", Certainty::Certain)],
            forbidden: [but(&[]), vec!["pool_saturated", "pool_behind_slow_jobs"]].concat(),
        },
    ]
}

#[test]
fn a_true_cause_is_found_and_nobody_else_is_accused() {
    for TrueCause { name, evidence, found, forbidden } in
        [starved(), stood_still(), code(), code_in_spite_of(), contradicted(), pools()].concat()
    {
        let findings = diagnose(&[evidence]);
        for (rule, certainty) in found {
            let sure =
                findings.iter().filter(|finding| finding.rule == *rule).map(|finding| finding.certainty);
            assert_eq!(sure.min(), Some(*certainty), "{name}: {rule} of {findings:#?}");
        }
        for finding in &findings {
            assert!(!forbidden.contains(&finding.rule), "{name}: {finding:#?}");
        }
    }
}

#[test]
fn a_finding_says_how_the_thread_spent_these_very_stalls() {
    let other = with(blocked(), |evidence| {
        evidence.active_ns = 9 * S;
        evidence.cpu = Some(CpuTime { run_ns: 8_900 * MS, runqueue_ns: 0 });
        evidence.stalls.iter_mut().for_each(|stall| (stall.used.cpu_ns, stall.looks_asleep) = (MS, 8));
    });
    let text = text_of(&diagnose(&[other])[0]);
    assert!(text.contains("its thread was asleep for 100 % of these stalls"), "{text}");
}

#[test]
fn a_quota_is_named_where_it_is_to_blame_and_only_there() {
    let starved = CpuTime { run_ns: 2 * S, runqueue_ns: 2 * S };
    let quota =
        |throttled_periods, throttled_ns| Some(Quota { periods: 100, throttled_periods, throttled_ns });
    let told = |cpu: CpuTime, quota: Option<Quota>| {
        let seen = with(well(), |evidence| (evidence.cpu, evidence.quota) = (Some(cpu), quota));
        let findings = diagnose(&[seen]);
        findings.into_iter().next().map(|finding| format!("{} {:?}", finding.headline, finding.evidence))
    };
    let held = told(starved, quota(80, 3 * S)).unwrap();
    assert!(held.contains("throttled by the CPU quota of its cgroup"), "{held}");
    assert!(held.contains("used up in 80 of 100 periods, throttling the process for 3.0 s"), "{held}");
    for other in [None, quota(0, 0), quota(1, 5 * MS)] {
        let said = told(starved, other).unwrap();
        assert!(said.contains("had to wait for a CPU") && !said.contains("quota"), "{said}");
    }
    // An incident of before says that it was throttled; meanwhile nothing was.
    let throttled = Incident { runqueue_ns: 90 * MS, throttled_ns: 80 * MS, ..incident(Class::StarvedOfCpu) };
    for (periods, is_named) in [(3, true), (0, false)] {
        let seen = with(well(), |evidence| {
            (evidence.cpu, evidence.quota) = (Some(starved), quota(periods, periods * MS));
            evidence.incidents = vec![throttled.clone()];
        });
        let headline = diagnose(&[seen]).remove(0).headline;
        assert_eq!(headline.contains("throttled by the CPU quota"), is_named, "{headline}");
    }
    // Nothing is said of a thread that ran when it wanted to, whatever the quota did to others; nor of one that
    // hardly waited.
    for (run_ns, runqueue_ns) in [(2 * S, 10 * MS), (10 * MS, 400 * MS), (5 * S, S)] {
        assert_eq!(told(CpuTime { run_ns, runqueue_ns }, quota(80, 3 * S)), None, "{run_ns} {runqueue_ns}");
    }
}

#[test]
fn what_runs_while_a_thread_has_no_processor_is_not_accused_of_late_timers() {
    for (runqueue_ns, is_accused) in [(20 * MS, true), (4 * S, false)] {
        let late = with(well(), |evidence| {
            evidence.timer_lateness = durations(100, 60 * MS);
            evidence.delayers = vec![Delayer { label: "flush (src/x.rs:40)".into(), timers: 60, ns: 5 * S }];
            evidence.cpu = Some(CpuTime { run_ns: 3 * S, runqueue_ns });
        });
        let findings = diagnose(&[late]);
        let finding = findings.iter().find(|finding| finding.rule == "timers_late").unwrap();
        assert_eq!(text_of(finding).contains("flush"), is_accused, "{findings:#?}");
        let certainty = if is_accused { Certainty::Likely } else { Certainty::Possible };
        assert_eq!(finding.certainty, certainty);
    }
}

#[test]
fn what_the_agent_found_a_stuck_job_asleep_in_is_said() {
    let stuck = with(full(4), |evidence| {
        let call = Some("read(fd 5 -> pipe:[81])".to_owned());
        let kind = IncidentKind::Pool;
        evidence.incidents = vec![Incident { kind, waiting_in: call, ..incident(Class::Waiting) }];
    });
    let text = text_of(&diagnose(&[stuck])[0]);
    assert!(text.contains("4 fs jobs from read (src/x.rs:7) for 92 s, since 14:03:10 UTC"), "{text}");
    assert!(text.contains("the longest one asleep in read(fd 5 -> pipe:[81])"), "{text}");
}
