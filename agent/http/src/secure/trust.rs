//! By whom one lets oneself be convinced that a server is who it says: for asking agents that have TLS.

use crate::secure::tls::certificates;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// An authority whose signature is believed.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// Reads the authority's certificates.
    ///
    /// # Errors
    /// There is none in the file, or one that cannot be used; in words.
    pub fn read(path: &Path) -> Result<Trust, String> {
        let wrong = |what: String| format!("the authority {}: {what}", path.display());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("no certificate in it".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with the server at `address`, whose certificate must be for that.
    ///
    /// # Errors
    /// It is not, or nobody speaks TLS there.
    pub async fn connect<S>(&self, stream: S, address: IpAddr) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.connect(address.into(), stream).await
    }
}

/// Says why a client did not get through the TLS handshake with a server, and what to do about it; `None` where
/// `error` is of another kind.
pub fn explain_handshake(error: &io::Error) -> Option<String> {
    let why = match error.get_ref()?.downcast_ref()? {
        Error::InvalidCertificate(why) => why,
        Error::InvalidMessage(_) => {
            return Some("does not speak TLS; its address begins with http://".to_owned());
        }
        _ => return None,
    };
    Some(match why {
        // The other key of a CA that was made anew under the old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not signed by a trusted CA; set --ca-file to the CA that signed it".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("{why}; write the address by a name in the certificate")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it on the agent's machine".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; compare the clocks of the two machines".to_owned()
        }
        // The library has no name of its own for this; its text is that of the type below it.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is a CA's own, which is not accepted for a server; make one with \
             basicConstraints=CA:FALSE"
                .to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    })
}
