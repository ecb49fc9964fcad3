//! Who is let in: by a token, a password, a certificate, or the file system; and what others are told.

#[path = "../agent/tests/support/mod.rs"]
mod support;

use loopscope_agent::{Agent, AgentError, Listen, ServerError};
use loopscope_host::{Host, HostBuilder};
use loopscope_probe::raw::directory::{Owner, agent_socket, runtime_directory};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use support::{HandLoop, any_port, builder, connect, get, request, turn, until};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const INCIDENTS: &str = "/debug/loopscope/incidents";

/// A directory of a test's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("loopscope-security-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with(agent: &Agent, path: &str, header: &str) -> support::Answer {
    request(agent, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n"))
}

#[test]
fn with_a_token_only_who_has_it_gets_more_than_numbers() {
    let (_turn, scratch) = (turn(), Scratch::new("token"));
    let file = scratch.write("token", TOKEN);
    let agent = builder().token_file(&file).start().unwrap();
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        assert_eq!(get(&agent, path).status, 200, "{path}");
    }
    for path in [
        INCIDENTS,
        "/debug/loopscope/incidents/1-1",
        "/debug/loopscope/thresholds",
        "/debug/loopscope/flamegraph?seconds=1",
        "/debug/pprof/profile?seconds=1",
    ] {
        let refused = get(&agent, path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.head.to_lowercase().contains("www-authenticate: bearer"), "{}", refused.head);
        let wrong = TOKEN.replace('0', "1");
        assert_eq!(with(&agent, path, &format!("Authorization: Bearer {wrong}\r\n")).status, 401, "{path}");
    }
    let right = format!("Authorization: bearer {TOKEN}\r\n");
    assert_eq!(with(&agent, INCIDENTS, &right).status, 200);
    // A token that is wrong is told also where none is needed: whoever sent it should know.
    assert_eq!(with(&agent, "/metrics", "Authorization: Bearer x\r\n").status, 401);
    agent.stop();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let error = builder().token_file(&file).start().unwrap_err();
    assert!(
        matches!(&error, AgentError::Server(ServerError::Credentials(why)) if why.contains("chmod 600")),
        "{error}"
    );
}

#[test]
fn where_others_reach_it_only_a_token_opens_more_than_numbers() {
    let (_turn, scratch) = (turn(), Scratch::new("elsewhere"));
    let everywhere = Listen::Exactly(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let agent = Agent::builder().listen(everywhere.clone()).start().unwrap();
    assert_eq!(get(&agent, "/metrics").status, 200);
    let refused = get(&agent, INCIDENTS);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("has no token"), "{}", refused.body);
    agent.stop();
    let file = scratch.write("token", TOKEN);
    let agent = Agent::builder().listen(everywhere).token_file(&file).start().unwrap();
    assert_eq!(get(&agent, INCIDENTS).status, 401);
    assert_eq!(with(&agent, INCIDENTS, &format!("Authorization: Bearer {TOKEN}\r\n")).status, 200);
}

#[test]
fn a_socket_file_answers_its_owner_and_goes_with_the_agent() {
    let (_turn, scratch) = (turn(), Scratch::new("unix"));
    let path = scratch.0.join("agent.sock");
    let agent = Agent::builder().listen(Listen::Unix(path.clone())).start().unwrap();
    assert_eq!((agent.address(), agent.url()), (None, Some(format!("unix:{}", path.display()).as_str())));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    write!(stream, "GET {INCIDENTS} HTTP/1.1\r\nHost: any.name\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("[]"), "{answer}");
    agent.stop();
    assert!(!path.exists());
    let path = scratch.0.join("a".repeat(120));
    let error = Agent::builder().listen(Listen::Unix(path.clone())).start().unwrap_err().to_string();
    assert!(error.contains("choose a shorter one") && !path.exists(), "{error}");
}

/// An authority, and certificates that it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Returns a certificate for this host and its key; `expired` ones have been so for years.
    fn sign(&self, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, scratch: &Scratch, expired: bool) {
        let (certificate, key) = self.sign(expired);
        scratch.write("server.crt", &certificate);
        scratch.write("server.key", &key);
        scratch.write("ca.crt", &self.pem);
    }

    fn client(&self, own: Option<(String, String)>) -> ureq::Agent {
        let root = Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let mut tls = TlsConfig::builder().root_certs(RootCerts::from([root]));
        if let Some((certificate, key)) = own {
            let certificate = Certificate::from_pem(certificate.as_bytes()).unwrap();
            let key = PrivateKey::from_pem(key.as_bytes()).unwrap();
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&[certificate], key)));
        }
        let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls.build());
        ureq::Agent::new_with_config(config.build())
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn url(agent: &Agent, path: &str) -> String {
    format!("https://localhost:{}{path}", agent.address().unwrap().port())
}

#[test]
fn over_tls_with_users_and_a_renewed_certificate() {
    let (_turn, scratch, authority) = (turn(), Scratch::new("tls"), Authority::new());
    authority.write(&scratch, false);
    let hash = bcrypt::hash("open-sesame", 4).unwrap();
    let text = format!(
        "{TLS}http_server_config:\n  headers:\n    X-Frame-Options: deny\nbasic_auth_users:\n  alice: {hash}\n"
    );
    let agent = builder().web_config(scratch.write("web.yml", &text)).start().unwrap();
    assert!(agent.url().unwrap().starts_with("https://127.0.0.1:"));
    let client = authority.client(None);
    let ask = |path: &str, who: &str| {
        let url = url(&agent, path).replace("https://", &format!("https://{who}"));
        client.get(url).call().unwrap()
    };
    for path in ["/-/healthy", "/metrics", INCIDENTS] {
        assert_eq!(ask(path, "").status(), 401, "{path}");
        assert_eq!(ask(path, "alice:wrong@").status(), 401, "{path}");
        let answer = ask(path, "alice:open-sesame@");
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-frame-options"] == "deny"), (200, true));
    }
    // Whoever speaks no TLS gets no answer.
    let mut plain = connect(&agent);
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&rest));
    // Another authority's certificate comes into force by itself; a broken file changes nothing.
    let renewed = Authority::new();
    renewed.write(&scratch, false);
    let client = renewed.client(None);
    until("the renewed certificate", || client.get(url(&agent, "/-/healthy")).call().is_ok());
    scratch.write("server.crt", "nonsense");
    for _ in 0..3 {
        assert_eq!(client.get(url(&agent, "/-/healthy")).call().unwrap().status(), 401);
    }
}

#[test]
fn a_client_s_certificate_opens_everything_and_without_one_nothing_is_said() {
    let (_turn, scratch, authority) = (turn(), Scratch::new("clients"), Authority::new());
    authority.write(&scratch, false);
    let text = format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    let agent = builder().web_config(scratch.write("web.yml", &text)).start().unwrap();
    let known = authority.client(Some(authority.sign(false)));
    assert_eq!(known.get(url(&agent, INCIDENTS)).call().unwrap().status(), 200);
    assert!(authority.client(None).get(url(&agent, "/metrics")).call().is_err());
    let stranger = authority.client(Some(Authority::new().sign(false)));
    assert!(stranger.get(url(&agent, "/metrics")).call().is_err());
}

#[test]
fn a_certificate_that_expired_is_refused_with_its_date() {
    let (_turn, scratch, authority) = (turn(), Scratch::new("expired"), Authority::new());
    authority.write(&scratch, true);
    let error = builder().web_config(scratch.write("web.yml", TLS)).start().unwrap_err().to_string();
    assert!(error.contains("server.crt expired on") && error.contains("2020"), "{error}");
    authority.write(&scratch, false);
    let (_, other_key) = authority.sign(false);
    scratch.write("server.key", &other_key);
    let error = builder().web_config(scratch.write("web.yml", TLS)).start().unwrap_err().to_string();
    assert!(error.contains("cannot be used together"), "{error}");
}

/// Asks a server of this host for what the agent of this process has: by GET, by POST, or by a GET without a token ("open").
/// Returns the status and the body.
fn through(host: HostBuilder, method: &str, path: &str) -> (u16, String) {
    let host = host.listen(any_port()).start().unwrap();
    let url = format!("{}/process/{}{path}", host.url(), std::process::id());
    let client = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let right = format!("Bearer {TOKEN}");
    let answer = match method {
        "open" => client.get(url).call(),
        "POST" => client.post(url).header("X-Loopscope", "1").header("Authorization", right).send_empty(),
        _ => client.get(url).header("Authorization", right).call(),
    };
    let mut answer = answer.unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

#[test]
fn nobody_gets_past_an_agents_token_through_a_server_that_wants_none() {
    let (_turn, scratch) = (turn(), Scratch::new("open-host"));
    if fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().ne(["0", "0", "4294967295"]) {
        println!("skipped: a server without a token: this user namespace is not the machine's own");
        return;
    }
    let _loop = HandLoop::start("asked");
    let file = scratch.write("token", TOKEN);
    let agent = builder().token_file(&file).start().unwrap();
    let (status, told) = through(Host::builder(), "open", INCIDENTS);
    assert!(status == 502 && told.contains("requires a token"), "{status} {told}");
    assert!(told.contains("--guard-token-file"), "{told}");
    agent.stop();
    // Without one, the same user and root are answered.
    let agent = builder().start().unwrap();
    assert_eq!(through(Host::builder(), "open", INCIDENTS), (200, "[]".to_owned()));
    agent.stop();
}

#[test]
fn the_server_of_a_host_asks_agents_that_have_tls_and_a_token() {
    let (_turn, scratch, authority) = (turn(), Scratch::new("host"), Authority::new());
    authority.write(&scratch, false);
    let _loop = HandLoop::start("asked");
    let file = scratch.write("token", TOKEN);
    let ca = scratch.0.join("ca.crt");
    let agent = builder().web_config(scratch.write("web.yml", TLS)).token_file(&file).start().unwrap();
    let guarded = || Host::builder().token_file(&file);
    // By the socket file beside the page, to the user of both.
    assert_eq!(through(guarded(), "GET", INCIDENTS), (200, "[]".to_owned()));
    // As for whoever may read the page and not open the file.
    fs::remove_file(agent_socket(&runtime_directory(), Owner::this_process())).unwrap();
    let (status, told) = through(guarded(), "GET", INCIDENTS);
    assert!(status == 502 && told.contains("--ca-file"), "{status} {told}");
    let (status, told) = through(guarded().agents_authority(&ca), "GET", INCIDENTS);
    assert!(status == 502 && told.contains("--token-file"), "{status} {told}");
    let full = || guarded().agents_authority(&ca).agents_token_file(&file);
    assert_eq!(through(full(), "GET", INCIDENTS), (200, "[]".to_owned()));
    // What changes something goes through, too; the agent says that there is nothing to end.
    let (status, told) = through(full(), "POST", "/debug/loopscope/flamegraph?name=nothing");
    assert!(status == 404 && told.contains("nothing"), "{status} {told}");
    let (status, told) = through(full(), "POST", "/metrics");
    assert_eq!(status, 405, "{told}");
    // Somebody else's certificate is not believed, and no token is shown to whoever has it.
    scratch.write("other.crt", &Authority::new().pem);
    let (status, told) = through(full().agents_authority(scratch.0.join("other.crt")), "GET", INCIDENTS);
    assert!(
        status == 502
            && told.contains("cannot connect: its certificate is not signed by a trusted CA; set --ca-file"),
        "{status} {told}"
    );
    let error = guarded().listen(any_port()).agents_authority(&file).start().unwrap_err().to_string();
    assert!(error.contains("no certificate"), "{error}");
    // Else whoever is on this host would get past the agents' token.
    let open = Host::builder().listen(any_port()).agents_token_file(&file);
    let error = open.clone().start().unwrap_err().to_string();
    assert!(error.contains("--guard-token-file"), "{error}");
    drop(open.listen(Listen::Unix(scratch.0.join("host.sock"))).start().unwrap());
    agent.stop();
    // A socket file, which here is the page owner's; and what no agent answers is not asked.
    let agent = Agent::builder().listen(Listen::Unix(scratch.0.join("agent.sock"))).start().unwrap();
    assert_eq!(through(guarded(), "GET", INCIDENTS), (200, "[]".to_owned()));
    assert_eq!(through(guarded(), "GET", "/containers/json").0, 404);
    agent.stop();
}
