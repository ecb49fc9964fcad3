//! The stall detector's own test, after Seastar's: `stalls ten` blocks a loop ten times, `stalls yields` keeps it as busy
//! with short callbacks between polls. Prints what the agent made of it as one line of JSON.

use loopscope_agent::{Agent, Listen};
use loopscope_loop::{Cx, Loop, Mode};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

const THRESHOLD: Duration = Duration::from_millis(10);
const BLOCK: Duration = Duration::from_millis(20);
const BUDGET: u32 = 5;

fn main() {
    let work: fn(&mut Cx<'_, u32>) = match std::env::args().nth(1).as_deref() {
        Some("ten") => block_again,
        Some("yields") => yield_again,
        other => {
            eprintln!("stalls: no case {other:?}; there are: ten, yields");
            std::process::exit(2);
        }
    };
    let lines = Lines::default();
    let log = tracing_subscriber::registry().with(lines.clone());
    tracing::subscriber::set_global_default(log).expect("the first of this process");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let agent = Agent::builder()
        .listen(Listen::Exactly(any_port))
        .thresholds(THRESHOLD, Duration::from_secs(30))
        .reports_per_minute(BUDGET);
    let agent = agent.start().expect("the first agent of this process");
    let mut main_loop = Loop::builder(0_u32).name("main").build().expect("a loop");
    main_loop.main(work);
    main_loop.run(Mode::Default).expect("nothing of it fails");
    let recorded = get(agent.address().expect("it listens"), "/debug/loopscope/incidents");
    drop(main_loop);
    agent.stop();
    let recorded: serde_json::Value = serde_json::from_str(&recorded).expect("a list");
    let told = serde_json::json!({ "recorded": recorded, "lines": lines.take() });
    println!("{told}");
}

fn block_again(cx: &mut Cx<'_, u32>) {
    *cx.state += 1;
    if *cx.state > 10 {
        return;
    }
    cx.after(Duration::from_millis(30), |cx| {
        spin(BLOCK);
        block_again(cx);
    });
}

/// An immediate that an immediate queues runs after the next poll.
fn yield_again(cx: &mut Cx<'_, u32>) {
    *cx.state += 1;
    if *cx.state > 2_000 {
        return;
    }
    cx.immediate(|cx| {
        spin(Duration::from_micros(500));
        yield_again(cx);
    });
}

fn spin(length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the agent listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the agent reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the agent answers in text");
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

/// Keeps the messages that are logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics with it"))
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().expect("nobody panics with it").push(message.0);
    }
}
