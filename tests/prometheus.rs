//! Rules, alerts and dashboards against real servers: Prometheus scrapes running loops, Alertmanager delivers.
//!
//! Both come from Debian's packages; where they are not installed, the tests say so and are skipped. They listen on ports
//! of their own on loopback, live for half a minute, and are ended by their process ids. Windows of rules are shortened
//! ([`Durations::Hurried`]); expressions and thresholds are those that are committed.

#[path = "prometheus/http.rs"]
mod http;
#[path = "prometheus/processes.rs"]
mod processes;
#[path = "prometheus/servers.rs"]
mod servers;
#[path = "prometheus/trouble.rs"]
mod trouble;
#[path = "prometheus/webhook.rs"]
mod webhook;

use loopscope_agent::Listen;
use loopscope_dashboards::durations::Durations;
use loopscope_dashboards::grafana::boards;
use loopscope_dashboards::recorded;
use loopscope_host::Host;
use processes::{Address, Pages, Watched};
use serde_json::Value;
use servers::{Alertmanager, BETWEEN, Demo, PATIENCE, Prometheus, Scratch, Storage, Target, until};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use webhook::Webhook;

/// How the two servers keep histograms that scrape the same targets.
const BOTH: [Storage; 2] = [Storage::Classic, Storage::Native];

/// A page of prom-client 15.1.3, as a process of Node 20 served it.
const PROM_CLIENT: &str = include_str!("prometheus/prom-client.txt");

/// Returns a panel's query with Grafana's variables filled in.
fn filled(query: &str) -> String {
    let windows = [("$__rate_interval", "20s"), ("$__range", "30s"), ("$__interval", "20s")];
    let chosen = ["job", "instance", "loop", "pool"].map(|name| (format!("\"${name}\""), "\".+\""));
    let query = windows.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value));
    let query = chosen.iter().fold(query, |query, (name, value)| query.replace(name, value));
    // The pages scraped here are agents' own: their series have neither label.
    let query = query.replace("$name", ".*").replace("$pid", ".*");
    assert!(!query.contains('$'), "a variable was not filled in: {query}");
    query
}

/// Returns every question of the dashboards and every recorded series, with where it is from.
fn questions() -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    // The demo is a loop of ours: these two are of other runtimes.
    let others = ["loopscope-tokio", "loopscope-node-loops"];
    for board in boards("runbooks").into_iter().filter(|board| !others.contains(&board.uid)) {
        for panel in board.panels() {
            let from = format!("{}: {}", board.uid, panel.title());
            all.extend(panel.queries().iter().map(|query| (from.clone(), filled(&query.expr))));
        }
        all.extend(board.marks().map(|query| (format!("{}: annotation", board.uid), filled(query))));
    }
    // The demo has no runtime of several workers.
    all.retain(|(_, query)| !query.contains("loopscope_worker_"));
    for group in recorded::groups(Durations::Production) {
        all.extend(group.rules.into_iter().map(|rule| ("recorded".to_owned(), rule.name)));
    }
    all
}

#[test]
fn every_panel_and_every_rule_has_data_from_a_running_demo() {
    let (classic, native) = (Scratch::new("classic"), Scratch::new("native"));
    let Some(demo) = Demo::start() else { return };
    let node = http::serve_page(PROM_CLIENT);
    let targets =
        [Target { job: "loopscope", address: demo.address() }, Target { job: "node", address: &node }];
    let start = |scratch, storage| Prometheus::start(scratch, storage, &targets, None);
    let Some(classic) = start(&classic, Storage::Classic) else { return };
    let Some(native) = start(&native, Storage::Native) else { return };

    let count = questions().len();
    assert!(count > 120, "only {count} questions");
    let mut open: Vec<_> = [&classic, &native]
        .into_iter()
        .flat_map(|server| questions().into_iter().map(move |(from, query)| (server, from, query)))
        .collect();
    // Each has to have data at some moment of the demo's round of troubles.
    until(|| {
        open.retain(|(server, _, query)| !server.has_value(query));
        let left: Vec<String> = open
            .iter()
            .map(|(server, from, query)| format!("{:?} {from}: {query}", server.storage))
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("these have data:\n{}", left.join("\n"))) }
    });
    for server in [&classic, &native] {
        server.assert_rules_are_healthy();
    }
    // Both forms of a query return data everywhere only because each server keeps histograms in its own way.
    let buckets = "loopscope_loop_lag_seconds_bucket";
    assert!(classic.has_value(buckets) && !native.has_value(buckets));
    println!("{count} queries and rules returned data, with classic and with native histograms");
}

#[test]
fn alerts_reach_a_webhook_and_are_resolved() {
    let scratch = Scratch::new("alerts");
    let webhook = Webhook::start();
    let Some(alertmanager) = Alertmanager::start(&scratch, webhook.address()) else { return };
    let trouble = trouble::Troubled::start();
    let targets = [Target { job: "loopscope-tests", address: trouble.address() }];
    let Some(prometheus) =
        Prometheus::start(&scratch, Storage::Classic, &targets, Some(alertmanager.address()))
    else {
        return;
    };

    // A counter must be seen at 0 first.
    let baseline = "count_over_time(loopscope_blocked_total{severity=\"critical\"}[10s]) >= 3";
    until(|| {
        prometheus.has_value(baseline).then_some(()).ok_or_else(|| "three scrapes are there".to_owned())
    });
    trouble.fill_pool();
    trouble.block();
    trouble.flood();
    for name in ["LoopStalled", "LoopBlocked", "LoopStarved", "PoolSaturated"] {
        let alert = webhook.wait_for(name, "firing");
        let text = |part: &str| alert["annotations"][part].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("runbook_url"), format!("dashboards/runbooks/{name}.md"));
        let summary = text("summary");
        assert!(summary.contains("troubled") && !summary.contains("no value"), "{name}: {summary}");
        println!("{name} fires: {summary}");
    }
    for name in ["LoopStalled", "LoopBlocked", "LoopStarved", "PoolSaturated"] {
        webhook.wait_for(name, "resolved");
    }
    trouble.stop();
}

/// Fails where the webhook was told anything of the processes of the host that is not true of them.
fn assert_only_true(webhook: &Webhook, starved_pid: &str) {
    let names =
        |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let of_host = webhook.names(|labels| labels["job"] == "host" && labels["pid"] != *starved_pid);
    // On a machine that has more to do than processors, the others are short of one, too.
    let true_of_all = names(&["LagHigh", "TimersLate", "LoopShortOfProcessor"]);
    assert!(of_host.is_subset(&true_of_all), "{of_host:?}: {:#?}", webhook.all());
    // Its timers are late indeed, and so is what comes while a wait falls into a callback. No code is to blame: nothing says
    // that it blocks, or burns its budget.
    let of_starved = webhook.names(|labels| labels["pid"] == *starved_pid);
    let true_of_it = names(&["LagHigh", "LoopShortOfProcessor", "TimersLate"]);
    assert!(of_starved.is_subset(&true_of_it), "{of_starved:?}: {:#?}", webhook.all());
}

/// Waits for the alert of a starved process, from each server. Where the kernel lets its thread run all the same, there is nothing
/// to tell: the alert is for a fifth of the time.
fn wait_until_told(webhook: &Webhook, starved: &Watched, delay_before: Option<Duration>) {
    let pid = starved.pid().to_string();
    let mut looks = 0;
    until(|| {
        looks += 1;
        let (lasted, delay) = (BETWEEN * looks, starved.run_delay().zip(delay_before));
        let is_fed = delay.is_none_or(|(now, before)| now.saturating_sub(before) < lasted / 3);
        if lasted > PATIENCE / 2 && is_fed {
            println!(
                "skipped in part: a starved process: its thread was scheduled in spite of its neighbour"
            );
            return Ok(());
        }
        let is_told = |storage: Storage| {
            let names = webhook.names(|labels| labels["pid"] == *pid && labels["storage"] == storage.name());
            names.contains("LoopShortOfProcessor")
        };
        let are_told = BOTH.into_iter().all(is_told);
        are_told.then_some(()).ok_or_else(|| "the starved process is told as one".to_owned())
    });
}

/// Starts one process after the other behind one address, until both servers have seen four restarts; returns how many. Each is
/// slow to start, and lives until both have scraped it once.
fn live_and_crash(pages: &Path, restarted: &Address, servers: &[&Prometheus; 2]) -> u64 {
    let crashes = |server: &&Prometheus| {
        server.value("loopscope:process_restarts:changes15m{job=\"restarted\"}").unwrap_or(0.0)
    };
    let mut lives = 0;
    until(|| {
        lives += 1;
        let mut short = Watched::start(pages);
        restarted.lead_to(Some(&short));
        short.block(300);
        let own = format!("loopscope_loop_info{{job=\"host\",pid=\"{}\"}}", short.pid());
        let has_own = || servers.iter().all(|server| server.has_value(&own));
        until(|| has_own().then_some(()).ok_or_else(|| format!("{own} is there")));
        drop(short);
        restarted.lead_to(None);
        let seen = servers.iter().map(crashes).fold(f64::INFINITY, f64::min);
        if seen >= 4.0 { Ok(()) } else { Err(format!("{seen} of {lives} restarts are seen")) }
    });
    lives
}

/// All of them are on one page of the whole host, as a `loopscope serve` makes it, where every process has series of its own;
/// the one that crashes all the time also has a target of its own. Two servers scrape them, one with classic and one with native
/// histograms, and both tell the same.
#[test]
fn of_processes_that_are_short_lived_idle_stopped_starved_and_restarted_only_the_last_two_are_told() {
    let [scratch, of_native] = ["company", "company-native"].map(Scratch::new);
    let webhook = Webhook::start();
    let Some(alertmanager) = Alertmanager::start(&scratch, webhook.address()) else { return };
    let pages = Pages::new();
    let any = Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let host = Host::builder().listen(any).directory(pages.path()).start().unwrap();
    let host_address = host.address().unwrap().to_string();
    let restarted = Address::new();
    let targets = [
        Target { job: "host", address: &host_address },
        Target { job: "restarted", address: restarted.own() },
    ];
    let start =
        |scratch, storage| Prometheus::start(scratch, storage, &targets, Some(alertmanager.address()));
    let (Some(classic), Some(native)) =
        (start(&scratch, Storage::Classic), start(&of_native, Storage::Native))
    else {
        return;
    };
    let servers = [&classic, &native];
    let (idle, stopped) = (Watched::start(pages.path()), Watched::start(pages.path()));
    let mut starved = Watched::start(pages.path());
    // Before anybody scrapes it: no event waits in all the time that is seen of it.
    let asleep = Watched::start(pages.path());
    asleep.stop_in_its_poll();
    let [idle_pid, asleep_pid, stopped_pid, starved_pid] =
        [&idle, &asleep, &stopped, &starved].map(|process| process.pid().to_string());
    println!("idle: {idle_pid}, asleep: {asleep_pid}, stopped: {stopped_pid}, starved: {starved_pid}");
    let seen = "count(loopscope_loop_info{loop=\"web\",job=\"host\"})";
    let are_seen = || servers.iter().all(|server| server.value(seen) >= Some(4.0));
    until(|| are_seen().then_some(()).ok_or_else(|| "the processes are scraped".to_owned()));
    let spinner = starved.starve();
    let delay_before = starved.run_delay();
    stopped.stop_in_its_poll();
    let lives = live_and_crash(pages.path(), &restarted, &servers);
    stopped.signal("-CONT");
    if spinner.is_some() {
        wait_until_told(&webhook, &starved, delay_before);
    }
    for storage in BOTH {
        let is_of = |labels: &Value| labels["storage"] == storage.name();
        let told = webhook.wait_for_one("ProcessRestarts", "firing", is_of);
        assert_eq!(told["labels"]["job"], "restarted", "{told:#?}");
        println!("{storage:?}, {lives} short lives: {}", told["annotations"]["summary"]);
        // It is over when the last start is out of the window; by then everything else has had its time, too.
        webhook.wait_for_one("ProcessRestarts", "resolved", is_of);
    }
    // On the page of the host a life is a process of its own. Two alerts that are held for minutes are held for two seconds
    // here, and a start that takes 300 ms of a life, and the timers of a process that was stopped, are late indeed; the
    // windows of the restarted target's burn alerts are no longer than that of its restarts. The stories for promtool have
    // all of them in their true time.
    assert_only_true(&webhook, &starved_pid);
    drop((idle, asleep, stopped, starved, spinner, host));
}

/// What a scraper that has given up does: asks, and is gone before the answer.
fn hang_up(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Blocks the loop so many times, while scrapers hang up on the agent all the time.
fn block_under_hang_ups(trouble: &trouble::Troubled, blocks: u64) {
    for number in 1..=blocks {
        trouble.block();
        until(|| {
            // Nothing of it is read; more of them than an agent answers at once.
            for _ in 0..40 {
                hang_up(trouble.address())
                    .map_err(|error| format!("the agent takes connections: {error}"))?;
            }
            let counted = trouble.ledger().blocked_duration.count();
            if counted >= number { Ok(()) } else { Err(format!("block {number} is over")) }
        });
    }
}

#[test]
fn blocks_longer_than_a_scrape_s_time_out_are_whole_for_both_of_two_servers() {
    let (classic, native) = (Scratch::new("survival-classic"), Scratch::new("survival-native"));
    let trouble = trouble::Troubled::start();
    let targets = [Target { job: "loopscope-tests", address: trouble.address() }];
    let start = |scratch, storage| Prometheus::start(scratch, storage, &targets, None);
    let (Some(classic), Some(native)) = (start(&classic, Storage::Classic), start(&native, Storage::Native))
    else {
        return;
    };
    const BLOCKS: u64 = 3;
    block_under_hang_ups(&trouble, BLOCKS);
    let ledger = trouble.ledger();
    let (count, seconds) =
        (ledger.blocked_duration.count() as f64, ledger.blocked_duration.sum_ns as f64 / 1e9);
    assert!(seconds >= 4.0 * BLOCKS as f64, "{seconds}");
    let lag_seconds = ledger.lag.sum_ns as f64 / 1e9;
    for server in [&classic, &native] {
        let (count_of, sum_of) = match server.storage {
            Storage::Classic => ("NAME_count", "NAME_sum"),
            Storage::Native => ("histogram_count(NAME)", "histogram_sum(NAME)"),
        };
        let value = |form: &str, name: &str| {
            let labelled = |part: &str| format!("{part}{{loop=\"troubled\"}}");
            let query = match form.split_once("NAME)") {
                Some((function, _)) => format!("{function}{})", labelled(name)),
                None => labelled(&form.replace("NAME", name)),
            };
            server.value(&query).unwrap_or(0.0)
        };
        until(|| {
            let found = value(count_of, "loopscope_blocked_duration_seconds");
            if found >= count {
                Ok(())
            } else {
                Err(format!("{:?} has {found} of {count} blocks", server.storage))
            }
        });
        let found = value(sum_of, "loopscope_blocked_duration_seconds");
        assert!((found - seconds).abs() < 1e-6, "{:?}: {found} s of {seconds} s", server.storage);
        // Arrivals of a block wait for half of it, a thousand in a second; the loop's own turns add next to nothing.
        let lag = value(sum_of, "loopscope_loop_lag_seconds");
        assert!(
            lag >= lag_seconds && lag < lag_seconds * 1.01,
            "{:?}: {lag} of {lag_seconds}",
            server.storage
        );
        println!("{:?}: all {found:.3} s in {count} blocks, and {lag:.0} s of lag", server.storage);
    }
    trouble.stop();
}
