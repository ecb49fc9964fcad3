//! Streams in virtual time: the order of those that are ready at once is the one thing that a seed chooses.

use loopscope_loop::{Builder, Cx, Key, Loop, Mode, PanicPolicy, StreamEvent};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

const PAIRS: usize = 6;

fn virtual_loop<S: 'static>(state: S, seed: Option<u64>) -> Loop<S> {
    let builder: Builder<S> = Loop::builder(state).virtual_time().on_panic(PanicPolicy::Propagate);
    match seed {
        Some(seed) => builder.seed(seed),
        None => builder,
    }
    .build()
    .unwrap()
}

/// Writes to several streams in one callback, twice, and returns in which order they were read.
fn order(seed: Option<u64>) -> Vec<usize> {
    let mut event_loop = virtual_loop(Vec::new(), seed);
    event_loop.main(|cx| {
        let writers: Vec<Key> = (0..PAIRS)
            .map(|number| {
                let (writer, reader) = cx.memory_pair().unwrap();
                cx.on_stream(reader, move |cx, _, event| {
                    if let StreamEvent::Data(bytes) = event {
                        assert_eq!(bytes, [number as u8]);
                        cx.state.push(number);
                    }
                });
                writer
            })
            .collect();
        let write_all = move |cx: &mut Cx<'_, Vec<usize>>, writers: &[Key]| {
            for (number, writer) in writers.iter().enumerate() {
                cx.write(*writer, &[number as u8]).unwrap();
            }
        };
        write_all(cx, &writers);
        cx.after(Duration::from_millis(5), move |cx| {
            write_all(cx, &writers);
            writers.iter().for_each(|writer| assert!(cx.shutdown(*writer)));
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    event_loop.into_state()
}

#[test]
fn without_a_seed_streams_have_their_turns_in_the_order_in_which_they_became_ready() {
    let expected: Vec<usize> = (0..PAIRS).chain(0..PAIRS).collect();
    assert_eq!(order(None), expected);
}

#[test]
fn a_seed_chooses_the_order_of_streams_that_are_ready_at_once_the_same_in_every_run() {
    let mut orders = BTreeSet::new();
    for seed in 0..50 {
        let chosen = order(Some(seed));
        assert_eq!(chosen, order(Some(seed)), "seed {seed}");
        // Nobody is left out, and nobody has two turns.
        for batch in chosen.chunks(PAIRS) {
            assert_eq!(batch.iter().collect::<BTreeSet<_>>().len(), PAIRS, "{chosen:?}");
        }
        orders.insert(chosen);
    }
    assert!(orders.len() > 40, "{} orders of 50 seeds", orders.len());
}

#[test]
fn a_program_that_rests_on_one_order_is_found_out() {
    // A reader that trusts its neighbour to have been read before it: true without a seed, and of no real system.
    let is_lucky = |seed| order(seed)[..2] == [0, 1];
    assert!(is_lucky(None));
    assert!((0..50).any(|seed| !is_lucky(Some(seed))));
}

#[test]
fn ends_in_memory_behave_as_sockets_do() {
    let mut event_loop = virtual_loop(Vec::new(), None);
    event_loop.main(|cx| {
        let (one, other) = cx.memory_pair().unwrap();
        // As much as fits is taken at once, and the rest is queued.
        assert_eq!(cx.write(one, &[b'x'; 100_000]).unwrap().queued_bytes(), 100_000 - (64 << 10));
        cx.on_stream(one, |cx, key, event| match event {
            StreamEvent::Drained => cx.state.push("drained"),
            StreamEvent::End => {
                cx.state.push("end");
                assert_eq!(cx.write(key, b"late").unwrap_err().kind(), ErrorKind::BrokenPipe);
                cx.close(key);
            }
            other => panic!("{other:?}"),
        });
        let mut received = 0;
        cx.on_stream(other, move |cx, key, event| {
            let StreamEvent::Data(bytes) = event else { panic!("{event:?}") };
            received += bytes.len();
            if received == 100_000 {
                cx.state.push("all came");
                cx.close(key);
            }
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["drained", "all came", "end"]);
    let mut real = Loop::new().unwrap();
    assert_eq!(real.main(|cx| cx.memory_pair().unwrap_err().kind()), ErrorKind::Unsupported);
}
