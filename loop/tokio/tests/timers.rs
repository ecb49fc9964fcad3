//! Whether a runtime has timers is known by how it waits: one without them is never asked for one, which would be a panic, and one
//! with them is known as soon as one is pending.

mod support;

use loopscope_probe::raw::registry;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use support::{DEADLINE, Flavor, KINDS, Tier, agent, turn};
use tokio::runtime::{Builder, Runtime};

/// Panics that the program's own hook was told of.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts panics from now on. No test of this program panics otherwise, as long as it succeeds.
fn count_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
    }));
}

fn of_flavor(flavor: Flavor) -> Builder {
    let mut builder = match flavor {
        Flavor::Multi => Builder::new_multi_thread(),
        Flavor::Current => Builder::new_current_thread(),
    };
    builder.worker_threads(2);
    builder
}

fn watched(tier: Tier, builder: &mut Builder, name: &str) -> (Runtime, Option<loopscope_tokio::Watch>) {
    if tier == Tier::Build {
        return (loopscope_tokio::build(builder, name).unwrap(), None);
    }
    let runtime = builder.build().unwrap();
    let watch = loopscope_tokio::attach(runtime.handle(), name);
    (runtime, Some(watch))
}

/// Returns how many timers of ours came.
fn beats(name: &str) -> u64 {
    let label = format!("{name}/shared");
    let page = registry::pages().into_iter().find(|page| page.label() == label).unwrap();
    page.page().snapshot(page.clock()).lag.count()
}

/// How a thread waits for some milliseconds, as a driver with timers would.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// In an epoll instance, with a time: that of another runtime, which has timers.
    OtherRuntime,
    /// For a condition, with a time.
    Channel,
    /// For a socket, with a time.
    Socket,
}

const WAITS: [Wait; 3] = [Wait::OtherRuntime, Wait::Channel, Wait::Socket];

impl Wait {
    fn act(self) {
        const TIME: Duration = Duration::from_millis(7);
        match self {
            Wait::OtherRuntime => {
                let other = Builder::new_current_thread().enable_all().build().unwrap();
                other.block_on(async { tokio::time::sleep(TIME).await });
            }
            Wait::Channel => {
                let (_tell, told) = channel::<()>();
                assert!(told.recv_timeout(TIME).is_err());
            }
            Wait::Socket => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(TIME)).unwrap();
                assert!(socket.recv(&mut [0]).is_err());
            }
        }
    }
}

/// What runs on the runtime waits in each way, on its worker and, of several, on a thread that was one.
async fn wait_in_each_way(flavor: Flavor, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        for wait in WAITS {
            if flavor == Flavor::Multi {
                tokio::task::block_in_place(|| wait.act());
            }
            // A runtime in a runtime is a panic.
            if !matches!(wait, Wait::OtherRuntime) {
                wait.act();
            }
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn one_without_timers_is_never_asked_for_one_whatever_its_threads_wait_in() {
    const FOR: Duration = Duration::from_millis(1_500);
    let _turn = turn();
    let _agent = agent(1_000);
    count_panics();
    for (tier, flavor) in KINDS {
        for has_io in [false, true] {
            let name = format!("none {tier:?} {flavor:?} {has_io}");
            let mut builder = of_flavor(flavor);
            if has_io {
                builder.enable_io();
            }
            let (runtime, watch) = watched(tier, &mut builder, &name);
            let begun = Instant::now();
            while begun.elapsed() < FOR {
                let is_over = Arc::new(AtomicBool::new(false));
                let tasks = [(); 3].map(|()| runtime.spawn(wait_in_each_way(flavor, is_over.clone())));
                runtime.block_on(async {
                    for _ in 0..20 {
                        tokio::task::spawn_blocking(|| Wait::Socket.act()).await.unwrap();
                    }
                    is_over.store(true, Ordering::Relaxed);
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
                // The thread of `block_on` may do what it wants between two runs.
                WAITS.iter().for_each(|wait| wait.act());
            }
            assert_eq!((PANICS.load(Ordering::Relaxed), beats(&name)), (0, 0), "{name}");
            drop((runtime, watch));
        }
    }
}

#[test]
fn one_with_timers_is_known_once_one_is_pending() {
    let _turn = turn();
    let _agent = agent(1_000);
    for (tier, flavor) in KINDS {
        for has_io in [false, true] {
            let name = format!("some {tier:?} {flavor:?} {has_io}");
            let mut builder = of_flavor(flavor);
            builder.enable_time();
            if has_io {
                builder.enable_io();
            }
            let (runtime, watch) = watched(tier, &mut builder, &name);
            let (tell, told) = channel();
            let of_it = name.clone();
            runtime.block_on(async move {
                let begun = Instant::now();
                while beats(&of_it) == 0 && begun.elapsed() < DEADLINE {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                tell.send(begun.elapsed()).unwrap();
            });
            println!("{name}: known after {:?}", told.recv().unwrap());
            assert!(beats(&name) > 0, "{name}");
            drop((runtime, watch));
        }
    }
}
