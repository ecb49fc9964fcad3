//! A process whose loops are all blocked, for the matrix of identities: who it is called by, and by which address.
//!
//! `identities TRANSPORT NAME...` starts an agent (`tcp`, `tls:WEB_CONFIG`, `socket:PATH`, or none with `none`) and one loop
//! for each name, prints `ready` when each is inside a callback called `hold`, and stays so until its input ends.

use loopscope_agent::{Agent, Listen};
use loopscope_loop::{Loop, Mode};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let transport = arguments.next().expect("a transport");
    let agent = start_agent(&transport);
    let (send, held) = channel();
    let names: Vec<String> = arguments.collect();
    for name in &names {
        start_loop(name.clone(), send.clone());
        // One after the other, so that the first of two with one name is the first on every list.
        held.recv().expect("the loop gets to its callback");
    }
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    if let Some(agent) = agent {
        agent.stop();
    }
    std::process::exit(0);
}

fn start_agent(transport: &str) -> Option<Agent> {
    let any_port = Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let builder = match transport.split_once(':') {
        None if transport == "none" => return None,
        None => Agent::builder().listen(any_port),
        Some(("tls", web_config)) => Agent::builder().listen(any_port).web_config(web_config),
        Some((_, path)) => Agent::builder().listen(Listen::Unix(path.into())),
    };
    Some(builder.start().expect("the first agent of this process"))
}

fn start_loop(name: String, held: Sender<()>) {
    let run = move || {
        let mut this = Loop::builder(()).name(&name).build().expect("a loop");
        this.main(|cx| {
            let timer = cx.after(Duration::ZERO, move |_| hold(&held));
            cx.name(timer, "hold");
        });
        this.run(Mode::Default).expect("nothing of it fails");
    };
    std::thread::Builder::new().name("held".to_owned()).spawn(run).expect("a thread");
}

/// Says that the loop is blocked, and stays for ever.
fn hold(held: &Sender<()>) {
    held.send(()).expect("the starter waits");
    loop {
        std::thread::park();
    }
}
