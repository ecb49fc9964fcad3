//! Addresses of agents: what is written is read back, and nothing else passes.

use super::*;
use proptest::prelude::*;

fn addresses() -> impl Strategy<Value = AgentAddress> {
    let at = (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    let path = "/[^\\x00]{0,60}".prop_map(|path| SocketPath::new(Path::new(&path)).unwrap());
    prop_oneof![
        at.clone().prop_map(AgentAddress::Tcp),
        at.prop_map(AgentAddress::Tls),
        path.prop_map(AgentAddress::SocketFile),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
    #[test]
    fn an_address_is_read_back_from_its_text_and_from_a_page(address in addresses()) {
        prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
        prop_assert_eq!(address.page_text().parse(), Ok(address.clone()));
        prop_assert_eq!(address.local().local(), address.local());
    }

    #[test]
    fn what_is_read_is_written_so_that_it_means_the_same(text in "(http://|https://|unix:)?.{0,30}") {
        if let Ok(address) = text.parse::<AgentAddress>() {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}

#[test]
fn each_kind_has_its_text_and_its_words_for_curl() {
    for (page, url, curl) in [
        ("127.0.0.1:9464", "http://127.0.0.1:9464", "http://127.0.0.1:9464/m"),
        ("[::1]:9464", "http://[::1]:9464", "'http://[::1]:9464/m'"),
        ("0.0.0.0:9464", "http://0.0.0.0:9464", "http://127.0.0.1:9464/m"),
        ("https://[::]:1", "https://[::]:1", "'https://[::1]:1/m'"),
        (
            "unix:/run/a b's.sock",
            "unix:/run/a b's.sock",
            r"--unix-socket '/run/a b'\''s.sock' http://localhost/m",
        ),
    ] {
        let address: AgentAddress = page.parse().unwrap();
        let told = (address.page_text(), address.to_string(), address.curl_words("/m"));
        assert_eq!(told, (page.to_owned(), url.to_owned(), curl.to_owned()));
        assert_eq!(url.parse(), Ok(address.clone()));
    }
    assert_eq!("http://127.0.0.1:1/".parse::<AgentAddress>().unwrap().to_string(), "http://127.0.0.1:1");
}

#[test]
fn what_is_no_address_is_refused_with_what_to_write() {
    for text in
        ["", "nowhere", "127.0.0.1", "localhost:80", "http://", "http://127.0.0.1:1/x", "ftp://127.0.0.1:1"]
    {
        let error = text.parse::<AgentAddress>().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{text:?} is not the address")) && error.contains("9464"),
            "{error}"
        );
    }
    for text in ["unix:", "unix:run/x", "unix://", "unix:\0"] {
        let read = text.parse::<AgentAddress>();
        assert!(
            read.as_ref().is_ok_and(|_| text == "unix://")
                || read.unwrap_err().to_string().contains("full path")
        );
    }
}
