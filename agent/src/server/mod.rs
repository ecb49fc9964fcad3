//! What the agent answers over HTTP, on a thread of its own, `loopscope-http`.
//!
//! It asks the agent's thread for values, and encodes, compresses, draws and sends them here: who notices stalls is not kept
//! from it by who asks about them.

mod agent_client;
mod capture;
mod routes;
mod settings;

pub(crate) use settings::ServerSettings;

use crate::AgentError;
use crate::address_source::AddressSources;
use crate::server::agent_client::AgentClient;
use crate::server::capture::CaptureService;
use crate::server::routes::Router;
use crate::thread::AgentHandle;
use crate::watch::log::LogSender;
use loopscope_http::agent_socket::AgentSocket;
use loopscope_http::auth::Auth;
use loopscope_http::bind::BoundServer;
use loopscope_http::listener::Listener;
use loopscope_http::live::Live;
use loopscope_http::runtime_thread::RuntimeThread;
use loopscope_http::token::Token;
use loopscope_http::{Listen, ServerError, recorder, server};
use loopscope_probe::raw::agent_address::{AgentAddress, SocketPath};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the program's histograms are emptied of what they gathered: they keep every sample until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// A server that listens, and does not answer yet.
pub(crate) struct OpenServer {
    entrance: Option<BoundServer>,
    socket: Option<AgentSocket>,
    settings: ServerSettings,
}

impl OpenServer {
    /// Binds what the settings say. An address that cannot be had and need not be is logged; nobody asked for the default one.
    ///
    /// # Errors
    /// The address that was asked for cannot be had, or the credentials cannot be used.
    pub(crate) fn open(settings: ServerSettings, log: &LogSender) -> Result<OpenServer, AgentError> {
        let opened = BoundServer::open(&settings.listen, &settings.credentials);
        let opened = opened.map_err(|error| settings.explain(error));
        let is_optional = settings.is_address_optional || settings.listen == Listen::default();
        let entrance = unless_optional(opened, is_optional, |line| log.warn(line))?;
        entrance.as_ref().map_or(Ok(()), BoundServer::check_for_page)?;
        // Also where it has no address: commands of this user then find it by its pages.
        let open = || AgentSocket::open().map_err(|because| warn_of_socket_file(log, &because)).ok();
        let socket = if settings.listen == Listen::Nowhere { None } else { open() };
        Ok(OpenServer { entrance, socket, settings })
    }

    /// Returns what pages tell other processes to call; `None` where nobody answers.
    pub(crate) fn address_on_page(&self) -> Option<AgentAddress> {
        self.entrance.as_ref().map(BoundServer::agent_address)
    }

    /// Returns the socket file that pages tell other processes of this user; `None` where there is none.
    pub(crate) fn socket_on_page(&self) -> Option<AgentAddress> {
        let path = SocketPath::new(self.socket.as_ref()?.file.path()).ok()?;
        Some(AgentAddress::SocketFile(path))
    }

    /// Starts the thread that answers, where there is anything to answer or to keep in order. `addresses` name frames of
    /// sampled flamegraphs.
    ///
    /// # Errors
    /// The system refuses a thread, an epoll instance or a listening socket.
    pub(crate) fn start(
        self,
        agent: AgentHandle,
        addresses: AddressSources,
        log: LogSender,
    ) -> Result<Server, AgentError> {
        let address = self.entrance.as_ref().and_then(BoundServer::address);
        let url = self.entrance.as_ref().map(|entrance| entrance.agent_address().to_string());
        let is_needed = self.entrance.is_some() || self.socket.is_some() || self.settings.has_recorder;
        let start = move || {
            // As on all threads of ours: whatever is sent to the process is for its own threads.
            loopscope_stacks::block_signal();
            let client = Arc::new(AgentClient::new(agent, log, &self.settings));
            if client.has_recorder() {
                tokio::spawn(keep_recorder(client.clone()));
            }
            let refused = |error| ServerError::System("a listening socket", error);
            let token =
                self.settings.credentials.token_file.as_deref().and_then(|path| Token::read(path).ok());
            let rules = |path: &Path| Auth::of_socket_file_alone(path, token.map(Arc::new));
            answer(self.entrance, self.socket, rules, CaptureService::new(addresses), &client)
                .map_err(refused)?;
            Ok(|| ())
        };
        let background = if is_needed { Some(RuntimeThread::start("loopscope-http", start)?) } else { None };
        Ok(Server { address, url, background })
    }
}

/// Goes on without an address where this one cannot be had and need not be: what is wrong goes to `warn`.
fn unless_optional(
    opened: Result<Option<BoundServer>, ServerError>,
    is_optional: bool,
    warn: impl FnOnce(String),
) -> Result<Option<BoundServer>, ServerError> {
    match opened {
        Err(error @ (ServerError::AddressInUse(_) | ServerError::Listen(..) | ServerError::Socket(..)))
            if is_optional =>
        {
            warn(format!("this process is watched, without metrics and live page: {error}"));
            Ok(None)
        }
        opened => opened,
    }
}

/// Answers at the program's address, and at the socket file beside the pages, for which these are the `rules` where there is nothing
/// else.
fn answer(
    entrance: Option<BoundServer>,
    socket: Option<AgentSocket>,
    rules: impl FnOnce(&Path) -> Auth,
    captures: CaptureService,
    client: &Arc<AgentClient>,
) -> io::Result<()> {
    let live = Arc::<Live>::default();
    let router = |auth: Arc<Auth>| {
        let (captures, live, agent) = (captures.clone(), live.clone(), client.clone());
        Arc::new(Router { auth, captures, live, agent })
    };
    let of_address = entrance.as_ref().map(|entrance| entrance.auth.clone());
    if let Some(BoundServer { listener, auth, .. }) = entrance {
        tokio::spawn(server::serve(Listener::new(listener)?, auth.clone(), router(auth)));
    }
    let Some(socket) = socket else { return Ok(()) };
    let path = socket.file.path();
    let auth = of_address.map_or_else(|| rules(path), |auth| auth.of_socket_file(path));
    let auth = Arc::new(auth);
    match Listener::of_agent_socket(socket) {
        Ok(doorway) => _ = tokio::spawn(server::serve(doorway, auth.clone(), router(auth))),
        // The program can do without; it has no file then.
        Err(error) => warn_of_socket_file(client.log(), &format!("{}: {error}", auth.address)),
    }
    Ok(())
}

async fn keep_recorder(client: Arc<AgentClient>) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        client.keep_recorder();
    }
}

fn warn_of_socket_file(log: &LogSender, because: &str) {
    log.warn(format!("commands can reach this agent only by its address: no socket file {because}"));
}

/// Installs the recorder that the program asked for; says so where it has another one.
fn install_recorder(log: &LogSender) -> Option<recorder::Handle> {
    let handle = recorder::install();
    if handle.is_none() {
        log.warn(
            "the program has installed its own metrics recorder, so its metrics are not on the agent's /metrics"
                .to_owned(),
        );
    }
    handle
}

/// The thread that answers. Dropping it ends the thread, and returns when it has ended.
#[derive(Debug)]
pub(crate) struct Server {
    pub address: Option<SocketAddr>,
    pub url: Option<String>,
    background: Option<RuntimeThread>,
}

impl Server {
    /// Gives up the thread without touching it, as [`RuntimeThread::forget`] says.
    pub(crate) fn forget(mut self) {
        self.background.take().into_iter().for_each(RuntimeThread::forget);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::path::PathBuf;

    #[test]
    fn an_address_that_need_not_be_is_done_without_and_wrong_credentials_never() {
        let told = |error: ServerError, is_optional| {
            let mut lines = Vec::new();
            let entrance = unless_optional(Err(error), is_optional, |line| lines.push(line));
            (entrance.is_ok_and(|entrance| entrance.is_none()), lines)
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9500));
        let no_address = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let missing: [fn(SocketAddr, io::Error) -> ServerError; 3] = [
            |address, _| ServerError::AddressInUse(address),
            ServerError::Listen,
            |_, error| ServerError::Socket(PathBuf::from("/run/s"), error.to_string()),
        ];
        for error in missing {
            let (is_done_without, lines) = told(error(address, no_address()), true);
            assert!(is_done_without && lines[0].contains("without metrics and live page: "), "{lines:?}");
            assert_eq!(told(error(address, no_address()), false), (false, Vec::new()));
        }
        let open_to_all = ServerError::Credentials("the token file can be read by others".to_owned());
        assert_eq!(told(open_to_all, true), (false, Vec::new()));
    }
}
