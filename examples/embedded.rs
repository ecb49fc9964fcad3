//! You will see another program's loop, which draws frames, drive ours, which echoes: both on one thread.

#[path = "embedded/frames.rs"]
mod frames;

use loopscope_loop::{Loop, StreamEvent};
use std::io;
use std::time::Duration;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut inner = Loop::builder(0).name("embedded").build()?;
    inner.main(|cx| {
        let listener = cx.listen(([127, 0, 0, 1], 0).into(), |cx, connection| {
            let Ok(connection) = connection else { return };
            cx.on_stream(connection, |cx, connection, event| match event {
                StreamEvent::Data(bytes) => {
                    *cx.state += bytes.len();
                    let _ = cx.write(connection, bytes);
                }
                StreamEvent::Drained => {}
                StreamEvent::End | StreamEvent::Error(_) => {
                    cx.close(connection);
                }
            });
        })?;
        println!("Echo server on {}; Ctrl-C ends it.", cx.local_addr(listener).unwrap());
        io::Result::Ok(())
    })?;
    let turns = frames::drive(&mut inner, Duration::from_secs(1), |inner, frame| {
        println!("frame {frame}: {} bytes echoed so far", inner.state());
        true
    })?;
    println!("{turns} turns");
    Ok(())
}
