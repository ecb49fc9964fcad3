//! A block in a task that a library spawned, which knows nothing of us, is told with its line while it lasts: of hyper, of tonic, and
//! of a driver of a database.

#[path = "../../tests/support/mod.rs"]
mod support;

use hyper_util::rt::{TokioExecutor, TokioIo};
use loopscope_agent::Agent;
use loopscope_tokio::route::RouteLayer;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use support::{Block, Flavor, Running, Tier, agent, turn, until};

type Act = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

fn shared(act: impl FnOnce() + Send + 'static) -> Act {
    Arc::new(Mutex::new(Some(Box::new(act))))
}

/// Does it the first time.
fn act(shared: &Act) {
    let act = shared.lock().unwrap().take();
    if let Some(act) = act {
        act();
    }
}

fn listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Waits for the incident of a worker of `name` that is going on, with the guilty line.
fn wait_for_line(agent: &Agent, name: &str) {
    until(&format!("the stall of {name}, with its line"), || {
        let incidents = agent.incidents();
        let mut now = incidents.iter().filter(|one| one.group == name && !one.is_over);
        now.any(|one| format!("{:?}", one.stacks).contains("block_here"))
    });
}

fn wait_for_end(agent: &Agent) {
    until("its end", || agent.incidents().iter().all(|one| one.is_over));
}

#[test]
fn a_connection_of_hyper() {
    let _turn = turn();
    let agent = agent(40);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("hyper {tier:?}");
        let running = Running::start(tier, Flavor::Multi, &name);
        running.wait_for_workers(&name, 2);
        let (block, blocks) = Block::new();
        let blocks = shared(blocks);
        let (listener, address) = listener();
        running.handle.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(move |_| {
                act(&blocks);
                ready(Ok::<_, Infallible>(http::Response::new("well\n".to_owned())))
            });
            // Its streams are tasks of its own.
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(TokioIo::new(stream), service).await.unwrap();
        });
        let asked = running.handle.spawn(ask(address, "/"));
        block.wait_until_begun();
        wait_for_line(&agent, &name);
        block.release();
        wait_for_end(&agent);
        until("the answer", || asked.is_finished());
    }
}

/// Asks over HTTP/2.
async fn ask(address: SocketAddr, path: &'static str) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}{path}")).body(String::new()).unwrap();
    assert!(sender.send_request(request).await.unwrap().status().is_success());
}

/// A method of gRPC that blocks and then answers nothing.
#[derive(Clone)]
struct Greeter(Act);

impl tower_service::Service<http::Request<tonic::body::Body>> for Greeter {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        act(&self.0);
        ready(Ok(tonic::Status::ok("").into_http()))
    }
}

#[test]
fn a_method_of_tonic_by_its_name() {
    let _turn = turn();
    let agent = agent(40);
    let name = "tonic";
    let running = Running::start(Tier::Attach, Flavor::Multi, name);
    running.wait_for_workers(name, 2);
    let (block, blocks) = Block::new();
    let greeter = Greeter(shared(blocks));
    let (listener, address) = listener();
    running.handle.spawn(async move {
        let incoming = tokio::net::TcpListener::from_std(listener).unwrap();
        let incoming = tonic::transport::server::TcpIncoming::from(incoming);
        let server = tonic::transport::Server::builder().layer(RouteLayer::by_path());
        server.serve_with_incoming(greeter, incoming).await.unwrap();
    });
    let asked = running.handle.spawn(ask(address, "/greeter.Greeter/Hello"));
    block.wait_until_begun();
    wait_for_line(&agent, name);
    let told = format!("{:?}", agent.incidents());
    assert!(told.contains("POST /greeter.Greeter/Hello"), "{told}");
    block.release();
    wait_for_end(&agent);
    until("the answer", || asked.is_finished());
}

/// A logger that blocks, as one does whose pipe is full.
struct FullPipe(Mutex<Option<Act>>);

static LOG: FullPipe = FullPipe(Mutex::new(None));

impl log::Log for FullPipe {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let blocks = self.0.lock().unwrap().clone();
        if let Some(blocks) = blocks.filter(|_| record.args().to_string().contains("a notice")) {
            act(&blocks);
        }
    }

    fn flush(&self) {}
}

/// A server of the database that lets everybody in and then says something: the messages of its protocol, version 3.
fn serve_postgres(listener: &std::net::TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut startup).unwrap();
    let message =
        |kind: u8, body: &[u8]| [&[kind][..], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    stream.write_all(&message(b'R', &0u32.to_be_bytes())).unwrap();
    stream.write_all(&message(b'Z', b"I")).unwrap();
    stream.write_all(&message(b'N', b"SNOTICE\0C00000\0Ma notice\0\0")).unwrap();
    stream
}

#[test]
fn the_connection_of_a_driver_of_a_database() {
    let _turn = turn();
    let agent = agent(40);
    let name = "postgres";
    let running = Running::start(Tier::Attach, Flavor::Multi, name);
    running.wait_for_workers(name, 2);
    let (block, blocks) = Block::new();
    *LOG.0.lock().unwrap() = Some(shared(blocks));
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || serve_postgres(&listener));
    let client = running.handle.spawn(async move {
        let address = format!("host=127.0.0.1 port={port} user=somebody dbname=none");
        let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    });
    block.wait_until_begun();
    wait_for_line(&agent, name);
    block.release();
    wait_for_end(&agent);
    drop((server.join().unwrap(), client));
}
