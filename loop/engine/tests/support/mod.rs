//! Loops, listeners and connections of tests by futures.

mod real_loop;

use loopscope_loop::{Connection, Incoming, Loop, Mode, Task};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn real_loop() -> Loop {
    real_loop::real_loop(())
}

pub fn listen(event_loop: &mut Loop) -> (SocketAddr, Incoming) {
    event_loop.main(|cx| {
        let incoming = cx.incoming(anywhere()).unwrap();
        (cx.local_addr(incoming.key()).unwrap(), incoming)
    })
}

pub async fn read_to_end(connection: &Connection) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        match connection.read(&mut buffer).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Runs the loop to its end; the task must be done then.
pub fn finish(mut event_loop: Loop, task: &Task<()>) {
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(task.is_done());
}
