//! `loopscope demo`: a real service on our loop, under its own load, with the agent in it and trouble on request.
//!
//! Three threads do the work: the service's loop, the load's loop, and this one, which watches the pages like any
//! other reader and keeps the terminal. The agent has its own.

mod load;
mod request;
mod routes;
mod screen;
mod service;
mod stalls;
mod summary;
mod threads;
mod trouble;

use crate::args::{DemoArguments, Trouble};
use crate::duration;
use crate::error::Failure;
use crate::interrupt::Interrupt;
use clap::ValueEnum;
use load::Outcome;
use loopscope_agent::{Agent, Listen, Setting};
use loopscope_probe::Clock;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::pool::PoolValues;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_probe::raw::{registry, switch};
use loopscope_report::duration::show_ns;
use loopscope_spans::SpanLayer;
use screen::DemoScreen;
use stalls::{LOOK, Stalls};
use std::net::SocketAddr;
use std::time::Duration;
use summary::Summary;
use threads::LoopThread;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Stall thresholds of the demo. Its blocks last 300 ms, so "critical" comes earlier than the agent's default of a
/// second: `/-/ready` is to be seen failing.
const WARNING: Duration = Duration::from_millis(100);
const CRITICAL: Duration = Duration::from_millis(250);

const SECOND_NS: u64 = 1_000_000_000;

/// Lines come this long after whole seconds: in the middle of what goes wrong every two seconds, and of the calm between.
const LINE_OFFSET_NS: u64 = 150_000_000;

/// A pool that was full for less is not told of.
const POOL_FULL_NS: u64 = 100_000_000;

/// What there is to say instead of figures.
const OFF: &str = "LOOPSCOPE=off: no page, no agent, no metrics; `loopscope ls` does not list this process.";

/// Runs the demo to its end.
///
/// # Errors
/// An address cannot be listened on, or the machine has no room for a thread.
pub fn run(options: &DemoArguments) -> Result<(), Failure> {
    let mut interrupt = Interrupt::install()?;
    let screen = DemoScreen::new();
    log_to(&screen);
    let agent = start_agent(options)?;
    let service = threads::start_service(options.listen, options.trouble)?;
    let load = match options.rate {
        0 => None,
        rate => Some(threads::start_load(service.address, rate)?),
    };
    screen.print(&introduction(options, service.address, agent.url().and_then(|url| url.parse().ok())));
    let mut end = watch(options, &mut interrupt, &screen, &service);
    // The load goes first: it should not see the service close.
    let outcome = load.map(LoopThread::finish).transpose()?.unwrap_or_default();
    let served = service.served();
    service.finish()?;
    // A stall that ran when the end was asked for is over now.
    if let Some(page) = &end.page {
        end.stalls.look(page);
        end.pool = page.page().snapshot(page.clock()).pool;
    }
    screen.end_live();
    screen.print(&conclusion(&end, served, &outcome));
    agent.stop();
    Ok(())
}

/// Sends the agent's warnings to the screen, and spans to the flamegraph.
fn log_to(screen: &DemoScreen) {
    // The messages say it all; their fields are for machines.
    let only_message = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        _ => Ok(()),
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(screen.clone())
        .with_ansi(screen.is_live())
        .fmt_fields(only_message)
        .with_target(false)
        .without_time()
        .with_filter(LevelFilter::INFO);
    // A subscriber that is already there is not ours to replace, and cannot be: this is a program's first act.
    let _ = tracing_subscriber::registry().with(SpanLayer::new()).with(lines).try_init();
}

fn start_agent(options: &DemoArguments) -> Result<Agent, Failure> {
    let mut agent = Agent::builder().thresholds(WARNING, CRITICAL).install_recorder(true);
    // What the command line says, the environment does not change.
    if let Some(address) = options.metrics_listen {
        agent = agent.listen(Listen::Exactly(address)).fixed(&[Setting::Listen]);
    }
    if let Some(path) = &options.incidents_dir {
        agent = agent.incidents_dir(path).fixed(&[Setting::IncidentsDir]);
    }
    agent.start().map_err(|error| Failure::system("start the agent", error))
}

/// What is known at the end.
#[derive(Default)]
struct End {
    lasted_ns: u64,
    stalls: Stalls,
    /// The service's; `None` where nothing is told.
    page: Option<LocalPage>,
    /// Its pool at the end.
    pool: Option<PoolValues>,
}

/// Shows a line per second until the time is over, Ctrl-C, or the service's end.
fn watch(
    options: &DemoArguments,
    interrupt: &mut Interrupt,
    screen: &DemoScreen,
    service: &threads::RunningService,
) -> End {
    let clock = Clock::monotonic();
    let start = clock.now();
    let page = registry::pages().into_iter().find(|page| page.page().loop_name() == service::LOOP_NAME);
    let mut stalls = Stalls::default();
    let mut summary = page.as_ref().map(|page| Summary::new(page, service.served()));
    let mut next_line_ns = SECOND_NS + LINE_OFFSET_NS;
    loop {
        let asked = interrupt.wait(LOOK);
        let lasted_ns = clock.ns_between(start, clock.now());
        let is_over = options.duration.is_some_and(|length| u128::from(lasted_ns) >= length.as_nanos());
        if let (Some(page), Some(summary)) = (&page, &mut summary) {
            stalls.look(page);
            if lasted_ns >= next_line_ns {
                let whole_ns = lasted_ns.saturating_sub(LINE_OFFSET_NS) / SECOND_NS * SECOND_NS;
                next_line_ns = whole_ns + SECOND_NS + LINE_OFFSET_NS;
                let line = summary.line(page, service.served());
                if !options.quiet {
                    screen.live(&line);
                }
            }
        }
        if asked || is_over || service.has_ended() {
            return End { lasted_ns, stalls, page, pool: None };
        }
    }
}

fn introduction(options: &DemoArguments, service: SocketAddr, agent: Option<AgentAddress>) -> String {
    let (pid, program) = (std::process::id(), std::env::args().next().unwrap_or_default());
    let value = options.trouble.to_possible_value();
    let trouble = value.as_ref().map_or("none", |value| value.get_name());
    let hint = match options.trouble {
        Trouble::None => " (try --trouble block)",
        _ => " every 2 s",
    };
    let begin = format!(
        "loopscope demo, pid {pid}: {} requests/s of its own load, fault: {trouble}{hint}\n\
         \x20 service  http://{service}/\n",
        options.rate
    );
    let Some(agent) = agent.map(|address| address.local()) else {
        return format!("{begin}\x20 {OFF}\nCtrl-C stops it.\n\n");
    };
    format!(
        "{begin}\x20 metrics  {agent}/metrics\n\nIn another terminal, try:\n\x20 curl \
         'http://{service}/work?ms=20'\n\x20 curl -s {metrics} | grep -E \
         'stall_seconds|starvation_active|pool_queue_depth'\n\x20 curl -i {ready}          503 while the loop is \
         stalled for more than {}\n\x20 {program} ls\n\x20 {program} flame {pid} --for 10s\nCtrl-C stops it.\n\n",
        duration::show(CRITICAL),
        metrics = agent.curl_words("/metrics"),
        ready = agent.curl_words("/-/ready"),
    )
}

fn conclusion(end: &End, served: u64, load: &Outcome) -> String {
    let slowest = show_ns(load.slowest.as_nanos() as u64);
    let mut text = format!(
        "Served {served} requests in {}. The demo's own load: {} answered, {} failed, slowest {slowest}.\n",
        show_ns(end.lasted_ns),
        load.answered,
        load.failed
    );
    if switch::is_off() {
        return format!("{text}{OFF}\n");
    }
    text += &pool_words(end.pool.as_ref());
    text += &match &end.stalls.worst {
        None => format!("No stall longer than {}.\n", duration::show(WARNING)),
        Some(worst) => {
            let count = match end.stalls.count {
                1 => "1 stall".to_owned(),
                count => format!("{count} stalls"),
            };
            format!("{count}, the worst {} in {}.\n", show_ns(worst.ns), worst.what)
        }
    };
    text
}

/// Says that jobs had to wait for the pool, where they had.
fn pool_words(pool: Option<&PoolValues>) -> String {
    let Some(pool) = pool.filter(|pool| pool.saturated_ns > POOL_FULL_NS) else { return String::new() };
    // Those that wait still are in no histogram; of a pool that let nothing through, there are no others.
    let ended = pool.wait.iter().filter_map(|wait| wait.quantile_ns(1.0)).max().unwrap_or(0);
    let longest = ended.max(pool.oldest_wait_ns.unwrap_or(0));
    let waits = match pool.queued.unwrap_or(0) {
        0 => String::new(),
        1 => "; 1 job was still queued".to_owned(),
        queued => format!("; {queued} jobs were still queued"),
    };
    let full = show_ns(pool.saturated_ns);
    format!("The pool was full with jobs queued for {full}; longest wait {}{waits}.\n", show_ns(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conclusion_names_the_worst_stall() {
        let load = Outcome { answered: 99, failed: 1, slowest: Duration::from_millis(302) };
        let mut stalls = Stalls::default();
        for ms in [290, 301, 280] {
            stalls.ended(1, ms * 1_000_000, "timer parse_invoices (x.rs:1)".to_owned());
        }
        let text = conclusion(&End { lasted_ns: 6_000_000_000, stalls, ..End::default() }, 100, &load);
        assert!(text.contains("Served 100 requests in 6.0 s"), "{text}");
        assert!(text.contains("3 stalls, the worst 301 ms in timer parse_invoices (x.rs:1)"), "{text}");
        let quiet = conclusion(&End { lasted_ns: 1, ..End::default() }, 0, &load);
        assert!(quiet.contains("No stall longer than 100ms"), "{quiet}");
    }

    #[test]
    fn the_conclusion_says_for_how_long_jobs_waited_also_those_that_wait_still() {
        let told = |pool: PoolValues| pool_words(Some(&pool));
        // Nothing got through.
        let stuck = PoolValues {
            saturated_ns: 4_500_000_000,
            queued: Some(20),
            oldest_wait_ns: Some(4_400_000_000),
            ..PoolValues::default()
        };
        assert_eq!(
            told(stuck.clone()),
            "The pool was full with jobs queued for 4.5 s; longest wait 4.4 s; 20 jobs were still queued.\n"
        );
        let one = PoolValues { queued: Some(1), ..stuck.clone() };
        assert!(told(one).ends_with("; 1 job was still queued.\n"));
        let mut over = PoolValues { queued: Some(0), oldest_wait_ns: Some(0), ..stuck.clone() };
        over.wait[0].buckets[loopscope_probe::raw::histogram::slot(2_000_000_000)] = 1;
        over.wait[1].buckets[0] = 9;
        let longest = show_ns(over.wait[0].quantile_ns(1.0).unwrap());
        assert!(told(over).ends_with(&format!("; longest wait {longest}.\n")), "{longest}");
        // A pool that was full for a moment is not told of.
        assert_eq!(told(PoolValues { saturated_ns: POOL_FULL_NS, ..stuck }), "");
        assert_eq!(pool_words(None), "");
    }
}
