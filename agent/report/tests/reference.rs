//! The reference of metrics, `docs/metrics.md`, is what the catalogue says. `UPDATE_EXPECT=1` rewrites it.

use loopscope_probe::{Clock, VirtualClock, Writer};
use loopscope_report::metrics::catalog::{
    ALL, FAST, FEW, Family, GROUPS, HOST, LABELS, LAG, LAG_SECONDS, OTEL, OWN, PROM_CLIENT, Type, Unit, WAIT,
};
use loopscope_report::words::thousands;
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# Metrics

The metrics of the agent's `/metrics`. This page is generated from the table in
`agent/report/src/metrics/catalog.rs` by `agent/report/tests/reference.rs`; do not edit it.

The formats are Prometheus text 0.0.4, OpenMetrics 1.0 (with exemplars: the incident's id), and protobuf with \
native histograms (schema 3: eight buckets an octave; counts: schema 0) and classic ones in the same message; the \
scraper's `Accept` header selects one. Names, labels and values are the same in all three. Scrapes never reset \
anything.

Histograms of durations have classic bounds at boundaries of the native buckets, `2^(n/8)` seconds, and those are exact sums of
them ([which bounds](#bounds)). A loop's series end with the loop. Those of a kind of callback or job all begin when the loop first runs
one; histograms begin with their first observation, except those of lag and of stalls.

A runtime of several workers has the series of one loop: `loop` is its name. Counters and histograms are sums over its workers,
and so are counts of what there is now; ages and maxima are those of the worst worker, utilization is the share of all
workers' time, thresholds are the lowest. A site run by several workers is one series. What a worker has counted stays in the sum
when it ends, moves to another thread or is replaced; series of a runtime end with its last worker, and resume from their last
values when a worker appears again. The worker families show which worker is at fault; do not add them to the loop families, \
which include them already.

## Lag, and what it does not see

`loopscope_loop_lag_seconds` is the delay from an event becoming ready, at a random time, to the loop's next poll. \
One event is assumed at a random time in every millisecond since the loop was created: it waits 0 if the loop is \
polling, and until the next poll if the loop is busy. So the count increases by 1,000 per second, also during a \
poll; during a busy period it does not change, and at the end all events that waited are counted. If a runtime \
polls between two tasks without reporting it, its agent notices, and events wait only until that poll.

Lag is computed from the times at which the loop's own thread starts and ends its polls. So it does not include what happens inside
a poll:

- **An event whose thread has no processor.** The poll was over and the thread ready to run, and the kernel let others run: a nice
  value beside busy neighbours, a CPU quota, more threads than processors. The loop is \"in its poll\" all that time, and its lag is
  0. `loopscope_thread_run_delay_seconds_total` counts that time, also the part that falls into busy periods, where it makes lag
  longer. It is the kernel's own account (`schedstat`), of the whole thread.
- **The process is stopped in its poll**, by SIGSTOP or a debugger. `ls`,
  `top` and `serve` show such a process as stopped. A frozen cgroup does the same, but the kernel does not report \
it. A process that is stopped in a busy period has lag and a stall.
- Delays before the poll can return the event: in a kernel queue, or on the network.
- Steal time: if the hypervisor runs other machines, neither the loop nor its kernel knows.

A value that a loop's runtime does not know is not 0: the loop has no such series. The loop's page in shared memory says \
which values a runtime provides, and how it names its phases, kinds and queues. Causes of starvation that it cannot distinguish \
are omitted, too.
";

fn kind(family: &Family) -> String {
    match family.kind {
        Type::Counter => "counter".to_owned(),
        Type::Gauge if family.unit == Unit::Info => "info (gauge)".to_owned(),
        Type::Gauge => "gauge".to_owned(),
        Type::Durations(_) | Type::Counts => "histogram".to_owned(),
    }
}

fn unit(family: &Family) -> &'static str {
    family.unit.suffix().unwrap_or(if family.unit == Unit::Info { "always 1" } else { "count" })
}

fn bounds(family: &Family) -> String {
    match family.kind {
        Type::Durations(bounds) if bounds == FAST => "<br>bounds: fast".to_owned(),
        Type::Durations(bounds) if bounds == LAG => "<br>bounds: lag".to_owned(),
        Type::Durations(bounds) if bounds == WAIT => "<br>bounds: wait".to_owned(),
        Type::Durations(_) => "<br>bounds: own".to_owned(),
        Type::Counts => "<br>bounds: counts".to_owned(),
        Type::Counter | Type::Gauge => String::new(),
    }
}

/// The bounds of each set, in seconds.
fn bounds_of_sets(out: &mut String) {
    out.push_str(
        "\n## Bounds\n\nClassic bounds lie closer together from 62 ms to 1 s, where people set alerts. With \
         `Agent::builder().classic_buckets(ClassicBuckets::Few)`, or\n`loopscope serve --few-buckets`, all histograms of \
         durations have those of the last row, and a scrape a third to a half fewer samples. Native\nhistograms have eight buckets an \
         octave with either.\n\n| set | bounds |\n|---|---|\n",
    );
    let second = |eighths: &i32| {
        let seconds = 2f64.powf(f64::from(*eighths) / 8.0);
        let shown =
            if seconds < 1e-3 { format!("{:.3} ms", seconds * 1e3) } else { format!("{seconds:.4} s") };
        let (number, unit) = shown.split_once(' ').unwrap();
        format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
    };
    for (name, bounds) in [("fast", FAST), ("lag", LAG), ("wait", WAIT), ("own", OWN), ("few", FEW)] {
        let list = bounds.iter().map(second).collect::<Vec<_>>().join(", ");
        writeln!(out, "| {name} | {list} |").unwrap();
    }
    out.push_str("| counts | 1, 2, 4, 8 and so on up to 65,536 |\n");
}

fn table(out: &mut String, families: &[&Family]) {
    out.push_str("\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for family in families {
        let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
        let (name, kind, unit, bounds) = (family.name, kind(family), unit(family), bounds(family));
        writeln!(out, "| `{name}` | {kind} | {unit} | {labels} | {}{bounds} |", family.help).unwrap();
    }
}

fn reference() -> String {
    let mut out = HEAD.to_owned();
    let place = |first: &Family| ALL.iter().position(|family| std::ptr::eq(*family, first)).unwrap();
    for (number, (title, first)) in GROUPS.iter().enumerate() {
        let end = GROUPS.get(number + 1).map_or(ALL.len(), |(_, next)| place(next));
        write!(out, "\n## {title}\n").unwrap();
        table(&mut out, &ALL[place(first)..end]);
    }
    out.push_str(
        "\n## Names of other exporters\n\nOff unless a program in Rust asks for them, by `Agent::builder().compat(..)`: no environment \
         variable turns them on, and the addon\nfor Node.js cannot. They are made from the same histograms; the gauges of lag are \
         those of the last minute, and an idle loop has a\nlag of 0.\n\n\
         ### `Compat::PromClient`\n",
    );
    table(&mut out, PROM_CLIENT);
    out.push_str("\n### `Compat::Otel`\n");
    table(&mut out, OTEL);
    out.push_str(
        "\n## The host\n\nIn `/metrics` of `loopscope serve`, every series of a loop or a pool has three labels before its own: \
         `pid` and `name` of the\nprocess, and the loop's `runtime`. What agents alone know is not in it: \
         incidents, captures, exemplars, and the metrics of the\nprogram itself. The families of the agent and of the \
         process are those of `loopscope serve` there. It has at most 50,000 samples.\n",
    );
    table(&mut out, HOST);
    out.push_str(
        "\n## Numbers of a runtime\n\nA runtime may give numbers of its own (heap sizes, collections of garbage) under names of \
         its own. They are families\n`loopscope_runtime_<name>`, with `_bytes` or `_seconds` behind the name as their unit is, \
         and `_total` behind those that only grow;\ndurations are histograms with the bounds of run times. Their labels are \
         `loop`, and `kind` where there are several of a name. The same\nname of several loops is one family. A loop has at most \
         32 such numbers and 8 such histograms; loops that share the label `_other` have\nnone. Of names that would collide, the \
         first stays: the others are left out and counted.\n",
    );
    bounds_of_sets(&mut out);
    out.push_str("\n## Labels\n\n| label | values | what |\n|---|---|---|\n");
    for (name, bound, about) in LABELS {
        writeln!(out, "| `{name}` | {bound} | {about} |").unwrap();
    }
    out.push_str(
        "\nA scrape has at most 20,000 samples of the agent's own, as Prometheus counts them: lines of the text, of which a histogram \
         has one\nfor each bound, and two. What exceeds that is left out and counted in \
         `loopscope_agent_series_overflow`.\n",
    );
    out
}

#[test]
fn the_reference_is_what_the_catalogue_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let expected = reference();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "docs/metrics.md is not what the catalogue says (line {}): run this test with UPDATE_EXPECT=1",
        differs.map_or(found.lines().count(), |line| line) + 1
    );
}

/// What lag is, in the words of the metric itself: whoever reads another definition elsewhere compares other numbers.
#[test]
fn lag_is_defined_in_the_same_words_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap().replace('\n', " ");
    let (definition, rest) =
        LAG_SECONDS.help.split_once(';').expect("the definition, and how much there is of it");
    let definition = definition.replacen('D', "d", 1);
    assert_eq!(definition, "delay from an event becoming ready, at a random time, to the loop's next poll");
    for document in ["README.md", "ARCHITECTURE.md", "docs/metrics.md"] {
        assert!(read(document).contains(&format!("the {definition}")), "{document}: the {definition}");
    }
    let time = VirtualClock::starting_at(1);
    let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    writer.park();
    time.advance_ns(1_000_000_000);
    let per_second = writer.page().snapshot(writer.clock()).lag.count();
    assert!(rest.starts_with(&format!(" {per_second} observations per second.")), "{rest}");
    let told = thousands(per_second);
    assert!(read("README.md").contains(&format!("its count grows by {told} a second")), "README.md: {told}");
    assert!(read("docs/metrics.md").contains(&format!("the count increases by {told} per second")));
    // And what it does not see, before somebody trusts it there.
    let blind = ["whose thread has no processor", "is stopped in its poll"];
    for document in ["README.md", "docs/metrics.md"] {
        let text = read(document);
        assert!(blind.iter().all(|words| text.contains(words)), "{document}: {blind:?}");
    }
}
