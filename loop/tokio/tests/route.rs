//! A handler that blocks is told by its route, and with the spans that are open in it.

mod support;

use axum::Router;
use axum::routing::{get, post};
use loopscope_tokio::route::{RouteLayer, by_route};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Block, Flavor, Running, Tier, agent, turn, until, workers};
use tower_layer::Layer;
use tower_service::Service;

fn ask(address: std::net::SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Serves on a free port, which is returned.
fn serve(running: &Running, app: Router) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    running.handle.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, app).await.unwrap();
    });
    address
}

#[test]
fn the_route_of_a_handler_that_blocks_is_told_in_both_tiers() {
    let _turn = turn();
    let agent = agent(40);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("routes {tier:?}");
        let running = Running::start(tier, Flavor::Multi, &name);
        running.wait_for_workers(&name, 2);
        let (block, act) = Block::new();
        let act = Arc::new(Mutex::new(Some(act)));
        let app = Router::new()
            .route("/users/{id}", get(|| async { "a user" }))
            .route("/block/{id}", post(|| async move { act.lock().unwrap().take().unwrap()() }))
            .route_layer(RouteLayer::new());
        let address = serve(&running, app);
        for id in 0..3 {
            assert!(ask(address, "GET", &format!("/users/{id}")).ends_with("a user"));
        }
        let asked = std::thread::spawn(move || ask(address, "POST", "/block/7"));
        block.wait_until_begun();
        let told = || {
            let all = agent.incidents().into_iter();
            all.filter(|one| one.r#loop.starts_with(&name)).find(|one| {
                // Where Tokio tells of each poll, the route is a part of that of the connection's task.
                let inner = one.spans.last().map_or(&one.culprit.name, |span| &span.name);
                inner == "POST /block/{id}"
            })
        };
        until("the incident with its route", || told().is_some());
        assert!(!told().unwrap().is_over);
        block.release();
        assert!(asked.join().unwrap().starts_with("HTTP/1.1 200"));
        until("its end", || agent.incidents().iter().all(|one| one.is_over));
        let sites: Vec<String> = workers(&name)
            .iter()
            .flat_map(|page| page.page().sites().read())
            .map(|site| site.name)
            .filter(|name| name.contains('/'))
            .collect();
        assert!(sites.contains(&"GET /users/{id}".to_owned()), "{sites:?}");
        assert!(sites.iter().all(|name| !name.contains("users/0")), "{sites:?}");
    }
}

#[test]
fn a_block_in_a_task_that_a_library_spawned_is_told_with_its_line() {
    let _turn = turn();
    let agent = agent(40);
    let running = Running::start(Tier::Attach, Flavor::Multi, "library");
    running.wait_for_workers("library", 2);
    let (block, act) = Block::new();
    let act = Arc::new(Mutex::new(Some(act)));
    let app = Router::new().route("/", get(|| async move { act.lock().unwrap().take().unwrap()() }));
    let address = serve(&running, app);
    let asked = std::thread::spawn(move || ask(address, "GET", "/"));
    block.wait_until_begun();
    until("the stall, with its line", || agent.incidents().iter().any(|one| support::has_block(one)));
    block.release();
    assert!(asked.join().unwrap().starts_with("HTTP/1.1 200"));
}

/// Answers nothing, after it has done something that takes so long, before there is a future.
#[derive(Clone)]
struct Nothing(Duration);

impl Service<http::Request<()>> for Nothing {
    type Response = ();
    type Error = ();
    type Future = std::future::Ready<Result<(), ()>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), ()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<()>) -> Self::Future {
        let begun = Instant::now();
        while begun.elapsed() < self.0 {
            std::hint::spin_loop();
        }
        std::future::ready(Ok(()))
    }
}

fn request(path: &str) -> http::Request<()> {
    http::Request::builder().uri(path).body(()).unwrap()
}

/// Returns how often polls of a route were told on the one worker of a runtime, and how long they took together.
fn told(name: &str, route: &str) -> (u64, Duration) {
    let page = &workers(name)[0];
    let snapshot = page.page().snapshot(page.clock());
    let is_it = |path: &&loopscope_probe::raw::paths::PathStat| {
        snapshot.site(path.site).is_some_and(|site| site.name == route)
    };
    let of_route = || snapshot.paths.iter().filter(is_it);
    (of_route().map(|path| path.calls).sum(), Duration::from_nanos(of_route().map(|path| path.self_ns).sum()))
}

#[test]
fn requests_without_a_pattern_are_named_by_their_path_where_that_is_wanted() {
    let _turn = turn();
    let runtime = loopscope_tokio::build(&mut support::builder(Flavor::Current), "paths").unwrap();
    runtime.block_on(async {
        let mut service = RouteLayer::by_path().layer(Nothing(Duration::ZERO));
        service.call(request("/greeter.Greeter/Hello")).await.unwrap();
    });
    let page = &workers("paths")[0];
    assert!(page.page().sites().read().iter().any(|site| site.name == "GET /greeter.Greeter/Hello"));
}

#[test]
fn a_request_is_as_many_polls_as_its_future_and_what_comes_before_is_a_part_of_the_first() {
    let _turn = turn();
    let runtime = loopscope_tokio::build(&mut support::builder(Flavor::Current), "once").unwrap();
    runtime.block_on(async {
        let mut service = RouteLayer::by_path().layer(Nothing(Duration::ZERO));
        for _ in 0..1_000 {
            service.call(request("/once")).await.unwrap();
        }
        // The page is settled when the worker parks.
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let (calls, _) = told("once", "GET /once");
    // One that was interrupted for long is told by itself.
    assert!((1_000..1_100).contains(&calls), "{calls} polls");
}

#[test]
fn what_runs_between_the_call_and_the_first_poll_of_its_future_is_no_part_of_the_route() {
    let _turn = turn();
    let runtime = loopscope_tokio::build(&mut support::builder(Flavor::Current), "between").unwrap();
    let long = Duration::from_millis(50);
    runtime.block_on(async {
        let mut service = RouteLayer::by_path().layer(Nothing(Duration::ZERO));
        let future = service.call(request("/between"));
        let begun = Instant::now();
        while begun.elapsed() < long {
            std::hint::spin_loop();
        }
        future.await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let (calls, took) = told("between", "GET /between");
    assert!(calls >= 1 && took < long, "{calls} polls, {took:?}");
}

#[test]
fn what_a_service_does_for_long_before_there_is_a_future_is_told_also_where_that_is_never_polled() {
    let _turn = turn();
    let runtime = loopscope_tokio::build(&mut support::builder(Flavor::Current), "unpolled").unwrap();
    let long = Duration::from_millis(2);
    runtime.block_on(async {
        let mut service = RouteLayer::by_path().layer(Nothing(long));
        drop(service.call(request("/unpolled")));
        service.call(request("/polled")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let (calls, took) = told("unpolled", "GET /unpolled");
    assert!(calls == 1 && took >= long, "{calls} polls, {took:?}");
    let (calls, took) = told("unpolled", "GET /polled");
    assert!(calls == 2 && took >= long, "{calls} polls, {took:?}");
}

#[test]
fn a_handler_is_named_by_its_route_with_what_it_takes_and_without_a_layer() {
    let _turn = turn();
    let running = Running::start(Tier::Build, Flavor::Current, "handlers");
    running.wait_for_workers("handlers", 1);
    async fn show(axum::extract::State(who): axum::extract::State<&'static str>, of: http::Method) -> String {
        format!("{who} by {of}")
    }
    let app = Router::new().route("/users/{id}", get(by_route(show))).with_state("a user");
    let address = serve(&running, app);
    assert!(ask(address, "GET", "/users/7").ends_with("a user by GET"));
    until("the poll", || {
        running.poke();
        told("handlers", "GET /users/{id}").0 >= 1
    });
}

/// One request to a router, as a server passes it on.
async fn pass_on(app: &mut Router, path: &str) {
    let request = http::Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
    let _ = Service::call(app, request).await.unwrap();
}

#[test]
fn a_route_is_told_on_the_page_of_the_runtime_that_serves_it_where_a_thread_runs_two_by_turns() {
    let _turn = turn();
    let names = ["first of two", "second of two"];
    let runtimes =
        names.map(|name| loopscope_tokio::build(&mut support::builder(Flavor::Current), name).unwrap());
    let mut app = Router::new()
        .route("/a/{id}", get(|| async { "a" }))
        .route_layer(RouteLayer::new())
        .route("/b/{id}", get(by_route(async || "b")));
    for round in 0..6 {
        // Each time the other, and once the same again.
        let runtime = &runtimes[[0, 1, 0, 0, 1, 1][round]];
        runtime.block_on(async {
            // With its first park it tells that it is its turn.
            tokio::time::sleep(Duration::from_millis(1)).await;
            pass_on(&mut app, "/a/1").await;
            pass_on(&mut app, "/b/2").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }
    for name in names {
        for route in ["GET /a/{id}", "GET /b/{id}"] {
            // One that was interrupted for long is told in two parts.
            let (calls, _) = told(name, route);
            assert!((3..=6).contains(&calls), "{name}: {calls} polls of {route}");
        }
    }
}
