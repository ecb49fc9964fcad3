//! You will see an HTTPS server that hyper and rustls serve on our loop: `curl` it, and watch its callbacks.

#[path = "https/hyper_io.rs"]
mod hyper_io;
#[path = "https/service.rs"]
mod service;

use loopscope_loop::{Loop, Mode};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let _agent = loopscope_examples::watched();
    let (config, _certificate) = service::self_signed("localhost")?;
    let mut server = Loop::builder(()).name("https").build()?;
    let address = server.main(|cx| service::open(cx, ([127, 0, 0, 1], 0).into(), config))?;
    println!("curl --insecure https://localhost:{}/", address.port());
    println!("Ctrl-C ends it.");
    server.run(Mode::Default)?;
    Ok(())
}
