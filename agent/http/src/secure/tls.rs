//! Certificates and keys, and connections that are made secure with them.

use crate::client::ClientInfo;
use crate::secure::file::{Clients, Tls};
use loopscope_probe::raw::clock::unix_ns;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Makes connections secure.
#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Shakes hands with a client. Returns the connection and what the client proved.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<(TlsStream<S>, ClientInfo)> {
        let secured = self.0.accept(stream).await?;
        // What was shown has been verified, or the handshake would have failed.
        let has_certificate = secured.get_ref().1.peer_certificates().is_some();
        Ok((secured, ClientInfo { has_certificate }))
    }
}

/// Reads the files of a configuration.
pub(super) fn acceptor(tls: &Tls) -> Result<Acceptor, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&tls.cert_file)?;
    let first = chain.first().ok_or_else(|| format!("{}: no certificate in it", tls.cert_file.display()))?;
    check_dates(first, &tls.cert_file)?;
    let key = key(&tls.key_file)?;
    let versions: Vec<_> = [(tls.is_tls12_allowed, &TLS12), (tls.is_tls13_allowed, &TLS13)]
        .into_iter()
        .filter_map(|(is_allowed, version)| is_allowed.then_some(version))
        .collect();
    let refused = |error: tokio_rustls::rustls::Error| {
        let (cert, key) = (tls.cert_file.display(), tls.key_file.display());
        format!("{cert} and {key} cannot be used together: {error}")
    };
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&versions).map_err(refused)?;
    let builder = match verifier(&tls.clients, provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
}

fn verifier(
    clients: &Clients,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let (file, must_have) = match clients {
        Clients::Anyone => return Ok(None),
        Clients::MayHave(file) => (file, false),
        Clients::MustHave(file) => (file, true),
    };
    let wrong = |what: String| format!("{}: {what}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if must_have { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(|error| wrong(error.to_string()))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |what: String| format!("the certificate {}: {what}", path.display());
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let wrong = |what: String| format!("the key {}: {what}", path.display());
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(error.to_string()))
}

/// A server does not check its own certificate, and every client would refuse it.
fn check_dates(certificate: &CertificateDer<'_>, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("the certificate {shown}: {error}"))?;
    let (validity, now) = (parsed.validity(), (unix_ns() / 1_000_000_000) as i64);
    if validity.not_after.timestamp() < now {
        return Err(format!("the certificate {shown} expired on {}: renew it", validity.not_after));
    }
    if validity.not_before.timestamp() > now {
        return Err(format!(
            "the certificate {shown} is not valid before {}: wait, or set this machine's clock",
            validity.not_before
        ));
    }
    Ok(())
}
