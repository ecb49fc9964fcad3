//! You will see the echo server again, as futures: one that accepts, and one for each connection.

use loopscope_loop::{Connection, Loop, Mode};
use std::io;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut server = Loop::builder(()).name("futures_echo").build()?;
    server.main(|cx| {
        let incoming = cx.incoming(([127, 0, 0, 1], 0).into())?;
        println!("Echo server on {}; Ctrl-C ends it.", cx.local_addr(incoming.key()).unwrap());
        cx.spawn_async(|here| async move {
            loop {
                match incoming.accept().await {
                    Ok(connection) => drop(here.spawn_local(echo(connection))),
                    Err(error) => println!("cannot accept a connection: {error}"),
                }
            }
        });
        io::Result::Ok(())
    })?;
    server.run(Mode::Default).map(drop)
}

/// Sends back what comes in, until it ends. A client who does not read is not read from either.
async fn echo(connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match connection.read(&mut buffer).await? {
            0 => return Ok(()),
            count => connection.write(&buffer[..count]).await?,
        }
    }
}
