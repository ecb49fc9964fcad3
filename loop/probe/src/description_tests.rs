//! A description is read as it was written, and no text of it can make up a line.

use super::*;
use crate::{Clock, VirtualClock, Writer};

fn tokio_like() -> Description {
    Description::new()
        .phase(Phase::MAIN, "main")
        .phase(Phase::from_index(8).unwrap(), "tasks")
        .kind(Kind::Task, "poll", "poll", "polls")
        .queue(Queue::Microtask, "lifo", "local task", "local tasks")
        .term(Term::Callback, "poll", "polls")
        .term(Term::Lane, "worker", "workers")
        .culprit(Culprit::Callback, "many short polls")
        .remedy(Trouble::PoolSize, "`max_blocking_threads({threads})`")
        .frames(Owner::Runtime, FramePart::File, "/tokio-1.")
        .sign(Sign::Blocking, "blocking_")
        .fills(&[Fact::Time, Fact::Lag])
        .parks("parks", "parked")
}

#[test]
fn what_is_said_is_what_is_read_from_the_page() {
    let description = tokio_like();
    assert_eq!(description.to_string().parse::<Description>().unwrap(), description);
    let time = VirtualClock::starting_at(1_000);
    let writer = Writer::builder("web").clock(Clock::simulated(time)).describe(&description).build();
    let (first, second) = (writer.page().description(), writer.page().description());
    assert_eq!(*first, description);
    assert!(Arc::ptr_eq(&first, &second), "the same text is one value");
    assert_eq!(*writer.page().snapshot(writer.clock()).facts.description, description);
}

#[test]
fn what_is_not_said_has_a_plain_default() {
    let plain = Description::new();
    assert_eq!(plain.phases().len(), 8);
    assert_eq!(plain.phase_label(Phase::CHECK), "check");
    assert_eq!((plain.kind_label(Kind::IoRead), &*plain.kind_noun(Kind::IoRead, 1)), ("io_read", "io read"));
    assert_eq!((plain.callback().of(1), plain.callback().of(2)), ("callback", "callbacks"));
    assert_eq!((plain.parks_word(), plain.parked_word()), ("polls", "polled"));
    assert!(Fact::ALL.iter().all(|fact| plain.knows(*fact)));
    assert_eq!(plain.remedy_for(Trouble::Computing), None);

    let own = tokio_like();
    assert_eq!(own.phases(), [(Phase::MAIN, "main"), (Phase::from_index(8).unwrap(), "tasks")]);
    assert_eq!((own.kind_label(Kind::Task), own.kind_label(Kind::Timer)), ("poll", "timer"));
    assert_eq!(own.queues(), [(Queue::Microtask, "lifo")]);
    assert_eq!(own.queue_noun(Queue::Microtask, 7), "local tasks");
    assert!(own.knows(Fact::Lag) && !own.knows(Fact::Handles));
}

#[test]
fn lines_of_a_later_table_and_damaged_ones_are_passed_over() {
    let text = "colour\tred\nphase\t99\tnowhere\nphase\t3\tthird\nkind\tx\ty\tz\tw\nfills\tlag\ttaste\nframes\truntime\tfile\t\n\n";
    let read: Description = text.parse().unwrap();
    assert_eq!(read, Description::new().phase(Phase::IDLE, "third").fills(&[Fact::Lag]));
}

#[test]
fn who_says_a_word_again_means_the_last_one() {
    let twice = Description::new()
        .term(Term::Between, "a task", "tasks")
        .remedy(Trouble::Computing, "a thread")
        .term(Term::Between, "a worker", "workers")
        .remedy(Trouble::Computing, "a pool");
    assert_eq!(twice.noun(Term::Between).one, "a worker");
    assert_eq!(twice.remedy_for(Trouble::Computing), Some("a pool"));
    assert_eq!(twice.to_string().parse(), Ok(twice));
}

#[test]
fn no_text_can_make_up_a_line_or_move_a_terminal() {
    let description = Description::new().remedy(Trouble::Computing, "a\nphase\t3\tb\u{1b}[2J");
    assert_eq!(description.remedy_for(Trouble::Computing), Some("a phase 3 b\u{fffd}[2J"));
    assert_eq!(description.to_string().lines().count(), 1);
}

#[test]
fn what_has_no_room_is_left_out_in_whole_lines() {
    let many = (0..400).fold(Description::new(), |all, number| {
        all.frames(Owner::Runtime, FramePart::Function, &format!("{number:->40}"))
    });
    let writer = Writer::builder("long").private().describe(&many).build();
    let read = writer.page().description();
    let kept = read.frame_rules().len();
    assert!(kept > 100 && kept < 400, "{kept}");
    assert_eq!(read.frame_rules(), &many.frame_rules()[..kept]);
}
