//! You will see an echo server that pauses clients who do not read: `nc 127.0.0.1 PORT`, type, see it come back.

#[path = "echo/service.rs"]
mod service;

use loopscope_loop::{Loop, Mode};
use service::Echo;
use std::io;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut server = Loop::builder(Echo::default()).name("echo").build()?;
    server.main(|cx| {
        let address = service::open(cx, ([127, 0, 0, 1], 0).into())?;
        println!("Echo server on {address}: nc {} {}; Ctrl-C ends it.", address.ip(), address.port());
        io::Result::Ok(())
    })?;
    server.run(Mode::Default).map(drop)
}
