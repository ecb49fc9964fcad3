//! What Tokio's pages say of the runtime: its words, its own frames, what it can know, and what helps.

use loopscope_probe::description::{Culprit, Description, Fact, FramePart, Owner, Sign, Term, Trouble};
use loopscope_probe::{Kind, Phase};
use std::sync::OnceLock;

/// The phase of a worker that runs tasks; while it waits it is in [`Phase::POLL`].
pub(crate) fn tasks() -> Phase {
    Phase::from_index(8).unwrap_or(Phase::MAIN)
}

/// Of what tells a worker's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Hooks on the worker: when it parks and unparks.
    Hooked,
    /// An observer, by the runtime's counters.
    Observed,
    /// A thread that is no worker and polls a wrapped future: told poll by poll.
    Root,
}

/// What the thread of a worker may do that is not the worker's work, and of which nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// It says when it leaves.
    Never,
    /// Its `block_on` may have returned.
    BlockOn,
    /// It may have given the worker to another thread, in `block_in_place`.
    InPlace,
}

/// Returns the description of a worker's page.
pub(crate) fn worker(tier: Tier, leaves: Leaves) -> &'static Description {
    static HOOKED: [OnceLock<Description>; 3] = [const { OnceLock::new() }; 3];
    static OBSERVED: [OnceLock<Description>; 3] = [const { OnceLock::new() }; 3];
    static ROOT: OnceLock<Description> = OnceLock::new();
    let of = |described: Description| match leaves {
        Leaves::Never => described,
        Leaves::BlockOn => leaving(described),
        Leaves::InPlace => described.sign(Sign::HandsOver, "block_in_place"),
    };
    match tier {
        Tier::Observed => {
            OBSERVED[leaves as usize].get_or_init(|| of(words()).fills(&[Fact::Time, Fact::Callbacks]))
        }
        Tier::Hooked => HOOKED[leaves as usize].get_or_init(|| of(told())),
        Tier::Root => ROOT.get_or_init(|| {
            let about = "wrapped futures that run on no worker, such as that of block_on";
            told().term(Term::Lane, "thread", "threads").term(Term::About, about, about)
        }),
    }
}

/// Of the one worker of a runtime whose `block_on` may have returned, which Tokio tells nobody.
fn leaving(described: Description) -> Description {
    let between = "an unnamed task, or code outside block_on";
    let remedy = "if block_on has returned, call `loopscope_tokio::block_on`, which says when it returns";
    described.term(Term::Between, between, between).remedy(Trouble::Outside, remedy)
}

/// Of a page whose thread tells each of its busy periods.
fn told() -> Description {
    let known = [Fact::Time, Fact::Lag, Fact::Iterations, Fact::PollWait, Fact::Callbacks];
    // How long a task waited to run Tokio tells with its unstable interface only.
    let waits: &[Fact] = if cfg!(tokio_unstable) { &[Fact::QueueDelay] } else { &[] };
    words().fills(&[&known, waits].concat())
}

/// Returns the description of the page of what a runtime's workers share.
pub(crate) fn shared() -> &'static Description {
    static SHARED: OnceLock<Description> = OnceLock::new();
    SHARED.get_or_init(|| {
        let known = [Fact::Lag, Fact::PoolQueue, Fact::PoolJobs, Fact::PoolWait, Fact::PoolRun];
        let between = "a blocked worker, which may delay the timers and I/O of all";
        let about = "timers, I/O and blocking pool, shared by the workers";
        let described = words().fills(&known).term(Term::Between, between, between);
        described.term(Term::Lane, "runtime", "runtimes").term(Term::About, about, about)
    })
}

fn words() -> Description {
    let described = Description::new()
        .phase(Phase::MAIN, "main")
        .phase(tasks(), "tasks")
        .phase(Phase::POLL, "park")
        .kind(Kind::Task, "poll", "poll", "polls")
        .term(Term::Callback, "poll", "polls")
        .term(Term::Iteration, "park", "parks")
        .term(Term::Lane, "worker", "workers")
        .term(Term::PoolJob, "blocking job", "blocking jobs")
        .term(Term::Between, "an unnamed task", "unnamed tasks")
        .culprit(Culprit::Callback, "many short polls")
        .parks("parks", "parked");
    frames(remedies(described))
}

fn remedies(description: Description) -> Description {
    description
        .remedy(Trouble::Computing, "`spawn_blocking`, or a thread of its own")
        .remedy(Trouble::Waiting, "`spawn_blocking`, or the async version of the call")
        .remedy(
            Trouble::ManyCallbacks,
            "each poll is short, but there are too many: have tasks that wake themselves yield (`yield_now`) or \
             wait, and bound how many run at once",
        )
        .remedy(
            Trouble::SelfWaking,
            "wait for the event itself (a channel, `Notify`, `interval`) instead of calling `yield_now` or \
             `wake_by_ref` in a loop",
        )
        .remedy(
            Trouble::LockHeld,
            "drop the guard before each `.await` (clippy: await_holding_lock), or use `tokio::sync::Mutex`; another \
             thread holds the lock: keep its critical section short",
        )
        .remedy(
            Trouble::OneWorker,
            "one task cannot use two workers: `spawn` its parts (also inside `select!` and `join!`); a `LocalSet` and `block_on` stay \
             on one thread",
        )
        .remedy(Trouble::PoolSize, "`max_blocking_threads({threads})`, or fewer jobs at once (a semaphore)")
}

/// Inlined functions have bare names, so files are looked at, too.
fn frames(description: Description) -> Description {
    let ours = ["/loopscope-tokio-", "/loopscope-probe-", "loop/tokio/src/", "loop/probe/src/"];
    // mio waits for events on behalf of the runtime.
    let runtime = ["tokio::runtime::", "tokio::task::", "<tokio::", "tokio::", "mio::"];
    let dependencies = [
        "/axum-",
        "/hyper-",
        "/hyper-util-",
        "/tower-",
        "/tower-http-",
        "/tonic-",
        "/futures-",
        "/futures-util-",
        "/futures-core-",
        "/tracing-",
        "/h2-",
        "/http-body",
        "/pin-project",
        "/rustc/",
    ];
    let files = |description: Description, owner, texts: &[&str]| {
        texts.iter().fold(description, |all, text| all.frames(owner, FramePart::File, text))
    };
    let description = files(description, Owner::Loopscope, &ours);
    let description = description.frames(Owner::Loopscope, FramePart::Function, "loopscope_tokio::").frames(
        Owner::Loopscope,
        FramePart::Function,
        "loopscope_probe::",
    );
    let description =
        runtime.iter().fold(description, |all, text| all.frames(Owner::Runtime, FramePart::Function, text));
    let description = files(description, Owner::Runtime, &["/tokio-1.", "/mio-0.", "/mio-1."]);
    files(description, Owner::Dependency, &dependencies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::description::DESCRIPTION_BYTES;

    /// A capture that comes as the worker parks again finds it there.
    #[test]
    #[cfg(all(feature = "agent", target_os = "linux"))]
    fn a_worker_that_waits_for_events_blames_nobody() {
        use loopscope_agent::{Frame, FrameOwner};
        let described = worker(Tier::Root, Leaves::Never);
        let owner = |function: &str, file: &str| {
            let (function, file, module) = (function.into(), Some(file.into()), Some("app".into()));
            let frame = Frame { function, file, module, ..Frame::default() };
            frame.owned(described.frame_rules()).owner
        };
        let select = "mio::sys::unix::selector::Selector::select";
        assert_eq!(owner(select, "/r/mio-1.2.0/src/sys/unix/selector/epoll.rs"), FrameOwner::Runtime);
        // As it is called where it is inlined.
        assert_eq!(owner("select", "/r/mio-1.2.0/src/sys/unix/selector/epoll.rs"), FrameOwner::Runtime);
        assert_eq!(
            owner("tokio::runtime::io::driver::Driver::turn", "/r/tokio-1.54.0/a.rs"),
            FrameOwner::Runtime
        );
        assert_eq!(owner("app::blocks", "/home/u/mio-server/src/main.rs"), FrameOwner::Program);
    }

    #[test]
    fn a_page_has_room_for_each() {
        let workers = [Tier::Hooked, Tier::Observed, Tier::Root];
        let all = [Leaves::Never, Leaves::BlockOn, Leaves::InPlace];
        let workers = workers.map(|tier| all.map(|leaves| worker(tier, leaves)));
        for description in workers.into_iter().flatten().chain([shared()]) {
            let text = description.to_string();
            assert!(text.len() <= DESCRIPTION_BYTES / 2, "{} bytes", text.len());
            assert_eq!(text.parse(), Ok(description.clone()));
        }
    }
}
