//! Service discovery for Prometheus: the agents of this host, in the format of its `http_sd_configs`.
//!
//! An array of groups, each with its targets and their labels. The labels `pid` and `name` are those of the merged page,
//! so that dashboards see the same processes whichever way they were scraped; those that begin with `__` are for
//! Prometheus itself and for relabelling.
//!
//! # Source
//! "Writing HTTP service discovery", Prometheus documentation, 2.42.

use crate::state::{Asked, AskedLoop};
use loopscope_probe::raw::agent_address::AgentAddress;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// Returns the targets. `asked_as` is what the client called this host: agents that listen on all addresses are called
/// that, too.
pub(crate) fn targets(living: &[Asked], asked_as: Option<&str>) -> Value {
    let target = |process: &Asked| {
        let (scheme, address) = match process.address.as_ref()? {
            AgentAddress::Tcp(address) => ("http", *address),
            AgentAddress::Tls(address) => ("https", *address),
            // Prometheus scrapes no socket files.
            AgentAddress::SocketFile(_) => return None,
        };
        // Surrounded by commas, as Prometheus's own discoveries do: a regular expression then needs no special cases.
        let list = |each: &dyn Fn(&AskedLoop) -> String| {
            format!(",{},", process.loops.iter().map(each).collect::<Vec<_>>().join(","))
        };
        Some(json!({
            "targets": [called(address, asked_as)],
            "labels": {
                "pid": process.pid.to_string(),
                "name": process.name,
                "__scheme__": scheme,
                "__meta_loopscope_loops": list(&|one| one.label.clone()),
                "__meta_loopscope_runtimes": list(&|one| one.runtime.clone()),
            },
        }))
    };
    Value::Array(living.iter().filter_map(target).collect())
}

/// Returns the address by which whoever asked reaches the agent.
fn called(listens: SocketAddr, asked_as: Option<&str>) -> String {
    if !listens.ip().is_unspecified() {
        return listens.to_string();
    }
    let name = asked_as.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let is_name = |name: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.[]:".contains(&byte);
        !name.is_empty() && name.bytes().all(is_plain)
    };
    let name = name.filter(is_name).map_or_else(|| IpAddr::from([127, 0, 0, 1]).to_string(), str::to_owned);
    format!("{name}:{}", listens.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::process_id::ProcessId;

    fn asked(pid: u32, address: Option<&str>) -> Asked {
        let of = |label: &str| AskedLoop {
            label: label.to_owned(),
            runtime: "mio".to_owned(),
            ..AskedLoop::default()
        };
        let loops = vec![of("web"), of("load")];
        Asked {
            pid,
            process: ProcessId::new(pid, 1, 0, 0),
            name: "demo".to_owned(),
            address: address.map(|address| address.parse().unwrap()),
            socket: Default::default(),
            user: None,
            loops,
        }
    }

    #[test]
    fn targets_are_those_that_listen_with_the_labels_of_the_merged_page() {
        let living = [asked(7, Some("127.0.0.1:9464")), asked(8, None), asked(9, Some("unix:/run/x"))];
        let expected = json!([{
            "targets": ["127.0.0.1:9464"],
            "labels": {
                "pid": "7",
                "name": "demo",
                "__scheme__": "http",
                "__meta_loopscope_loops": ",web,load,",
                "__meta_loopscope_runtimes": ",mio,mio,",
            },
        }]);
        assert_eq!(targets(&living, Some("h:9463")), expected);
        let secure = targets(&[asked(7, Some("https://127.0.0.1:9464"))], None);
        assert_eq!(secure[0]["targets"][0], "127.0.0.1:9464");
        assert_eq!(secure[0]["labels"]["__scheme__"], "https");
        assert_eq!(targets(&[], None), json!([]));
    }

    #[test]
    fn who_listens_everywhere_is_called_as_we_are() {
        for (address, asked_as, expected) in [
            ("0.0.0.0:9464", Some("10.0.0.5:9463"), "10.0.0.5:9464"),
            ("[::]:9464", Some("[::1]:9463"), "[::1]:9464"),
            ("0.0.0.0:9464", None, "127.0.0.1:9464"),
            ("0.0.0.0:9464", Some("a\"b:1"), "127.0.0.1:9464"),
            ("127.0.0.1:9465", Some("10.0.0.5:9463"), "127.0.0.1:9465"),
        ] {
            assert_eq!(called(address.parse().unwrap(), asked_as), expected);
        }
    }
}
