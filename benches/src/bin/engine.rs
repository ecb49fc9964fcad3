//! What the loop itself costs, with the probe off and on: immediates, nextTick jobs and microtasks.

use loopscope_benches::flipflop::{Contender, interleave, table};
use loopscope_loop::{Cx, Loop, Mode};

/// Left to run.
type Left = u64;

/// What begins a round of work.
type Start = fn(&mut Cx<'_, Left>);

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let work: [(&str, Start); 3] = [
        ("immediates, 1000 an iteration", |cx| (0..1000).for_each(|_| immediate(cx))),
        ("nextTick, each queues the next", tick),
        ("microtask, each queues the next", microtask),
    ];
    for (title, start) in work {
        let (mut off, mut again, mut on) = (event_loop(false), event_loop(false), event_loop(true));
        let mut contenders = [
            Contender::new("probe off", |ops| run(&mut off, start, ops)),
            Contender::new("probe off (A/A)", |ops| run(&mut again, start, ops)),
            Contender::new("probe on", |ops| run(&mut on, start, ops)),
        ];
        interleave(&mut contenders, rounds, 20_000);
        println!("## {title}, {rounds} rounds of 20,000\n\n{}", table(&contenders));
    }
}

fn event_loop(probe: bool) -> Loop<Left> {
    Loop::builder(0).probe(probe).build().expect("a loop can be made")
}

fn run(event_loop: &mut Loop<Left>, start: Start, ops: u64) {
    *event_loop.state_mut() = ops;
    event_loop.main(start);
    event_loop.run(Mode::Default).expect("the loop runs");
}

fn is_over(cx: &mut Cx<'_, Left>) -> bool {
    *cx.state = cx.state.saturating_sub(1);
    *cx.state == 0
}

fn immediate(cx: &mut Cx<'_, Left>) {
    cx.immediate(|cx| {
        if *cx.state > 1000 {
            immediate(cx);
        }
        is_over(cx);
    });
}

fn tick(cx: &mut Cx<'_, Left>) {
    cx.next_tick(|cx| {
        if !is_over(cx) {
            tick(cx);
        }
    });
}

fn microtask(cx: &mut Cx<'_, Left>) {
    cx.microtask(|cx| {
        if !is_over(cx) {
            microtask(cx);
        }
    });
}
