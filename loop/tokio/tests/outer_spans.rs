//! Spans around a wrapped poll, as `tracing`'s `Instrumented` enters them: they are open inside it, also where the watch finds
//! out only at its begin that the worker polled, or that `block_on` polls its future again.

mod support;

use loopscope_probe::raw::registry;
use loopscope_probe::spans;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use support::{DEADLINE, Flavor, Running, Tier, turn, watched, workers};

/// A future that is polled inside a span of that name.
struct InSpan<F>(&'static str, Pin<Box<F>>);

fn in_span<F: Future>(name: &'static str, future: F) -> InSpan<F> {
    InSpan(name, Box::pin(future))
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let site = spans::site(self.0, "span.rs", 1);
        let entered = site.and_then(|site| spans::enter(site, "id=7"));
        let polled = self.1.as_mut().poll(cx);
        entered.into_iter().for_each(spans::leave);
        polled
    }
}

/// Returns the names of the spans that are open on the page with this label, and how many iterations were told there.
fn look(label: &str) -> (Vec<String>, u64) {
    let page = registry::pages().into_iter().find(|page| page.label() == label).unwrap();
    let name = |site| page.page().sites().read_one(site).unwrap().name;
    let open = page.page().open_spans().into_iter().map(|span| name(span.site)).collect();
    (open, page.page().snapshot(page.clock()).iterations)
}

/// Is polled so often, and looks each time.
async fn look_at_each_poll(label: &str, polls: usize) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    for _ in 0..polls {
        seen.push(look(label).0);
        tokio::task::yield_now().await;
    }
    seen
}

#[test]
fn each_poll_of_a_future_of_block_on_is_inside_the_spans_around_it() {
    let _turn = turn();
    for tier in [Tier::Build, Tier::Attach] {
        // A thread of its own for each, whose first page it is.
        std::thread::spawn(move || spans_around_block_on(tier)).join().unwrap();
    }
}

fn spans_around_block_on(tier: Tier) {
    let name = format!("around {tier:?}");
    let label = format!("{name}/block_on");
    let (runtime, _watch) = watched(tier, Flavor::Multi, &name);
    // The first wrapped poll of a thread makes its page.
    runtime.block_on(loopscope_tokio::named("first", async {}));
    let wrapped = || loopscope_tokio::named("root", look_at_each_poll(&label, 3));
    let inside = [vec!["load_user".to_owned()], vec!["load_user".to_owned()], vec!["load_user".to_owned()]];
    assert_eq!(runtime.block_on(in_span("load_user", wrapped())), inside, "{tier:?}");
    // Two inside one span, in one poll of it.
    let both = async { tokio::join!(wrapped(), wrapped()) };
    assert_eq!(runtime.block_on(in_span("load_user", both)), (inside.to_vec(), inside.to_vec()), "{tier:?}");
    // What is polled after it, and beside it, is not inside.
    let beside = async { tokio::join!(in_span("load_user", wrapped()), wrapped()) };
    let outside = vec![Vec::<String>::new(); 3];
    assert_eq!(runtime.block_on(beside), (inside.to_vec(), outside.clone()), "{tier:?}");
    assert_eq!(runtime.block_on(wrapped()), outside, "{tier:?}");
    assert_eq!(look(&label).0, [""; 0]);
}

/// What a poll saw: the spans that were open, and whether it began a busy period because the worker had polled untold.
type SeenPoll = (Vec<String>, bool);

/// Is always ready to run, so that its worker is in one busy period, until polls began anew three times.
async fn look_until_three_turns(label: String) -> Vec<SeenPoll> {
    let begun = Instant::now();
    let (mut seen, mut last) = (Vec::new(), None);
    poll_fn(|cx| {
        let (open, iterations) = look(&label);
        let is_turn = last.replace(iterations).is_some_and(|last| last != iterations);
        seen.push((open, is_turn));
        let turns = seen.iter().filter(|(_, is_turn)| *is_turn).count();
        assert!(begun.elapsed() < DEADLINE, "{turns} turns");
        cx.waker().wake_by_ref();
        if turns < 3 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    seen
}

#[test]
fn a_poll_at_whose_begin_a_hidden_poll_is_found_is_inside_the_spans_around_it() {
    let _turn = turn();
    let name = "turned";
    let running = Running::start(Tier::Build, Flavor::Current, name);
    running.wait_for_workers(name, 1);
    let label = workers(name)[0].label().to_owned();
    for is_in_span in [true, false] {
        let wrapped = loopscope_tokio::named("load", look_until_three_turns(label.clone()));
        let (tell, told) = std::sync::mpsc::channel();
        running.handle.spawn(async move {
            let seen = match is_in_span {
                true => in_span("load_user", wrapped).await,
                false => wrapped.await,
            };
            tell.send(seen).unwrap();
        });
        let seen = told.recv_timeout(DEADLINE).unwrap();
        let mut expected = if is_in_span { vec!["load_user"] } else { Vec::new() };
        if cfg!(tokio_unstable) {
            // Tokio tells each poll of the task, and the wrapped one is inside that.
            expected.push("load");
        }
        for (poll, (open, is_turn)) in seen.iter().enumerate() {
            assert_eq!(*open, expected, "poll {poll} of {}, turn: {is_turn}", seen.len());
        }
    }
}
