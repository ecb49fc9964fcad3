//! Random programs on streams in memory, in random orders: every byte that was accepted arrives, once and in order.

use loopscope_loop::{Connection, Cx, Key, Loop, LoopHandle, Mode, PanicPolicy, StreamEvent};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::time::Duration;

/// Streams that callbacks read, and one more that a future reads.
const BY_CALLBACK: usize = 3;
const STREAMS: usize = BY_CALLBACK + 1;

/// What fills a stream in memory, and is read at once.
const PIPE_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug)]
enum Act {
    Write {
        stream: usize,
        count: usize,
    },
    Pause {
        stream: usize,
    },
    Resume {
        stream: usize,
    },
    Shutdown {
        stream: usize,
    },
    HighWater {
        stream: usize,
        bytes: usize,
    },
    /// A high-water mark so many bytes above what is queued.
    HighWaterAbove {
        stream: usize,
        more: usize,
    },
    /// The next data makes its own reader pause, and write some more into its stream.
    PauseAtData {
        stream: usize,
    },
    Wait {
        ms: u64,
    },
}

#[derive(Default)]
struct Traffic {
    writers: Vec<Key>,
    readers: Vec<Key>,
    /// How many bytes each writer was allowed to send.
    accepted: [usize; STREAMS],
    received: [usize; STREAMS],
    ended: [bool; STREAMS],
    drained: [usize; STREAMS],
    /// How often a queue was begun, which a drain must follow.
    queued: [usize; STREAMS],
    is_paused: [bool; STREAMS],
    pauses_at_data: [bool; STREAMS],
    /// From how many queued bytes on a writer is told to wait, where that was set.
    high_water: [Option<usize>; STREAMS],
}

/// The byte at a place of a stream: neighbours differ, and so do streams.
fn byte(stream: usize, place: usize) -> u8 {
    (place * 7 + place / 256 + stream) as u8
}

fn receive(traffic: &mut Traffic, stream: usize, bytes: &[u8]) {
    let from = traffic.received[stream];
    assert!(!traffic.is_paused[stream]);
    assert!(bytes.iter().enumerate().all(|(index, found)| *found == byte(stream, from + index)));
    traffic.received[stream] += bytes.len();
}

fn perform(cx: &mut Cx<'_, Traffic>, act: Act) {
    match act {
        Act::Write { stream, count } => {
            let from = cx.state.accepted[stream];
            let bytes: Vec<u8> = (from..from + count).map(|place| byte(stream, place)).collect();
            let key = cx.state.writers[stream];
            let was_empty = cx.queued_bytes(key) == Some(0);
            if let Ok(wrote) = cx.write(key, &bytes) {
                cx.state.accepted[stream] += count;
                cx.state.queued[stream] += usize::from(was_empty && wrote.queued_bytes() > 0);
                // An empty queue is never full, whatever the mark.
                let mark = cx.state.high_water[stream].unwrap_or(64 << 10).max(1);
                assert_eq!(wrote.is_full(), wrote.queued_bytes() >= mark);
            }
        }
        // What a future reads is paused and resumed by its reads.
        Act::Pause { stream } if stream < BY_CALLBACK => {
            cx.state.is_paused[stream] = true;
            assert!(cx.pause(cx.state.readers[stream]));
        }
        Act::Resume { stream } if stream < BY_CALLBACK => {
            cx.state.is_paused[stream] = false;
            assert!(cx.resume(cx.state.readers[stream]));
        }
        Act::Shutdown { stream } => {
            // Another one does nothing.
            cx.shutdown(cx.state.writers[stream]);
        }
        Act::HighWater { stream, bytes } => {
            cx.state.high_water[stream] = Some(bytes);
            assert!(cx.set_high_water(cx.state.writers[stream], bytes));
        }
        Act::HighWaterAbove { stream, more } => {
            let queued = cx.queued_bytes(cx.state.writers[stream]).unwrap();
            perform(cx, Act::HighWater { stream, bytes: queued + more });
        }
        Act::PauseAtData { stream } => cx.state.pauses_at_data[stream] = true,
        Act::Pause { .. } | Act::Resume { .. } | Act::Wait { .. } => {}
    }
}

/// Performs the acts one after the other, each in a callback of its own.
fn perform_all(cx: &mut Cx<'_, Traffic>, mut acts: std::vec::IntoIter<Act>) {
    match acts.next() {
        Some(Act::Wait { ms }) => {
            cx.after(Duration::from_millis(ms), |cx| perform_all(cx, acts));
        }
        Some(act) => {
            perform(cx, act);
            cx.immediate(|cx| perform_all(cx, acts));
        }
        None => {
            for stream in 0..STREAMS {
                perform(cx, Act::Resume { stream });
                perform(cx, Act::Shutdown { stream });
            }
        }
    }
}

fn set_up(cx: &mut Cx<'_, Traffic>) {
    for stream in 0..STREAMS {
        let (writer, reader) = cx.memory_pair().unwrap();
        cx.on_stream(writer, move |cx, _, event| match event {
            StreamEvent::Drained => cx.state.drained[stream] += 1,
            other => assert!(matches!(other, StreamEvent::End), "{other:?}"),
        });
        // The writers' own reading keeps nothing alive.
        cx.unref(writer);
        cx.state.writers.push(writer);
        cx.state.readers.push(reader);
        if stream < BY_CALLBACK {
            cx.on_stream(reader, move |cx, _, event| match event {
                StreamEvent::Data(bytes) => {
                    receive(cx.state, stream, bytes);
                    if std::mem::take(&mut cx.state.pauses_at_data[stream]) {
                        perform(cx, Act::Pause { stream });
                        perform(cx, Act::Write { stream, count: 10 });
                        cx.after(Duration::from_millis(1), move |cx| perform(cx, Act::Resume { stream }));
                    }
                }
                StreamEvent::End => cx.state.ended[stream] = true,
                other => panic!("{other:?}"),
            });
        }
    }
    let connection = cx.connection(cx.state.readers[BY_CALLBACK]).unwrap();
    cx.spawn_async(|here| read(here, connection));
}

/// Reads with buffers of many sizes, and gives some reads up.
async fn read(here: LoopHandle<Traffic>, connection: Connection<Traffic>) {
    let mut buffer = vec![0; 5000];
    for round in 0_usize.. {
        let size = 1 + round * 977 % buffer.len();
        let limit = Duration::from_millis(round as u64 % 3);
        let Some(count) = here.within(limit, connection.read(&mut buffer[..size])).await else { continue };
        match count.unwrap() {
            0 => return here.with(|cx| cx.state.ended[BY_CALLBACK] = true).await,
            count => {
                let bytes = buffer[..count].to_vec();
                here.with(move |cx| receive(cx.state, BY_CALLBACK, &bytes)).await;
            }
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    let stream = 0..STREAMS;
    prop_oneof![
        8 => (stream.clone(), prop_oneof![0..10_usize, 0..200_000_usize, Just(PIPE_BYTES)])
            .prop_map(|(stream, count)| Act::Write { stream, count }),
        3 => stream.clone().prop_map(|stream| Act::Pause { stream }),
        3 => stream.clone().prop_map(|stream| Act::Resume { stream }),
        1 => stream.clone().prop_map(|stream| Act::Shutdown { stream }),
        1 => (stream.clone(), 0..100_000_usize).prop_map(|(stream, bytes)| Act::HighWater { stream, bytes }),
        2 => (stream.clone(), 0..10_usize).prop_map(|(stream, more)| Act::HighWaterAbove { stream, more }),
        2 => stream.prop_map(|stream| Act::PauseAtData { stream }),
        2 => (1..20_u64).prop_map(|ms| Act::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_byte_that_was_accepted_arrives_once_and_in_order(acts in vec(act(), 0..40), seed in any::<u64>()) {
        let traffic = Traffic::default();
        let builder = Loop::builder(traffic).virtual_time().seed(seed).probe(false);
        let mut event_loop = builder.on_panic(PanicPolicy::Propagate).build().unwrap();
        event_loop.main(|cx| {
            set_up(cx);
            perform_all(cx, acts.into_iter());
        });
        // A loop that waits for what never comes is an error in virtual time.
        prop_assert!(!event_loop.run(Mode::Default).unwrap());
        let traffic = event_loop.into_state();
        prop_assert_eq!(traffic.received, traffic.accepted);
        prop_assert_eq!(traffic.drained, traffic.queued);
        prop_assert_eq!(traffic.ended, [true; STREAMS]);
    }
}
