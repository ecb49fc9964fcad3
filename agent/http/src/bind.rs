//! Where a server is reached: its address or socket file, bound, with the rules for who may come in.

use crate::agent_socket::remove_dead;
use crate::auth::{Auth, BindScope};
use crate::error::ServerError;
use crate::secure::WebConfig;
use crate::token::Token;
use loopscope_probe::raw::agent_address::{AgentAddress, SocketPath};
use loopscope_probe::raw::control::ADDRESS_BYTES_MAX;
use loopscope_probe::raw::directory::own_user;
use loopscope_probe::raw::socket_file::SocketFile;
use std::fs::{DirBuilder, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fmt, fs, io};

/// The socket file's name until it is moved to where it belongs.
const SOCKET_NAME: &str = "s";

/// How many ports [`Listen::NextFree`] tries before it takes any.
const PORTS_TRIED: u16 = 64;

/// Where the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// The first free port of the 64 from this address on, else any free port: several programs on a host do not collide.
    NextFree(SocketAddr),
    /// This address; port 0 is any free port.
    Exactly(SocketAddr),
    /// A socket file that only its owner can open (mode 0600): for `curl --unix-socket` and the `loopscope` command.
    /// A file that a dead process left there is replaced. It is removed when the agent stops. Other processes find an
    /// agent's by its whole path, which may have 115 bytes.
    Unix(PathBuf),
    /// Nowhere: the agent only watches and warns.
    Nowhere,
}

impl Default for Listen {
    /// The next free port of 127.0.0.1 from 9464 on, the customary port of metrics exporters.
    fn default() -> Self {
        Listen::NextFree(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)))
    }
}

/// Reads what people write: `127.0.0.1:9464`, `localhost:9464`, `:9464` or `9464` (on 127.0.0.1), `unix:/path`, `off`.
impl FromStr for Listen {
    type Err = NoListen;

    fn from_str(text: &str) -> Result<Listen, NoListen> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Listen::Nowhere);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Listen::Unix(path.into())) } else { Err(NoListen) };
        }
        let port = text.strip_prefix("localhost:").or(text.strip_prefix(':')).unwrap_or(text);
        let on_loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        port.parse().map(on_loopback).or_else(|_| text.parse()).map(Listen::Exactly).map_err(|_| NoListen)
    }
}

/// A text is no place to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoListen;

impl fmt::Display for NoListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write it as 127.0.0.1:9464, 9464, unix:/path or off")
    }
}

impl std::error::Error for NoListen {}

/// What clients must show, and what they may call the server, as the program configured it.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    pub token_file: Option<PathBuf>,
    pub web_config: Option<PathBuf>,
    pub host_names: Vec<String>,
}

/// A bound server.
#[derive(Debug)]
pub struct BoundServer {
    pub listener: BoundSocket,
    address: AgentAddress,
    pub auth: Arc<Auth>,
}

/// A bound socket of either kind, not blocking.
#[derive(Debug)]
pub enum BoundSocket {
    Tcp(TcpListener, SocketAddr),
    /// The file goes first, with the server: see [`SocketFile`].
    Unix(SocketFile, UnixListener),
}

impl BoundServer {
    /// Binds; `None` where nothing is to be reached.
    ///
    /// # Errors
    /// The address or the path cannot be had, or the credentials cannot be used.
    pub fn open(listen: &Listen, credentials: &Credentials) -> Result<Option<BoundServer>, ServerError> {
        let token = credentials.token_file.as_deref().map(Token::read).transpose();
        let token = token.map_err(ServerError::Credentials)?.map(Arc::new);
        let web_config = credentials.web_config.as_deref().map(WebConfig::read).transpose();
        let web_config = web_config.map_err(ServerError::Credentials)?.map(Arc::new);
        let listener = match listen {
            Listen::Nowhere => return Ok(None),
            Listen::Unix(path) => unix(&whole(path)?)?,
            Listen::Exactly(address) => tcp(exactly(*address)?)?,
            Listen::NextFree(first) => tcp(next_free(*first)?)?,
        };
        let is_secure = web_config.as_ref().is_some_and(|config| config.acceptor().is_some());
        let place = listener.place();
        let address = listener.agent_address(is_secure)?;
        let host_names =
            credentials.host_names.iter().map(|name| host_name(name)).collect::<Result<_, _>>()?;
        let is_beside_pages = false;
        let name = address.page_text();
        let auth = Auth { place, address: name, is_beside_pages, host_names, token, web_config };
        Ok(Some(BoundServer { listener, address, auth: Arc::new(auth) }))
    }

    /// Checks that other processes can be told of it by a page.
    ///
    /// # Errors
    /// It is a socket file, and a page cannot hold its path.
    pub fn check_for_page(&self) -> Result<(), ServerError> {
        // What else there is, is shorter: the longest is `https://` with an IPv6 address, its scope and a port.
        let BoundSocket::Unix(file, _) = &self.listener else { return Ok(()) };
        let path = file.path();
        let (length, told) = (path.as_os_str().len(), self.address.page_text().len());
        if told <= ADDRESS_BYTES_MAX {
            return Ok(());
        }
        let most = ADDRESS_BYTES_MAX - (told - length);
        let why = format!("the path has {length} bytes, the maximum is {most}: choose a shorter one");
        Err(ServerError::Socket(path.to_owned(), why))
    }

    /// Returns where it is reached.
    pub fn agent_address(&self) -> AgentAddress {
        self.address.clone()
    }

    /// Returns the address, `None` for a socket file.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            BoundSocket::Tcp(_, address) => Some(*address),
            BoundSocket::Unix(..) => None,
        }
    }
}

impl BoundSocket {
    fn place(&self) -> BindScope {
        match self {
            BoundSocket::Unix(..) => BindScope::Unix,
            BoundSocket::Tcp(_, address) if address.ip().is_loopback() => BindScope::Loopback,
            BoundSocket::Tcp(..) => BindScope::Elsewhere,
        }
    }

    /// Returns where it is reached.
    ///
    /// # Errors
    /// It is a socket file, and nobody can be told of it.
    fn agent_address(&self, is_secure: bool) -> Result<AgentAddress, ServerError> {
        match self {
            BoundSocket::Unix(file, _) => {
                let why = "the path must be UTF-8";
                let refused = |_| ServerError::Socket(file.path().to_owned(), why.to_owned());
                SocketPath::new(file.path()).map(AgentAddress::SocketFile).map_err(refused)
            }
            BoundSocket::Tcp(_, address) if is_secure => Ok(AgentAddress::Tls(*address)),
            BoundSocket::Tcp(_, address) => Ok(AgentAddress::Tcp(*address)),
        }
    }
}

/// Returns a name as it is compared with the Host header: in lower case, without the dot that may end a whole name.
fn host_name(name: &str) -> Result<String, ServerError> {
    let plain = name.trim_end_matches('.').to_ascii_lowercase();
    match plain.is_empty() || plain.contains(|letter: char| ":/[]".contains(letter) || letter.is_whitespace())
    {
        false => Ok(plain),
        true => Err(ServerError::Credentials(format!(
            "{name:?} is not a host name: give the name without a port; IP addresses are always accepted"
        ))),
    }
}

fn tcp(listener: TcpListener) -> Result<BoundSocket, ServerError> {
    let explain = |error| ServerError::Listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), error);
    listener.set_nonblocking(true).map_err(explain)?;
    let address = listener.local_addr().map_err(explain)?;
    Ok(BoundSocket::Tcp(listener, address))
}

fn exactly(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ServerError::AddressInUse(address),
        _ => ServerError::Listen(address, error),
    })
}

fn next_free(first: SocketAddr) -> Result<TcpListener, ServerError> {
    for offset in 0..PORTS_TRIED {
        let Some(port) = first.port().checked_add(offset) else { break };
        let address = SocketAddr::new(first.ip(), port);
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(ServerError::Listen(address, error)),
        }
    }
    exactly(SocketAddr::new(first.ip(), 0))
}

/// Returns the path from the root on: who reads it from a page is in another directory, and this process may go to one.
fn whole(path: &Path) -> Result<PathBuf, ServerError> {
    std::path::absolute(path).map_err(|error| ServerError::Socket(path.to_owned(), error.to_string()))
}

/// Binds a socket file at a whole path.
fn unix(path: &Path) -> Result<BoundSocket, ServerError> {
    let refused = |error: io::Error| ServerError::Socket(path.to_owned(), error.to_string());
    make_room(path)?;
    // A new socket has the mode that the process's umask leaves, for a moment. So it is made where nobody else gets in,
    // and moved when its mode is right.
    let private = private_folder(path.parent().unwrap_or(Path::new("/"))).map_err(refused)?;
    let made = private.join(SOCKET_NAME);
    let bound = UnixListener::bind(&made).and_then(|listener| {
        listener.set_nonblocking(true)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        Ok(listener)
    });
    if bound.is_err() {
        let _ = fs::remove_file(&made);
    }
    let _ = fs::remove_dir(&private);
    let listener = bound.map_err(refused)?;
    Ok(BoundSocket::Unix(SocketFile::made(path), listener))
}

/// Makes a folder of this process's own in `folder`.
fn private_folder(folder: &Path) -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let private = folder.join(format!(".loopscope-{}-{number}.tmp", std::process::id()));
    let make = || DirBuilder::new().mode(0o700).create(&private);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && remove_leftover(&private) => make()?,
        made => made?,
    }
    Ok(private)
}

/// Removes such a folder that a killed process with the same pid left: in a container every start may have the same one.
fn remove_leftover(private: &Path) -> bool {
    let socket = private.join(SOCKET_NAME);
    let is_ours =
        fs::symlink_metadata(private).is_ok_and(|found| found.is_dir() && found.uid() == own_user());
    is_ours && (!socket.exists() || remove_dead(&socket)) && fs::remove_dir(private).is_ok()
}

/// Removes the socket of a process that is gone; anything else stays.
fn make_room(path: &Path) -> Result<(), ServerError> {
    let in_the_way = |why: &str| ServerError::Socket(path.to_owned(), why.to_owned());
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(in_the_way("another file exists at that path: choose another path, or remove it"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| in_the_way(&error.to_string()))
        }
        _ => Err(in_the_way("another process listens there: choose another path, or stop it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn open(path: &Path) -> Result<BoundServer, ServerError> {
        let opened = BoundServer::open(&Listen::Unix(path.to_owned()), &Credentials::default());
        opened.map(|entrance| entrance.expect("it is to be reached"))
    }

    #[test]
    fn a_socket_file_is_private_replaces_a_dead_one_and_goes_with_the_server() {
        let path = std::env::temp_dir().join(format!("loopscope-entrance-{}", std::process::id()));
        let entrance = open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((entrance.auth.place, entrance.address()), (BindScope::Unix, None));
        assert_eq!(entrance.auth.address, format!("unix:{}", path.display()));
        let message = open(&path).unwrap_err().to_string();
        assert!(message.contains("another process listens"), "{message}");
        // As a killed process leaves it.
        let BoundServer { listener: BoundSocket::Unix(file, listener), .. } = entrance else {
            unreachable!()
        };
        drop(listener);
        std::mem::forget(file);
        drop(open(&path).unwrap());
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        let message = open(&path).unwrap_err().to_string();
        assert!(message.contains("another file exists"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        let message = open(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(message.contains("/nowhere/at/all"), "{message}");
    }

    #[test]
    fn addresses_are_what_they_look_like() {
        let at = |text: &str| Some(Listen::Exactly(text.parse().unwrap()));
        for (text, expected) in [
            ("127.0.0.1:7000", at("127.0.0.1:7000")),
            ("[::1]:0", at("[::1]:0")),
            ("7000", at("127.0.0.1:7000")),
            (":0", at("127.0.0.1:0")),
            ("localhost:9", at("127.0.0.1:9")),
            ("unix:/run/app.sock", Some(Listen::Unix("/run/app.sock".into()))),
            ("off", Some(Listen::Nowhere)),
            ("unix:app.sock", None),
            ("of", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Listen>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_host_name_is_taken_as_clients_write_it_and_refused_where_it_is_none() {
        let names = |name: &str| {
            let credentials = Credentials { host_names: vec![name.to_owned()], ..Credentials::default() };
            BoundServer::open(&Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), &credentials)
        };
        for name in ["build-7.lan", "Build-7.LAN."] {
            assert_eq!(names(name).unwrap().unwrap().auth.host_names, ["build-7.lan"]);
        }
        for name in ["", ".", "build-7.lan:9464", "http://build-7", "[::1]", "a b"] {
            let message = names(name).unwrap_err().to_string();
            assert!(
                message.contains("without a port") && message.contains(&format!("{name:?}")),
                "{message}"
            );
        }
    }

    #[test]
    fn what_a_killed_process_left_beside_the_path_is_no_hindrance_unless_somebody_listens() {
        let folder = std::env::temp_dir().join(format!("loopscope-entrance-killed-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        // Whichever number comes next, here and in tests at the same time.
        let lefts: Vec<PathBuf> = (0..100)
            .map(|number| folder.join(format!(".loopscope-{}-{number}.tmp", std::process::id())))
            .collect();
        for left in &lefts {
            fs::create_dir(left).unwrap();
            drop(UnixListener::bind(left.join(SOCKET_NAME)).unwrap());
        }
        let path = folder.join("own.sock");
        drop(open(&path).unwrap());
        lefts.iter().for_each(|left| _ = fs::remove_dir_all(left));
        // Killed before it bound, and one that lives.
        let (early, alive) = (folder.join("early"), folder.join("alive"));
        fs::create_dir(&early).unwrap();
        fs::create_dir(&alive).unwrap();
        let _listener = UnixListener::bind(alive.join(SOCKET_NAME)).unwrap();
        assert!(remove_leftover(&early) && !remove_leftover(&alive));
        assert!(UnixStream::connect(alive.join(SOCKET_NAME)).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_successors_socket_file_stays() {
        let path = std::env::temp_dir().join(format!("loopscope-successor-{}", std::process::id()));
        let first = open(&path).unwrap();
        // As a process is replaced without a gap.
        fs::remove_file(&path).unwrap();
        let second = open(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok(), "the second one is reached still");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn where_the_next_ports_are_taken_any_free_one_is_taken() {
        let last = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::MAX));
        // Where it is another's, it is taken as well.
        let _taken = TcpListener::bind(last);
        let listener = next_free(last).unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), u16::MAX);
    }

    #[test]
    fn a_relative_path_is_told_as_a_whole_one() {
        let name = format!("loopscope-entrance-{}.tmp", std::process::id());
        let entrance = open(Path::new(&name)).unwrap();
        let whole = std::env::current_dir().unwrap().join(&name);
        assert_eq!(entrance.auth.address, format!("unix:{}", whole.display()));
        drop(entrance);
        assert!(!whole.exists());
    }

    #[test]
    fn a_path_that_no_page_can_hold_is_refused() {
        let folder = std::env::temp_dir().join(format!("loopscope-entrance-long-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let room = 115 - folder.as_os_str().len() - 1;
        for (name, part) in [
            (OsString::from("a".repeat(room)), None),
            (OsString::from("a".repeat(room + 1)), Some("116 bytes, the maximum is 115")),
            (OsString::from_vec(vec![b's', 0xff]), Some("UTF-8")),
        ] {
            let checked = open(&folder.join(name)).and_then(|entrance| entrance.check_for_page());
            let message = checked.err().map(|error| error.to_string());
            assert_eq!(message.is_none(), part.is_none(), "{message:?}");
            assert!(message.unwrap_or_default().contains(part.unwrap_or_default()));
        }
        fs::remove_dir(&folder).unwrap();
    }
}
