//! A process to look at: some loops with a little to do, an agent, and trouble on command.
//!
//! `watched COUNT [TOKEN_FILE]` prints the agent's address, then takes commands from its input, one a line, and ends with it:
//!
//! - `block LOOP MS`: a timer called `parse_invoices` computes for so long;
//! - `flood LOOP MS`: microtasks queue themselves again for so long;
//! - `tick LOOP MS`: from now on a timer does next to nothing every so many milliseconds;
//! - `fill LOOP JOBS MS`: so many jobs of so long each for its pool of four threads.
//!
//! Loops have the names `loop-1` and up; the first is called `web`.

use loopscope_agent::{Agent, Listen};
use loopscope_loop::{Cx, Loop, Mode, RemoteHandle};
use loopscope_spans::SpanLayer;
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() {
    tracing_subscriber::registry().with(SpanLayer::new()).init();
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let listen = Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut builder = Agent::builder().listen(listen);
    if let Some(file) = std::env::args().nth(2) {
        builder = builder.token_file(file);
    }
    let agent = builder.start().expect("the first agent of this process");
    let posts: Vec<RemoteHandle<()>> = (1..=count).map(start_loop).collect();
    println!("http://{}", agent.address().expect("it listens"));
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match obey(&line, &posts) {
            Some(()) => println!("ok"),
            None => println!("no such command or loop: {line}"),
        }
    }
    // The loops run for ever; the agent says what it has to say, and all ends.
    agent.stop();
    std::process::exit(0);
}

/// Starts a loop on a thread of its own: a timer, microtasks after it, and now and then a job.
fn start_loop(number: usize) -> RemoteHandle<()> {
    let (send, post) = channel();
    let name = if number == 1 { "web".to_owned() } else { format!("loop-{number}") };
    let run = move || {
        let mut this = Loop::builder(()).name(&name).build().expect("a loop");
        this.main(|cx| {
            // Periods and lengths differ from loop to loop, so that the page has something to sort.
            let period = Duration::from_millis(20 + number as u64 * 7 % 60);
            let timer = cx.every(period, move |cx| tend(cx, number));
            cx.name(timer, "tend");
        });
        send.send(this.post_handle()).expect("the starter waits");
        this.run(Mode::Default).expect("nothing of it fails");
    };
    std::thread::Builder::new().name(format!("loop-{number}")).spawn(run).expect("a thread");
    post.recv().expect("the loop was made")
}

fn tend(cx: &mut Cx<'_, ()>, number: usize) {
    compute(Duration::from_micros(20 + number as u64 * 13 % 300));
    cx.microtask(|_| compute(Duration::from_micros(5)));
    if cx.iteration().is_multiple_of(8) {
        cx.work(|| compute(Duration::from_micros(200)), |_, _| {});
    }
}

fn obey(line: &str, posts: &[RemoteHandle<()>]) -> Option<()> {
    let mut words = line.split_whitespace();
    let (what, name) = (words.next()?, words.next()?);
    let number: usize = if name == "web" { 1 } else { name.strip_prefix("loop-")?.parse().ok()? };
    let mut numbers = words.map_while(|word| word.parse::<u64>().ok());
    let (first, second) = (numbers.next()?, numbers.next());
    let length = Duration::from_millis(second.unwrap_or(first));
    let post = posts.get(number - 1)?;
    let posted = match what {
        "block" => post.post(move |cx| {
            let timer = cx.after(Duration::ZERO, move |_| parse_invoices(length));
            cx.name(timer, "parse_invoices");
        }),
        "flood" => post.post(move |cx| retry(cx, Instant::now() + length)),
        "tick" => post.post(move |cx| {
            let timer = cx.every(length, |_| {});
            cx.name(timer, "tick");
        }),
        "fill" => post.post(move |cx| {
            for _ in 0..first {
                let job = cx.work(move || std::thread::sleep(length), |_, _| {});
                cx.name(job, "resize_image");
            }
        }),
        _ => return None,
    };
    posted.ok()
}

#[inline(never)]
fn parse_invoices(length: Duration) {
    let _span = tracing::info_span!("sum_amounts").entered();
    compute(length);
}

fn retry(cx: &mut Cx<'_, ()>, until: Instant) {
    if Instant::now() < until {
        cx.microtask(move |cx| retry(cx, until));
    }
}

#[inline(never)]
fn compute(length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
