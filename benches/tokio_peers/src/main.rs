//! What loopscope and other tools for Tokio add to a request: CPU time of the whole process, each server in a process of its own.
//!
//! All with `--cfg tokio_unstable`, so that loopscope times every poll here, which it does not on stable Tokio
//! (`tokio_requests` measures that). Each tool as its documentation has it: tokio-metrics instruments the connections of the echo
//! and the handler of the HTTP service, and samples the runtime once a second; tokio-console's subscriber records and nobody is
//! connected; dial9 writes its trace to memory. From this folder, so that `.cargo/config.toml` counts:
//!
//! `cargo run --release -- echo|hello [current|multi [GENERATIONS [ROUNDS [SLICE_MS [CONNECTIONS]]]]]`
//!
//! `serve hello current TOOL` is one of the servers. It blocks its worker for half a second where `/block` is asked for.

use loopscope_agent::{Agent, Listen};
use loopscope_benches::requests::{self, Service, listen};
use loopscope_tokio::route::RouteLayer;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_metrics::{RuntimeMonitor, TaskMonitor};

const CONTENDERS: [(&str, &str); 9] = [
    ("off", "off"),
    ("off", "off (A/A)"),
    ("attach", "loopscope, attach and agent"),
    ("build", "loopscope, build and agent"),
    ("wrap", "loopscope, build and agent, polls wrapped (hello: `RouteLayer`)"),
    ("histogram", "Tokio's own histogram of polls"),
    ("metrics", "tokio-metrics"),
    ("console", "tokio-console"),
    ("dial9", "dial9"),
];

fn main() {
    requests::run(&CONTENDERS, &[], serve);
}

fn serve(service: Service, builder: &mut Builder, tool: &str) {
    let _agent = matches!(tool, "attach" | "build" | "wrap")
        .then(|| Agent::builder().listen(Listen::Nowhere).start().expect("an agent starts"));
    let monitor = (tool == "metrics").then(TaskMonitor::new);
    if tool == "console" {
        console_subscriber::ConsoleLayer::builder().with_default_env().init();
    }
    let (runtime, _recorder) = runtime(builder, tool);
    let _watch = (tool == "attach").then(|| loopscope_tokio::attach(runtime.handle(), "bench"));
    let is_dial9 = tool == "dial9";
    let is_wrapped = tool == "wrap";
    runtime.block_on(async {
        if let Some(monitor) = monitor.clone() {
            tokio::spawn(sample(RuntimeMonitor::new(runtime.handle()), monitor));
        }
        let listener = listen().await;
        let serving = match service {
            Service::Echo => tokio::spawn(echo(listener, (is_wrapped, is_dial9), monitor)),
            Service::Hello => tokio::spawn(hello(listener, is_wrapped, monitor)),
        };
        serving.await.expect("it does not panic");
    });
}

fn runtime(builder: &mut Builder, tool: &str) -> (Runtime, Option<dial9::Recorder>) {
    use dial9::Dial9HandleTokioExt;
    match tool {
        "build" | "wrap" => (loopscope_tokio::build(builder, "bench").expect("a runtime can be made"), None),
        "dial9" => {
            let folder = format!("/dev/shm/dial9-{}", std::process::id());
            let buffer = dial9::DiskBuffer::builder()
                .base_path(folder)
                .max_file_size(16 << 20)
                .max_total_size(64 << 20)
                .build();
            let recorder = dial9::recorder(buffer.expect("a folder in memory")).build();
            let options = dial9::TokioAttachOptions::builder().task_tracking_enabled(true).build();
            let own = std::mem::replace(builder, Builder::new_current_thread());
            let runtime = recorder.handle().attach_tokio_runtime(own, options);
            (runtime.expect("a runtime can be made"), Some(recorder))
        }
        tool => {
            if tool == "histogram" {
                builder.enable_metrics_poll_time_histogram();
            }
            (builder.build().expect("a runtime can be made"), None)
        }
    }
}

/// What a program that exports the figures of tokio-metrics does.
async fn sample(runtime: RuntimeMonitor, tasks: TaskMonitor) {
    let is_told = std::env::var_os("TELL").is_some();
    for (of_runtime, of_tasks) in runtime.intervals().zip(tasks.intervals()) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if is_told {
            println!("{of_runtime:?}\n{of_tasks:?}");
        }
    }
}

async fn echo(listener: TcpListener, (is_wrapped, is_dial9): (bool, bool), monitor: Option<TaskMonitor>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("it is a TCP socket");
        match &monitor {
            Some(monitor) => drop(tokio::spawn(monitor.instrument(answer(stream)))),
            None if is_wrapped => drop(loopscope_tokio::spawn(answer(stream))),
            None if is_dial9 => drop(dial9::spawn(answer(stream))),
            None => drop(tokio::spawn(answer(stream))),
        }
    }
}

async fn answer(mut stream: TcpStream) {
    let mut bytes = [0; 64];
    while stream.read_exact(&mut bytes).await.is_ok() && stream.write_all(&bytes).await.is_ok() {}
}

async fn hello(listener: TcpListener, is_wrapped: bool, monitor: Option<TaskMonitor>) {
    let instrumented = move |answer: fn() -> &'static str| {
        let monitor = monitor.clone();
        move || async move {
            match monitor {
                Some(monitor) => monitor.instrument(async move { answer() }).await,
                None => answer(),
            }
        }
    };
    let app = axum::Router::new()
        .route("/", axum::routing::get(instrumented(|| "hello")))
        .route("/block", axum::routing::get(instrumented(block_here)));
    let app = if is_wrapped { app.route_layer(RouteLayer::new()) } else { app };
    axum::serve(listener, app).await.expect("it serves");
}

/// The fault: computes on the worker.
#[inline(never)]
fn block_here() -> &'static str {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        std::hint::spin_loop();
    }
    "blocked\n"
}
