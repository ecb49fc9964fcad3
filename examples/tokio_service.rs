//! You will see an axum service on stable Tokio with planted faults, and which line of it blocks.
//!
//! `curl` the paths below, and then `loopscope incidents`, `loopscope top`, or http://127.0.0.1:9464/.

use axum::Router;
use axum::routing::get;
use loopscope_tokio::route::RouteLayer;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let _watch = loopscope_tokio::start("web")?; // The one line; `RouteLayer` below also names the route.
    let app = Router::new()
        .route("/", get(|| async { "well\n" }))
        .route("/invoice/{id}", get(|| async { parse_invoice() }))
        .route("/sleep", get(|| async { sleep_the_wrong_way() }))
        .route("/flood", get(flood_the_pool))
        .route_layer(RouteLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!(
        "curl http://{0}/invoice/7; curl http://{0}/sleep; curl http://{0}/flood",
        listener.local_addr()?
    );
    axum::serve(listener, app).await?;
    Ok(())
}

/// Computes on the worker, for 300 ms.
fn parse_invoice() -> &'static str {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        std::hint::spin_loop();
    }
    "parsed\n"
}

/// Blocks the worker instead of the task.
fn sleep_the_wrong_way() -> &'static str {
    std::thread::sleep(Duration::from_millis(300));
    "slept\n"
}

/// Fills the blocking pool for a second.
async fn flood_the_pool() -> &'static str {
    for _ in 0..1_000 {
        loopscope_tokio::spawn_blocking(|| std::thread::sleep(Duration::from_millis(500)));
    }
    "flooded\n"
}
