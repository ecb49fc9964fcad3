//! Tokio's current-thread runtime, doing what its peers do, the way programs on it are written.

use crate::ours_server::{ANSWER, requests};
use crate::rounds::{Random, answer, serving};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval_at, sleep};

const PENDING: usize = 100_000;
const OUTSTANDING: usize = 1024;

/// Runs one row; `None` where it is not one of these.
pub fn run(row: &str) -> Option<()> {
    match row {
        "timers-random" => start_and_fire(Random::any_ms),
        "timers-few" => start_and_fire(Random::few_ms),
        "cancel-random" => start_and_cancel(Random::far_ms),
        "cancel-few" => start_and_cancel(Random::few_far_ms),
        "refresh" => refresh(),
        "rearm" => rearm(),
        "timer-memory" => hold(),
        "futures" => futures(),
        "wake" => wake(),
        "pool-1" => pool(1),
        "pool-64" => pool(64),
        "echo" => serve(echo),
        "http" => serve(answer_requests),
        "hyper" => serve(hello),
        _ => return None,
    }
    Some(())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// One task a timer.
fn start_and_fire(duration_ms: fn(&mut Random) -> u64) {
    let (runtime, mut random) = (runtime(), Random::new());
    let all_fired = Arc::new(Notify::new());
    let left = Arc::new(AtomicU64::new(0));
    answer(|count| {
        left.store(count, Relaxed);
        runtime.block_on(async {
            for _ in 0..count {
                let (duration, left, all_fired) =
                    (ms(duration_ms(&mut random)), left.clone(), all_fired.clone());
                tokio::spawn(async move {
                    sleep(duration).await;
                    if left.fetch_sub(1, Relaxed) == 1 {
                        all_fired.notify_one();
                    }
                });
            }
            all_fired.notified().await;
        });
    });
}

/// A timer of Tokio is in its wheel once it was polled.
async fn started(duration_ms: u64) -> Pin<Box<Sleep>> {
    let mut sleep = Box::pin(sleep(ms(duration_ms)));
    poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await.is_ready();
    sleep
}

async fn started_many(count: usize, mut duration_ms: impl FnMut() -> u64) -> Vec<Pin<Box<Sleep>>> {
    let mut sleeps = Vec::with_capacity(count);
    for _ in 0..count {
        sleeps.push(started(duration_ms()).await);
    }
    sleeps
}

fn start_and_cancel(duration_ms: fn(&mut Random) -> u64) {
    let (runtime, mut random) = (runtime(), Random::new());
    let mut next_ms = || duration_ms(&mut random);
    let _pending = runtime.block_on(started_many(PENDING, &mut next_ms));
    let mut ring = runtime.block_on(started_many(OUTSTANDING, &mut next_ms));
    answer(|count| {
        runtime.block_on(async {
            for at in 0..count as usize {
                ring[at % OUTSTANDING] = started(next_ms()).await;
            }
        });
    });
}

fn refresh() {
    let runtime = runtime();
    let mut sleeps = runtime.block_on(started_many(10_000, || 60_000));
    answer(|count| {
        runtime.block_on(async {
            for at in 0..count as usize {
                sleeps[at % 10_000].as_mut().reset(Instant::now() + ms(60_000));
            }
        });
    });
}

fn rearm() {
    let (runtime, mut random) = (runtime(), Random::new());
    let enough = Arc::new(Notify::new());
    let left = Arc::new(AtomicU64::new(u64::MAX));
    runtime.block_on(async {
        for _ in 0..PENDING {
            let (period, left, enough) = (ms(random.period_ms()), left.clone(), enough.clone());
            tokio::spawn(async move {
                let mut interval = interval_at(Instant::now() + period, period);
                interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    interval.tick().await;
                    if left.fetch_sub(1, Relaxed) == 1 {
                        enough.notify_one();
                    }
                }
            });
        }
    });
    answer(|count| {
        left.store(count, Relaxed);
        runtime.block_on(enough.notified());
    });
}

fn hold() {
    let (runtime, mut random) = (runtime(), Random::new());
    let started = Arc::new(AtomicU64::new(0));
    answer(|count| {
        started.store(0, Relaxed);
        runtime.block_on(async {
            for _ in 0..count {
                let (duration, started) = (ms(random.far_ms()), started.clone());
                tokio::spawn(async move {
                    started.fetch_add(1, Relaxed);
                    sleep(duration).await;
                });
            }
            while started.load(Relaxed) < count {
                tokio::task::yield_now().await;
            }
        });
    });
}

/// One future that wakes itself and is polled again.
fn futures() {
    let runtime = runtime();
    answer(|count| {
        runtime.block_on(async {
            let mut left = count;
            let repeated = tokio::spawn(poll_fn(move |cx| {
                left -= 1;
                if left == 0 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
            repeated.await.expect("the task does not panic");
        });
    });
}

/// Two runtimes on two threads that wake each other in turn.
fn wake() {
    let (here, there) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (to_here, from_here) = (here.clone(), there.clone());
    std::thread::spawn(move || {
        runtime().block_on(async {
            loop {
                from_here.notified().await;
                to_here.notify_one();
            }
        })
    });
    let runtime = runtime();
    answer(|count| {
        runtime.block_on(async {
            for _ in 0..count {
                there.notify_one();
                here.notified().await;
            }
        });
    });
}

fn pool(outstanding: u64) {
    let runtime = runtime();
    answer(|count| {
        let left = Arc::new(AtomicU64::new(count));
        runtime.block_on(async {
            let submit = |left: Arc<AtomicU64>| async move {
                while left.load(Relaxed) > 0 {
                    left.fetch_sub(1, Relaxed);
                    tokio::task::spawn_blocking(|| ()).await.expect("the job does not panic");
                }
            };
            let tasks: Vec<_> = (0..outstanding).map(|_| tokio::spawn(submit(left.clone()))).collect();
            for task in tasks {
                task.await.expect("the task does not panic");
            }
        });
    });
}

/// Serves each connection by a task, until the process is killed.
fn serve<F: Future<Output = ()> + Send + 'static>(connection: fn(TcpStream) -> F) {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        serving(listener.local_addr().expect("a listener has an address").port());
        loop {
            let (stream, _) = listener.accept().await.expect("accept works");
            stream.set_nodelay(true).expect("a fresh connection takes options");
            tokio::spawn(connection(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answer_requests(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        for _ in 0..requests(&buffer[..count]) {
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

/// Hyper without a framework.
async fn hello(stream: TcpStream) {
    let service = hyper::service::service_fn(|_| async {
        Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"hello\n"))))
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error is the client's going away.
    let _ = connection.await;
}
