//! Our loop inside another one: its timers, sockets, jobs and futures go on, and the outer loop neither spins nor waits.

#[path = "../examples/embedded/frames.rs"]
mod frames;

use loopscope_loop::{Connection, Loop};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

#[derive(Default)]
struct Seen {
    ticks: u32,
    jobs: u32,
    echoed: usize,
    is_done: bool,
}

const ROUNDS: usize = 100;
const TICKS: u32 = 20;

async fn echo(connection: Connection<Seen>) -> std::io::Result<()> {
    let mut buffer = [0; 512];
    loop {
        match connection.read(&mut buffer).await? {
            0 => return Ok(()),
            count => connection.write(&buffer[..count]).await?,
        }
    }
}

/// Frames come `every` so often; returns what our loop saw, how many frames there were and how often it turned.
fn embedded(every: Duration, is_over: impl Fn(&Seen, u64) -> bool) -> (Seen, u64, u64) {
    let mut inner = Loop::builder(Seen::default()).build().unwrap();
    let address = inner.main(|cx| {
        let incoming = cx.incoming((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = cx.local_addr(incoming.key()).unwrap();
        cx.spawn_async(|here| async move {
            let connection = incoming.accept().await.unwrap();
            echo(connection).await.unwrap();
            here.with(|cx| cx.state.is_done = true).await;
        });
        cx.spawn_async(|here| async move {
            for _ in 0..TICKS {
                here.sleep(Duration::from_millis(2)).await;
                here.with(|cx| cx.state.ticks += 1).await;
            }
        });
        cx.spawn_async(|here| async move {
            for _ in 0..ROUNDS {
                here.work(|| ()).await.unwrap();
                here.with(|cx| cx.state.jobs += 1).await;
            }
        });
        address
    });
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = [0; 400];
        for _ in 0..ROUNDS {
            stream.write_all(&[b'x'; 400]).unwrap();
            stream.read_exact(&mut answer).unwrap();
        }
        answer.len() * ROUNDS
    });
    let mut drawn = 0;
    let turns = frames::drive(&mut inner, every, |inner, frame| {
        drawn = frame;
        assert!(frame * every.as_millis() as u64 <= 60_000, "our loop did not get on");
        !is_over(inner.state(), frame)
    });
    let mut seen = inner.into_state();
    seen.echoed = client.join().unwrap();
    (seen, drawn, turns.unwrap())
}

#[test]
fn timers_sockets_and_jobs_go_on_between_many_frames() {
    let is_over = |seen: &Seen, _| seen.is_done && seen.ticks == TICKS && seen.jobs as usize == ROUNDS;
    let (seen, drawn, _) = embedded(Duration::from_millis(1), is_over);
    assert_eq!(seen.echoed, 400 * ROUNDS);
    assert!(drawn >= u64::from(TICKS), "the frames came, too: {drawn}");
}

#[test]
fn between_two_rare_frames_our_loop_wakes_the_outer_one_as_often_as_it_must() {
    // Before the first frame nothing but our descriptor and time-out turns the outer loop.
    let (seen, drawn, turns) = embedded(Duration::from_secs(2), |seen, frame| seen.is_done || frame >= 30);
    assert!(seen.is_done && drawn <= 30);
    assert_eq!((seen.ticks, seen.jobs as usize), (TICKS, ROUNDS));
    // Each read, tick and job may turn it; a loop that spins would turn it without end.
    assert!(turns < 20 * (ROUNDS as u64 * 2 + u64::from(TICKS)), "{turns} turns");
}
