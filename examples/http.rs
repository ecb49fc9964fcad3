//! You will see an HTTP server whose slow work runs in the thread pool: `curl` it, and watch its callbacks.

#[path = "http/service.rs"]
mod service;

use loopscope_loop::{Loop, Mode};
use service::Connections;
use std::io;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut server = Loop::builder(Connections::new()).name("http").build()?;
    server.main(|cx| {
        let address = service::open(cx, ([127, 0, 0, 1], 0).into())?;
        println!("curl http://{address}/       answers on the loop");
        println!("curl http://{address}/slow   computes in the thread pool, so that the loop stays free");
        println!("Ctrl-C ends it.");
        io::Result::Ok(())
    })?;
    server.run(Mode::Default).map(drop)
}
