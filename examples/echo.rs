//! You will see an echo server that pauses clients who do not read: `nc 127.0.0.1 PORT`, type, see it come back.

use loopscope_loop::{Cx, Key, Loop, Mode, StreamEvent, Wrote};
use std::io;

/// The loop's state: plain data, handed to every callback as `cx.state`.
#[derive(Default)]
struct Echo {
    connections: usize,
    bytes: usize,
}

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut server = Loop::builder(Echo::default()).name("echo").build()?;
    server.main(|cx| {
        let listener = cx.listen(([127, 0, 0, 1], 0).into(), accepted)?;
        let address = cx.local_addr(listener).unwrap();
        println!("Echo server on {address}: nc {} {}; Ctrl-C ends it.", address.ip(), address.port());
        io::Result::Ok(())
    })?;
    server.run(Mode::Default)?;
    Ok(())
}

fn accepted(cx: &mut Cx<'_, Echo>, connection: io::Result<Key>) {
    match connection {
        Err(error) => println!("A connection could not be accepted: {error}"),
        Ok(connection) => {
            cx.state.connections += 1;
            let peer = cx.peer_addr(connection).map_or("somebody".to_owned(), |peer| peer.to_string());
            println!("{peer} came; {} connections", cx.state.connections);
            cx.on_stream(connection, echo);
            // The name that metrics and flamegraphs show instead of `examples/echo.rs:LINE`.
            cx.name(connection, "echo");
        }
    }
}

fn echo(cx: &mut Cx<'_, Echo>, connection: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => {
            cx.state.bytes += bytes.len();
            // Nothing is lost when the client does not read, but the loop's memory would fill: from the queue's
            // high-water mark on, stop reading until what is queued has gone.
            if let Ok(Wrote::Full(_)) = cx.write(connection, bytes) {
                cx.pause(connection);
            }
        }
        StreamEvent::Drained => {
            cx.resume(connection);
        }
        StreamEvent::End | StreamEvent::Error(_) => {
            cx.close_with(connection, |cx| {
                cx.state.connections -= 1;
                println!("one went; {} connections, {} bytes so far", cx.state.connections, cx.state.bytes);
            });
        }
    }
}
