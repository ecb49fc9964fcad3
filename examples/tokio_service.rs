//! You will see an axum service on stable Tokio with planted faults, and which line of it blocks.
//!
//! `curl` the paths below, and then `loopscope incidents last`, `loopscope doctor`, `loopscope top`, or http://127.0.0.1:9464/. The
//! walkthrough is in `docs/tokio.md`.

use axum::Router;
use axum::routing::get;
use loopscope_tokio::route::RouteLayer;
use std::sync::Mutex;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let _watch = loopscope_tokio::start("web")?; // The one line; `RouteLayer` below also names the route.
    let app = Router::new()
        .route("/", get(|| async { "well\n" }))
        .route("/invoice/{id}", get(|| async { parse_invoice() }))
        .route("/sleep", get(|| async { sleep_the_wrong_way() }))
        .route("/lock", get(wait_for_a_lock))
        .route("/spin", get(wake_without_end))
        .route("/flood", get(flood_the_pool))
        .route_layer(RouteLayer::new());
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    let paths = ["", "invoice/7", "sleep", "lock", "spin", "flood"];
    paths.iter().try_for_each(|path| {
        println!("curl http://{}/{path}", listener.local_addr()?);
        Ok::<(), std::io::Error>(())
    })?;
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

static ACCOUNTS: Mutex<u64> = Mutex::new(0);

/// Waits on the worker for a lock that a job of the pool holds for long.
async fn wait_for_a_lock() -> &'static str {
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let held = ACCOUNTS.lock();
        // Whoever asks has gone away where nobody is told.
        let _ = tell.send(());
        std::thread::sleep(Duration::from_millis(400));
        drop(held);
    });
    // Ends also where the job does.
    let _ = told.await;
    add_account();
    "added\n"
}

#[inline(never)]
fn add_account() {
    *ACCOUNTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
}

/// Asks again and again, for twelve seconds, in place of waiting. Each poll is short and yields: no stall, but a busy worker.
async fn wake_without_end() -> &'static str {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        tokio::task::yield_now().await;
    }
    "spun\n"
}

/// Fills the blocking pool for a second.
async fn flood_the_pool() -> &'static str {
    for _ in 0..1_000 {
        loopscope_tokio::spawn_blocking(|| std::thread::sleep(Duration::from_millis(500)));
    }
    "flooded\n"
}
