//! One transport's part of the matrix: a directory of its own, nine blocked processes, and a server of the host.

use super::command::{Command, Done};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Deadline only to fail.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How an agent, and the server of the host, is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    SocketFile,
}

/// What a process is when it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    WithAgent,
    PageOnly,
    Killed,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::WithAgent, Mode::PageOnly, Mode::Killed];
}

/// What its loops are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    One,
    TwoOfOneName,
    Awkward,
}

impl Names {
    pub const ALL: [Names; 3] = [Names::One, Names::TwoOfOneName, Names::Awkward];

    /// The name that the loops were given; no process of another mode has a loop of this name.
    fn name(self, mode: Mode) -> String {
        match self {
            Names::One => format!("single {mode:?}"),
            Names::TwoOfOneName => format!("worker-{mode:?}"),
            Names::Awkward => format!("a/b?c#d é %2F {mode:?}"),
        }
    }

    /// What the loops are called everywhere, in order.
    fn labels(self, mode: Mode) -> Vec<String> {
        let name = self.name(mode);
        match self {
            Names::TwoOfOneName => vec![name.clone(), format!("{name}#2")],
            _ => vec![name],
        }
    }
}

/// A process of the matrix.
pub struct Cell {
    pub mode: Mode,
    pub names: Names,
    child: Child,
}

impl Cell {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The name that its loops were given.
    pub fn name(&self) -> String {
        self.names.name(self.mode)
    }

    /// What its loops are called everywhere, in order.
    pub fn labels(&self) -> Vec<String> {
        self.names.labels(self.mode)
    }
}

/// Everything of one transport.
pub struct World {
    pub transport: Transport,
    root: PathBuf,
    pub cells: Vec<Cell>,
    serve: Option<Child>,
    /// The address that the server of the host printed.
    pub server: String,
}

impl World {
    /// Starts all of it, and ends the processes that are to be killed.
    pub fn start(transport: Transport) -> World {
        let root = scratch(&format!("{transport:?}"));
        write_certificate(&root);
        let mut world = World { transport, root, cells: Vec::new(), serve: None, server: String::new() };
        for mode in Mode::ALL {
            for names in Names::ALL {
                let cell = world.start_cell(mode, names);
                world.cells.push(cell);
            }
        }
        world.start_server();
        world.wait_for_incidents(&["incidents", "--json", "--last", "100"]);
        for cell in world.cells.iter_mut().filter(|cell| cell.mode == Mode::Killed) {
            cell.child.kill().unwrap();
            cell.child.wait().unwrap();
        }
        // The server follows processes once a second.
        let server = world.server.clone();
        world.wait_for_incidents(&["incidents", &server, "--json", "--last", "100"]);
        world
    }

    /// Returns the command with the environment of this world.
    pub fn command(&self, arguments: &[&str]) -> Command {
        Command::new(arguments, &self.root.join("run"), &self.root.join("ca.crt"))
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        self.command(arguments).run()
    }

    /// Runs a line of shell in the same environment.
    pub fn shell(&self, line: &str) -> Done {
        Command::shell(line, &self.root.join("run"), &self.root.join("ca.crt")).run()
    }

    /// Returns what a command printed as JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value, String> {
        self.run(arguments).json()
    }

    fn start_cell(&self, mode: Mode, names: Names) -> Cell {
        let web_config = self.root.join("web.yml");
        let socket = self.root.join(format!("{mode:?} {names:?}.sock"));
        let transport = match (mode, self.transport) {
            (Mode::PageOnly, _) => "none".to_owned(),
            (_, Transport::Tcp) => "tcp".to_owned(),
            (_, Transport::Tls) => format!("tls:{}", web_config.display()),
            (_, Transport::SocketFile) => format!("socket:{}", socket.display()),
        };
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_identities"));
        command.arg(transport).env("LOOPSCOPE_RUNTIME_DIR", self.root.join("run"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = names.name(mode);
        command.args(names.labels(mode).iter().map(|_| &name));
        let mut cell = Cell { mode, names, child: command.spawn().unwrap() };
        line_with(&mut cell.child, "ready");
        cell
    }

    fn start_server(&mut self) {
        let listen = match self.transport {
            Transport::SocketFile => format!("unix:{}", self.root.join("the server.sock").display()),
            _ => "127.0.0.1:0".to_owned(),
        };
        let web_config = self.root.join("web.yml").display().to_string();
        let mut arguments = vec!["serve", "--listen", &listen];
        if self.transport == Transport::Tls {
            arguments.extend(["--web-config", &web_config]);
        }
        let mut child = self.command(&arguments).spawn();
        let line = line_with(&mut child, "  metrics  ");
        let address = line.trim().strip_prefix("metrics  ").unwrap();
        self.server = address.strip_suffix("/metrics").unwrap().to_owned();
        self.serve = Some(child);
    }

    /// Waits until a list has an incident of every blocked loop.
    fn wait_for_incidents(&self, list: &[&str]) {
        let wanted: usize = self.cells.iter().map(|cell| cell.labels().len()).sum();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.json(list).unwrap();
            if found["found"].as_u64().unwrap() as usize >= wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{wanted} incidents did not come: {found}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.cells.iter_mut().map(|cell| &mut cell.child).chain(&mut self.serve) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Makes a directory with a place for pages in it. Its path has a space, as that of a socket file may have.
pub fn scratch(name: &str) -> PathBuf {
    let root = PathBuf::from(format!("/dev/shm/loopscope matrix-{}-{name}", std::process::id()));
    for directory in [root.clone(), root.join("run")] {
        DirBuilder::new().mode(0o700).create(directory).unwrap();
    }
    root
}

/// Waits for a line of a child's output.
pub fn line_with(child: &mut Child, text: &'static str) -> String {
    let (send, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    loop {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line with `{text}`"));
        if line.contains(text) {
            return line;
        }
    }
}

/// Writes an authority, a certificate of this host that it signed, and the configuration that names it.
fn write_certificate(root: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    fs::write(root.join("ca.crt"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let host = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
    fs::write(root.join("server.crt"), host.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(root.join("server.key"), key.serialize_pem()).unwrap();
    let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    fs::write(root.join("web.yml"), text).unwrap();
}
