//! You will see another program's loop, which draws frames, drive ours, which echoes: both on one thread.

#[path = "embedded/frames.rs"]
mod frames;
#[path = "echo/service.rs"]
mod service;

use loopscope_loop::Loop;
use service::Echo;
use std::io;
use std::time::Duration;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut inner = Loop::builder(Echo::default()).name("embedded").build()?;
    inner.main(|cx| {
        let address = service::open(cx, ([127, 0, 0, 1], 0).into())?;
        println!("Echo server on {address}; Ctrl-C ends it.");
        io::Result::Ok(())
    })?;
    let turns = frames::drive(&mut inner, Duration::from_secs(1), |inner, frame| {
        println!("frame {frame}: {} bytes echoed so far", inner.state().bytes);
        true
    })?;
    println!("{turns} turns");
    Ok(())
}
