//! Connections by their bytes, in virtual time.

use super::*;
use crate::answer::Answer;
use crate::service::Answering;
use hyper::http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

struct Echo;

impl Service for Echo {
    fn answer<'a>(&'a self, request: &'a Parts) -> Answering<'a> {
        Box::pin(async move { Answer::text(200, format!("{}\n", request.uri.path())) })
    }

    fn count(&self, _: &'static str, _: u16) {}

    fn warn(&self, _: String) {}
}

/// Serves one connection of a server with so many free places; returns the client's end.
fn connect(room: usize) -> DuplexStream {
    let (client, stream) = tokio::io::duplex(64 << 10);
    let room = Arc::new(Semaphore::new(room));
    let greeting = Greeting {
        client: Arc::new(Client::default()),
        peer: ClientInfo::default(),
        headers: Vec::new(),
        room,
    };
    tokio::spawn(converse(stream, Arc::new(greeting), Arc::new(Echo)));
    client
}

/// Asks, and reads the answer.
async fn ask(client: &mut DuplexStream, path: &str) -> String {
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(format!("{path}\n").as_bytes()) {
        if client.read_buf(&mut answer).await.unwrap() == 0 {
            return "closed".to_owned();
        }
    }
    String::from_utf8(answer).unwrap()
}

/// Runs in virtual time, which passes when nothing else is to be done.
fn in_virtual_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

#[test]
fn a_connection_is_kept_for_longer_than_usual_scrape_intervals() {
    in_virtual_time(async {
        let mut client = connect(CONNECTIONS_MAX);
        for path in ["/one", "/two", "/three"] {
            assert!(ask(&mut client, path).await.starts_with("HTTP/1.1 200"), "{path}");
            sleep(Duration::from_secs(120)).await;
        }
        let idle = Instant::now();
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0, "it is closed in the end");
        assert!(idle.elapsed() <= Duration::from_secs(31), "{:?}", idle.elapsed());
    });
}

#[test]
fn a_head_has_five_seconds_from_its_first_byte_on() {
    in_virtual_time(async {
        let mut client = connect(CONNECTIONS_MAX);
        ask(&mut client, "/one").await;
        sleep(Duration::from_secs(60)).await;
        client.write_all(b"GET /slow HTTP/1.1\r\n").await.unwrap();
        let begun = Instant::now();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        let took = begun.elapsed();
        assert!((4..=6).contains(&took.as_secs()), "{took:?}: {}", String::from_utf8_lossy(&rest));
        // One that never says anything has as long.
        let (begun, mut silent) = (Instant::now(), connect(CONNECTIONS_MAX));
        silent.read_to_end(&mut rest).await.unwrap();
        assert!((4..=6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    });
}

#[test]
fn idle_connections_leave_half_of_the_places_to_others() {
    in_virtual_time(async {
        let mut client = connect(CONNECTIONS_MAX / 2 - 1);
        ask(&mut client, "/one").await;
        let idle = Instant::now();
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0);
        assert!((4..=6).contains(&idle.elapsed().as_secs()), "{:?}", idle.elapsed());
    });
}
