//! The HTTPS service of the examples: hyper and rustls serve clients on our loop, and one that talks nonsense harms nobody.

#[path = "../https/hyper_io.rs"]
mod hyper_io;
#[path = "../https/service.rs"]
mod service;

use futures_rustls::rustls::pki_types::CertificateDer;
use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use loopscope_loop::{Loop, Mode, RemoteHandle};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// A service on a thread of its own; it ends when this is dropped.
struct Open {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    post: RemoteHandle,
    thread: Option<JoinHandle<()>>,
}

type Client = BufReader<StreamOwned<ClientConnection, TcpStream>>;

fn open() -> Open {
    let (config, certificate) = service::self_signed("localhost").unwrap();
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut server = Loop::builder(()).name("https").build().unwrap();
        let address = server.main(|cx| service::open(cx, (Ipv4Addr::LOCALHOST, 0).into(), config)).unwrap();
        tell.send((address, server.post_handle())).unwrap();
        server.run(Mode::Default).unwrap();
    });
    let (address, post) = told.recv().unwrap();
    Open { address, certificate, post, thread: Some(thread) }
}

impl Open {
    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(service::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        BufReader::new(StreamOwned::new(session, self.dial()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.post.post(|cx| cx.stop());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Asks for a path, and returns the answer's status line and body.
fn ask(client: &mut Client, path: &str) -> (String, String) {
    write!(client.get_mut(), "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.get_mut().flush().unwrap();
    let mut lines = client.by_ref().lines().map(Result::unwrap);
    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body).unwrap();
    (head[0].clone(), String::from_utf8(body).unwrap())
}

#[test]
fn a_client_is_answered_again_and_again_on_one_connection() {
    let server = open();
    let mut client = server.client();
    for path in ["/", "/again", "/and/again"] {
        let answer = ask(&mut client, path);
        assert_eq!(answer, ("HTTP/1.1 200 OK".to_owned(), format!("Hello from the loop: {path}\n")));
    }
}

#[test]
fn many_clients_are_served_beside_those_who_talk_nonsense_or_leave() {
    let server = open();
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    let mut nonsense = server.dial();
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(server.dial());
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(ask(client, &format!("/{number}")).1, format!("Hello from the loop: /{number}\n"));
    }
    let mut refusal = Vec::new();
    // An alert of TLS, and the end.
    nonsense.read_to_end(&mut refusal).unwrap();
    assert_eq!(refusal.first(), Some(&21));
}
