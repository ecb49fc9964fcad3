//! Where an agent is asked: at a URL that somebody wrote, or, for a process of this machine, by its socket file.

use loopscope_probe::raw::agent_address::{AgentAddress, SocketPath};
use loopscope_probe::raw::directory::{Owner, agent_socket, runtime_directory};
use std::fmt;
use std::os::unix::net::UnixStream;

/// A URL, without a slash at its end, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    source: EndpointSource,
}

/// Who says that an agent is there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EndpointSource {
    /// Whoever wrote the command line.
    Given,
    /// The socket file beside a process's pages, in a directory that nobody else can write to.
    SocketFile,
    /// A page. Its agent may have ended, and another program may listen there now. With what was tried before, if anything.
    Page(Option<String>),
}

/// Tells whether a text of the command line is a URL of an agent, and no name of a process.
pub fn is_url(text: &str) -> bool {
    // Also what is behind a name or a path, such as `serve`'s folder of a process, and so more than an `AgentAddress`.
    ["http://", "https://", "unix:/"].iter().any(|scheme| text.starts_with(scheme))
}

impl Endpoint {
    /// An agent at a URL of the command line.
    pub fn given(url: &str) -> Endpoint {
        Endpoint { url: url.to_owned(), source: EndpointSource::Given }
    }

    /// The agent of a process of this machine, whose page tells `address`, and `socket`, which is beside the page where it does
    /// not: by its socket file where it has one, else at that address; `None` where it has neither.
    pub fn of_process(
        owner: Owner,
        socket: Option<AgentAddress>,
        address: Option<AgentAddress>,
    ) -> Option<Endpoint> {
        let path = match socket {
            Some(AgentAddress::SocketFile(path)) => path.as_path().to_owned(),
            _ => agent_socket(&runtime_directory(), owner),
        };
        let tried = match (UnixStream::connect(&path), SocketPath::new(&path)) {
            (Ok(_), Ok(path)) => {
                let url = AgentAddress::SocketFile(path).to_string();
                return Some(Endpoint { url, source: EndpointSource::SocketFile });
            }
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => error.to_string(),
        };
        let source = EndpointSource::Page(Some(format!("unix:{}: {tried}", path.display())));
        address.map(|address| Endpoint { url: address.local().to_string(), source })
    }

    /// An agent at the address that a page tells, which has no socket file: one of several in its process.
    pub fn at_address(address: &AgentAddress) -> Endpoint {
        Endpoint { url: address.local().to_string(), source: EndpointSource::Page(None) }
    }

    /// Returns the URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells whether it stands on the command line.
    pub fn is_given(&self) -> bool {
        self.source == EndpointSource::Given
    }

    /// Tells whether the token may be shown there: to whom the command line names, and to whoever proves who it is by a
    /// certificate. An agent's socket file asks its own user and root for none.
    pub fn may_see_token(&self) -> bool {
        self.source == EndpointSource::Given || self.url.starts_with("https://")
    }

    /// Returns what to add to the reason why nobody answered: what else was tried.
    pub fn tried(&self) -> String {
        match &self.source {
            EndpointSource::Page(Some(tried)) => format!("; tried before: {tried}"),
            EndpointSource::Page(None) | EndpointSource::Given | EndpointSource::SocketFile => String::new(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_socket_file_the_pages_address_is_asked_and_shown_a_token_over_tls_only() {
        let nobody = Owner { pid: u32::MAX, start: 7 };
        assert_eq!(Endpoint::of_process(nobody, None, None), None);
        let at = |address: &str| Endpoint::of_process(nobody, None, Some(address.parse().unwrap())).unwrap();
        let plain = at("127.0.0.1:9464");
        assert_eq!(plain.url(), "http://127.0.0.1:9464");
        assert!(plain.tried().contains(&format!("agent-{}-7.sock: ", u32::MAX)), "{}", plain.tried());
        for (endpoint, may) in [
            (plain, false),
            (at("unix:/run/x"), false),
            (at("https://127.0.0.1:9464"), true),
            (Endpoint::given("http://127.0.0.1:9464"), true),
        ] {
            assert_eq!(endpoint.may_see_token(), may, "{endpoint}");
        }
    }
}
