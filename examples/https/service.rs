//! An HTTPS service: hyper over rustls over connections of the loop. Each connection is one future; none of it is `Send`.

use super::hyper_io::HyperIo;
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{self, ServerConfig};
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use loopscope_loop::{Connection, Cx};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Makes a certificate for a host: what the server shows, and the certificate that its clients have to trust.
///
/// # Errors
/// The host is not a name, or the machine has no randomness.
pub fn self_signed(host: &str) -> Result<(ServerConfig, CertificateDer<'static>), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed([host.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    Ok((config, certificate))
}

/// Returns the cryptography that both sides use.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Listens on an address, and returns it with its port.
///
/// # Errors
/// What the operating system says when it refuses the address.
pub fn open(cx: &mut Cx<'_>, address: SocketAddr, config: ServerConfig) -> io::Result<SocketAddr> {
    let incoming = cx.incoming(address)?;
    let bound = cx.local_addr(incoming.key()).ok_or(io::ErrorKind::NotConnected)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    cx.spawn_async(|here| async move {
        loop {
            match incoming.accept().await {
                Ok(connection) => drop(here.spawn_local(serve(connection, acceptor.clone()))),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(error) => println!("cannot accept a connection: {error}"),
            }
        }
    });
    Ok(bound)
}

/// Serves one client. What fails is the client's, and ends this connection alone.
async fn serve(connection: Connection, acceptor: TlsAcceptor) {
    if let Ok(stream) = acceptor.accept(connection).await {
        let _ = http1::Builder::new().serve_connection(HyperIo(stream), service_fn(hello)).await;
    }
}

async fn hello(request: Request<Body>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(format!("Hello from the loop: {}\n", request.uri().path())))
}
