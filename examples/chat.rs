//! You will see a chat room: `nc 127.0.0.1 PORT` twice, give a name, talk; `/who`, `/name NAME` and `/quit` are heard.

#[path = "chat/room.rs"]
mod room;

use loopscope_loop::{Loop, Mode};
use room::{Limits, Room};
use std::io;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut server = Loop::builder(Room::new(Limits::default())).name("chat").build()?;
    server.main(|cx| {
        let address = room::open(cx, ([127, 0, 0, 1], 0).into())?;
        println!("Chat room: nc {} {}; Ctrl-C ends it.", address.ip(), address.port());
        io::Result::Ok(())
    })?;
    server.run(Mode::Default).map(drop)
}
