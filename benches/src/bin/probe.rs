//! What the probe adds to a callback: a boxed `FnMut` called bare, between the verbs of the writer, and under a guard
//! of the handle (`Probe`), which also adds to a poll.

use loopscope_benches::flipflop::{Contender, interleave, table};
use loopscope_probe::{Clock, Kind, Phase, Probe, Queue, TaskTimes, Writer, site};
use std::hint::black_box;
use std::panic::Location;

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    for (title, spins) in [("body of about 2 ns", 1), ("body of about 20 ns", 18)] {
        println!("## probe, {title}, {rounds} rounds of 20,000 callbacks\n");
        println!("{}", run(rounds, spins));
    }
}

fn run(rounds: usize, spins: u64) -> String {
    let clock = Clock::real();
    let [mut bare, mut again, mut timed, mut full, mut many, mut tick] = [spins; 6].map(body);
    let (mut writer, mut writer_many, mut writer_tick) = (writer("one"), writer("many"), writer("tick"));
    let site = writer.site(Location::caller(), Kind::Timer);
    let sites: Vec<_> =
        (0..64).map(|n| writer_many.named_site(Location::caller(), Kind::Timer, &n.to_string())).collect();
    let tick_site = writer_tick.site(Location::caller(), Kind::Tick);
    let mut contenders = vec![
        Contender::new("bare", |ops| (0..ops).for_each(|_| bare())),
        Contender::new("bare (A/A)", |ops| (0..ops).for_each(|_| again())),
        Contender::new("one clock read (floor)", |ops| {
            (0..ops).for_each(|_| {
                timed();
                black_box(clock.now());
            })
        }),
        Contender::new("full probe, one site", |ops| {
            (0..ops).for_each(|_| {
                let life = TaskTimes::ready_at(writer.last());
                writer.begin(Kind::Timer, site, life);
                full();
                writer.end();
                writer.drained();
            })
        }),
        Contender::new("full probe, 64 sites", |ops| {
            (0..ops).for_each(|op| {
                let life = TaskTimes::ready_at(writer_many.last());
                writer_many.begin(Kind::Timer, sites[op as usize % 64], life);
                many();
                writer_many.end();
                writer_many.drained();
            })
        }),
        Contender::new("drained job (nextTick)", |ops| {
            writer_tick.drain_begin(Queue::NextTick, 1);
            (0..ops).for_each(|_| {
                writer_tick.begin(Kind::Tick, tick_site, TaskTimes::UNKNOWN);
                tick();
                writer_tick.end();
            });
            writer_tick.drain_end(Queue::NextTick, ops);
            writer_tick.drained();
        }),
    ];
    contenders.extend(handle(spins));
    interleave(&mut contenders, rounds, 20_000);
    table(&contenders)
}

/// What the handle for loops that exist adds, to a callback and to a poll.
fn handle(spins: u64) -> [Contender<'static>; 4] {
    let [mut guarded, mut part, mut polled, mut both] = [spins; 4].map(body);
    let [probe, outer, parked, turned] =
        ["guarded", "part", "polled", "both"].map(|name| Probe::from(fresh(name)));
    [
        Contender::new("handle: a callback's guard", move |ops| {
            (0..ops).for_each(|_| {
                let _callback = probe.callback(site!("guarded", Timer));
                guarded();
            });
        }),
        Contender::new("handle: a guard inside a callback", move |ops| {
            let _outer = outer.callback(site!("outer", Timer));
            (0..ops).for_each(|_| {
                let _callback = outer.callback(site!("part", Timer));
                part();
            });
        }),
        Contender::new("handle: park and unpark", move |ops| {
            (0..ops).for_each(|_| {
                parked.park();
                parked.unpark();
                polled();
            });
        }),
        Contender::new("handle: park, unpark and a callback's guard", move |ops| {
            (0..ops).for_each(|_| {
                turned.park();
                turned.unpark();
                let _callback = turned.callback(site!("both", Timer));
                both();
            });
        }),
    ]
}

fn fresh(name: &str) -> Writer {
    Writer::builder(name).private().build()
}

fn writer(name: &str) -> Writer {
    let mut writer = fresh(name);
    writer.resume();
    writer.phase(Phase::TIMERS);
    writer
}

fn body(spins: u64) -> Box<dyn FnMut()> {
    let mut sum = 0u64;
    black_box(Box::new(move || {
        for spin in 0..spins {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(spin));
        }
    }))
}
