//! The file's format: what is taken, and what is refused rather than silently left out.

use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Headers that the format knows.
const HEADERS: [&str; 6] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
    "Cache-Control",
];

/// What is written in a web configuration, checked.
#[derive(Debug)]
pub(super) struct Written {
    pub tls: Option<Tls>,
    /// Names, and bcrypt hashes of their passwords.
    pub users: BTreeMap<String, String>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The part about TLS, with paths that can be opened.
#[derive(Debug)]
pub(super) struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub clients: Clients,
    pub is_tls12_allowed: bool,
    pub is_tls13_allowed: bool,
}

/// Whether clients have to show a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Clients {
    Anyone,
    /// Certificates are verified where they are shown.
    MayHave(PathBuf),
    MustHave(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tls_server_config: Option<TlsPart>,
    http_server_config: Option<HttpPart>,
    // A key with nothing behind it is null in YAML, and an empty map to Prometheus.
    basic_auth_users: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsPart {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    client_ca_file: Option<PathBuf>,
    min_version: Option<String>,
    max_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpPart {
    http2: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

impl Written {
    /// Reads and checks the file.
    pub(super) fn read(path: &Path) -> Result<Written, String> {
        let wrong = |what: String| format!("the web configuration {}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        parse(&text, folder).map_err(wrong)
    }

    /// Returns the files that it names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let authority = match &tls.clients {
            Clients::Anyone => None,
            Clients::MayHave(file) | Clients::MustHave(file) => Some(file.clone()),
        };
        [Some(tls.cert_file.clone()), Some(tls.key_file.clone()), authority].into_iter().flatten().collect()
    }
}

fn parse(text: &str, folder: &Path) -> Result<Written, String> {
    // An empty file is a valid one, and no YAML document.
    let document = if text.trim().is_empty() { "{}" } else { text };
    let document: Document = serde_saphyr::from_str(document).map_err(|error| error.to_string())?;
    let tls = document.tls_server_config.map(|part| tls(part, folder)).transpose()?;
    let headers = document.http_server_config.map(http).transpose()?.unwrap_or_default();
    let users = document.basic_auth_users.unwrap_or_default();
    for (name, hash) in &users {
        if name.is_empty() || name.contains(':') {
            return Err(format!("basic_auth_users: {name:?} is not a valid user name"));
        }
        if hash.parse::<bcrypt::HashParts>().is_err() {
            return Err(format!(
                "basic_auth_users: the value for {name} is not a bcrypt hash; create one with `htpasswd -nBC 10 {name}`"
            ));
        }
    }
    Ok(Written { tls, users, headers })
}

fn tls(part: TlsPart, folder: &Path) -> Result<Tls, String> {
    // As the format says: relative to the file, not to where the program was started.
    let at = |path: PathBuf| folder.join(path);
    let (Some(cert_file), Some(key_file)) = (part.cert_file, part.key_file) else {
        return Err("tls_server_config: cert_file and key_file are both required".to_owned());
    };
    let versions = ["TLS12", "TLS13"];
    let version = |name: &str, written: Option<String>, default: usize| match written {
        None => Ok(default),
        Some(text) => versions.iter().position(|known| *known == text).ok_or_else(|| {
            format!("tls_server_config: {name} {text:?} is not supported: use TLS12 or TLS13")
        }),
    };
    let (least, most) =
        (version("min_version", part.min_version, 0)?, version("max_version", part.max_version, 1)?);
    if least > most {
        return Err("tls_server_config: min_version is above max_version".to_owned());
    }
    let clients = match (part.client_auth_type.as_deref(), part.client_ca_file) {
        (None | Some("NoClientCert" | ""), None) => Clients::Anyone,
        (None | Some("NoClientCert" | ""), Some(_)) => {
            return Err(
                "tls_server_config: client_ca_file requires client_auth_type: set RequireAndVerifyClientCert"
                    .to_owned(),
            );
        }
        (Some("VerifyClientCertIfGiven"), Some(file)) => Clients::MayHave(at(file)),
        (Some("RequireAndVerifyClientCert"), Some(file)) => Clients::MustHave(at(file)),
        (Some("VerifyClientCertIfGiven" | "RequireAndVerifyClientCert"), None) => {
            return Err(
                "tls_server_config: client_ca_file is missing: set the CA that signs client certificates"
                    .to_owned(),
            );
        }
        (Some(other), _) => {
            return Err(format!(
                "tls_server_config: client_auth_type {other:?} does not verify anything and is not supported; use \
                 NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            ));
        }
    };
    Ok(Tls {
        cert_file: at(cert_file),
        key_file: at(key_file),
        clients,
        is_tls12_allowed: least == 0,
        is_tls13_allowed: most == 1,
    })
}

fn http(part: HttpPart) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if part.http2 == Some(true) {
        return Err("http_server_config: http2 is not supported: omit it, or set it to false".to_owned());
    }
    let header = |(name, value): (String, String)| {
        let wrong = |what: &str| format!("http_server_config: header {name:?} {what}");
        if !HEADERS.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Err(wrong(&format!("is not one of {}", HEADERS.join(", "))));
        }
        let value = HeaderValue::from_str(&value).map_err(|_| wrong("has an invalid value"))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is not a header"))?;
        Ok((name, value))
    };
    part.headers.unwrap_or_default().into_iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn read(text: &str) -> Result<Written, String> {
        parse(text, Path::new("/etc/app"))
    }

    #[test]
    fn the_documented_format_is_read_with_paths_beside_the_file() {
        let text = format!(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: /keys/server.key\n  \
             client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  min_version: TLS13\n\
             http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n\
             basic_auth_users:\n  alice: {HASH}\n"
        );
        let written = read(&text).unwrap();
        assert_eq!(
            written.files(),
            ["/etc/app/server.crt", "/keys/server.key", "/etc/app/ca.crt"].map(PathBuf::from)
        );
        let tls = written.tls.unwrap();
        assert_eq!(tls.clients, Clients::MustHave("/etc/app/ca.crt".into()));
        assert_eq!((tls.is_tls12_allowed, tls.is_tls13_allowed), (false, true));
        assert_eq!((written.users.len(), written.headers.len()), (1, 1));
        for empty in [
            "",
            "\n",
            "{}",
            "basic_auth_users:\n  # nobody yet\n",
            "tls_server_config:\nhttp_server_config:\n",
            "http_server_config:\n  headers:\n",
        ] {
            let written = read(empty).unwrap();
            assert!(
                written.tls.is_none() && written.users.is_empty() && written.headers.is_empty(),
                "{empty:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_name() {
        let tls = |more: &str| format!("tls_server_config:\n  cert_file: a\n  key_file: b\n{more}");
        for (text, part) in [
            ("tls_config:\n  cert_file: a\n".to_owned(), "tls_config"),
            (tls("  cipher_suites: [TLS_X]\n"), "cipher_suites"),
            (tls("  min_version: TLS10\n"), "TLS10"),
            (tls("  min_version: TLS13\n  max_version: TLS12\n"), "above"),
            (tls("  client_auth_type: RequireAnyClientCert\n"), "does not verify anything"),
            (tls("  client_auth_type: RequireAndVerifyClientCert\n"), "client_ca_file is missing"),
            (tls("  client_ca_file: ca\n"), "RequireAndVerifyClientCert"),
            ("tls_server_config:\n  cert_file: a\n".to_owned(), "both required"),
            ("http_server_config:\n  http2: true\n".to_owned(), "http2"),
            ("http_server_config:\n  headers:\n    X-Mine: 1\n".to_owned(), "X-Mine"),
            ("basic_auth_users:\n  alice: secret\n".to_owned(), "htpasswd"),
            (format!("basic_auth_users:\n  \"a:b\": {HASH}\n"), "a:b"),
            ("- list\n".to_owned(), ""),
        ] {
            let message = read(&text).map(|_| ()).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        let message = Written::read(Path::new("/nowhere/web.yml")).unwrap_err();
        assert!(message.starts_with("the web configuration /nowhere/web.yml: "), "{message}");
    }
}
