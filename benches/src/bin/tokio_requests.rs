//! What a watched Tokio runtime adds to a request: CPU time of the whole process, each server in a process of its own.
//!
//! `echo` answers with the 64 bytes that came; `hello` is axum. At the end a watched server is busy for a while and then idle, and
//! what the agent's threads took of that is told.
//!
//! `tokio_requests echo|hello [current|multi [GENERATIONS [ROUNDS [SLICE_MS [CONNECTIONS]]]]]`

use axum::routing::get;
use loopscope_agent::{Agent, Listen};
use loopscope_benches::requests::{self, Service, listen};
use loopscope_tokio::route::{RouteLayer, by_route};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower_layer::Identity;

const CONTENDERS: [(&str, &str); 10] = [
    ("off", "off"),
    ("off", "off (A/A)"),
    ("thread", "off, with a thread that sleeps"),
    ("empty", "off (hello: with a layer of axum's that does nothing)"),
    ("layer", "off, polls wrapped (hello: `RouteLayer`) for nobody"),
    ("attach", "attach and agent"),
    ("hooks", "build, no agent"),
    ("build", "build and agent"),
    ("wrap", "build and agent, polls wrapped (hello: `RouteLayer`)"),
    ("handler", "build and agent, polls wrapped (hello: `by_route`)"),
];

/// What has the layer, in `hello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrapped {
    Nothing,
    /// A layer that does nothing: what axum itself takes for any.
    Empty,
    Router,
    Handler,
}

fn main() {
    requests::run(&CONTENDERS, &["attach", "build"], serve);
}

fn serve(service: Service, builder: &mut Builder, contender: &str) {
    let _agent = matches!(contender, "attach" | "build" | "wrap" | "handler").then(|| {
        Agent::builder().listen(Listen::Nowhere).start().expect("an agent that listens nowhere starts")
    });
    if contender == "thread" {
        std::thread::spawn(|| std::thread::sleep(Duration::MAX));
    }
    let runtime = match contender {
        "hooks" | "build" | "wrap" | "handler" => loopscope_tokio::build(builder, "bench"),
        _ => builder.build(),
    }
    .expect("a runtime can be made");
    let _watch = (contender == "attach").then(|| loopscope_tokio::attach(runtime.handle(), "bench"));
    let wrapped = match contender {
        "empty" => Wrapped::Empty,
        "wrap" | "layer" => Wrapped::Router,
        "handler" => Wrapped::Handler,
        _ => Wrapped::Nothing,
    };
    runtime.block_on(async {
        let listener = listen().await;
        let serving = match service {
            Service::Echo => {
                tokio::spawn(echo(listener, matches!(wrapped, Wrapped::Router | Wrapped::Handler)))
            }
            Service::Hello => tokio::spawn(hello(listener, wrapped)),
        };
        serving.await.expect("it does not panic");
    });
}

async fn echo(listener: TcpListener, is_wrapped: bool) {
    while let Ok((mut stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("it is a TCP socket");
        let connection = async move {
            let mut bytes = [0; 64];
            while stream.read_exact(&mut bytes).await.is_ok() && stream.write_all(&bytes).await.is_ok() {}
        };
        match is_wrapped {
            true => loopscope_tokio::spawn(connection),
            false => tokio::spawn(connection),
        };
    }
}

async fn say_hello() -> &'static str {
    "hello"
}

async fn hello(listener: TcpListener, wrapped: Wrapped) {
    let at = |route| axum::Router::new().route("/", route);
    let app = match wrapped {
        Wrapped::Nothing => at(get(say_hello)),
        Wrapped::Empty => at(get(say_hello)).route_layer(Identity::new()),
        Wrapped::Router => at(get(say_hello)).route_layer(RouteLayer::new()),
        Wrapped::Handler => at(get(by_route(say_hello))),
    };
    axum::serve(listener, app).await.expect("it serves");
}
