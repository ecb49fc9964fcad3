//! Agents with TLS: whose certificate is believed, and what is said where it is not.

use crate::child::Running;
use crate::scratch::{Done, Scratch};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Writes a certificate for `name` that is signed by itself, `file`.pem and `file`.key, after `change`.
fn certificate(scratch: &Scratch, file: &str, name: &str, change: impl FnOnce(&mut CertificateParams)) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    for (end, text) in [("pem", pem), ("key", key.serialize_pem())] {
        let path = scratch.work().join(format!("{file}.{end}"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Starts a demo whose agent shows `file`; returns it and the address of its agent.
fn demo(scratch: &Scratch, file: &str) -> (Running, String) {
    let config = format!("tls_server_config:\n  cert_file: {file}.pem\n  key_file: {file}.key\n");
    fs::write(scratch.work().join(format!("{file}.yml")), config).unwrap();
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let mut command = scratch.command(&arguments);
    command.env("LOOPSCOPE_WEB_CONFIG", format!("{file}.yml"));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut demo = Running::of(&mut command);
    let line = demo.line_with("  metrics  https://");
    let address = line.split("https://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    (demo, address)
}

fn ask(scratch: &Scratch, url: &str, authority: Option<&str>) -> Done {
    match authority {
        Some(file) => scratch.run(&["incidents", url, "--ca-file", file]),
        None => scratch.run(&["incidents", url]),
    }
}

#[test]
fn an_agent_s_certificate_is_believed_or_refused_with_what_to_do() {
    let scratch = Scratch::new("tls");
    certificate(&scratch, "right", "localhost", |_| {});
    certificate(&scratch, "other", "example.com", |_| {});
    certificate(&scratch, "authority", "localhost", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let refused = |file: &str, url: &str, authority: Option<&str>, why: &str| {
        let done = ask(&scratch, url, authority);
        assert_eq!(done.code, Some(1), "{file}, {authority:?}: {}{}", done.stdout, done.stderr);
        assert!(
            done.stderr.contains(why) && done.stderr.contains(url),
            "{file}, {authority:?}: {}",
            done.stderr
        );
    };
    for (file, why) in [
        ("right", None),
        ("other", Some("write the address by a name in the certificate")),
        ("authority", Some("basicConstraints=CA:FALSE")),
    ] {
        let (_demo, address) = demo(&scratch, file);
        let url = format!("https://{}", address.replace("127.0.0.1", "localhost"));
        let own = format!("{file}.pem");
        match why {
            Some(why) => refused(file, &url, Some(&own), why),
            None => {
                let done = ask(&scratch, &url, Some(&own));
                assert_eq!(done.code, Some(0), "{}", done.stderr);
                refused(file, &url, None, "not signed by a trusted CA; set --ca-file");
                refused(file, &url, Some("other.pem"), "not signed by a trusted CA; set --ca-file");
                refused(file, &format!("http://{address}"), Some(&own), "if it has TLS, write https://");
            }
        }
    }
    let mut plain = Running::demo(&scratch, &[]);
    let url = format!("https://{}", plain.address("metrics"));
    refused("plain", &url, Some("right.pem"), "does not speak TLS; its address begins with http://");
}

#[test]
fn a_file_that_is_none_is_named_with_what_it_is_for() {
    let scratch = Scratch::new("tls-files");
    fs::write(scratch.work().join("empty.pem"), "").unwrap();
    for (option, file, why) in [
        ("--ca-file", "none.pem", "cannot read the CA certificate file none.pem: No such file"),
        ("--ca-file", "empty.pem", "the CA certificate file empty.pem: no certificate in it"),
        ("--token-file", "none", "cannot read the token file none: No such file"),
    ] {
        let done = scratch.run(&["incidents", "https://127.0.0.1:1", option, file]);
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
}
