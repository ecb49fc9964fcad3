//! What Node's loop says of itself on its page: its words, whose code is whose, what it can know, and what helps.

use loopscope_probe::Queue;
use loopscope_probe::description::{Culprit, Description, Fact, FramePart, Owner, Sign, Term, Trouble};
use loopscope_probe::{Kind, Phase};

/// What of Node could be hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// Entries into JavaScript.
    pub entries: bool,
    /// Node's trace events: names, timers, drains.
    pub traces: bool,
    /// How many events each poll returned.
    pub events: bool,
    /// The pool is this page's.
    pub pool: bool,
    /// Jobs of ours tell how long that pool's jobs wait.
    pub pool_waits: bool,
    /// The loop is a worker's, which may have nothing to do but wait for another thread.
    pub is_worker: bool,
}

/// Returns the description of a Node of which so much is known; `addon` is the name of our own file, which may be any.
pub fn description(known: Knowledge, addon: &str) -> Description {
    let phases = [Phase::MAIN, Phase::TIMERS, Phase::PENDING, Phase::POLL, Phase::CHECK, Phase::CLOSE];
    let named = phases.iter().fold(Description::new(), |all, phase| all.phase(*phase, phase.name()));
    let described = frames(remedies(kinds(named)), addon).fills(&facts(known));
    if known.is_worker { thread_waits(described) } else { described }
}

/// The main thread's loop may not wait so: whoever does it there blocks it.
fn thread_waits(description: Description) -> Description {
    description
        .sign(Sign::ThreadWait, "v8::internal::FutexEmulation::WaitJs")
        .term(Term::ThreadWait, "Atomics.wait", "Atomics.wait")
        .remedy(
            Trouble::ThreadWait,
            "the worker waits for another thread in Atomics.wait, and its own loop serves nothing meanwhile: if that is \
             meant, call it within expectBlock, or have the pool wait for messages instead (Piscina: `atomics: 'disabled'`)",
        )
}

fn facts(known: Knowledge) -> Vec<Fact> {
    let mut facts = vec![
        Fact::Time,
        Fact::Lag,
        Fact::Iterations,
        Fact::PollWait,
        Fact::Referenced,
        Fact::Requests,
        Fact::Errors,
    ];
    if known.entries {
        facts.extend([Fact::Phases, Fact::Callbacks]);
    }
    if known.entries && known.traces {
        facts.extend([Fact::Drains, Fact::DrainedJobs]);
    }
    if known.events {
        facts.push(Fact::PollEvents);
    }
    if known.pool {
        facts.push(Fact::PoolQueue);
    }
    if known.pool_waits {
        facts.push(Fact::PoolWait);
    }
    facts
}

fn kinds(description: Description) -> Description {
    description
        .kind(Kind::Timer, "timer", "timer", "timers")
        .kind(Kind::Immediate, "immediate", "immediate", "immediates")
        .kind(Kind::Tick, "tick", "nextTick job", "nextTick jobs")
        .kind(Kind::WorkDone, "work_done", "pool result", "pool results")
        .queue(Queue::NextTick, "nexttick", "nextTick job", "nextTick jobs")
        .queue(Queue::Microtask, "microtask", "microtask", "microtasks")
        .term(Term::Callback, "entry", "entries")
        .term(Term::Between, "native code of Node", "native code of Node")
        .culprit(Culprit::Callback, "many short entries")
        .culprit(Culprit::NextTick, "nextTick jobs")
        .culprit(Culprit::Immediate, "a batch of immediates")
        .culprit(Culprit::Timer, "a batch of timers")
}

fn frames(description: Description, addon: &str) -> Description {
    let runtime = |all: Description, part, text: &str| all.frames(Owner::Runtime, part, text);
    // As it is shipped it has no names of functions.
    let mut all = description.frames(Owner::Loopscope, FramePart::Module, addon);
    all = all.frames(Owner::Loopscope, FramePart::Function, "loopscope_");
    all = runtime(all, FramePart::File, "node:");
    for prefix in ["node::", "v8::", "uv_", "uv__", "Builtins_", "napi_", "OPENSSL_", "ossl_"] {
        all = runtime(all, FramePart::Function, prefix);
    }
    // V8's own code, by the kinds that it has.
    for kind in ["Builtin:", "BytecodeHandler:", "Handler:", "Stub:", "RegExp:"] {
        all = runtime(all, FramePart::Function, kind);
    }
    all = all.frames(Owner::Dependency, FramePart::File, "/node_modules/");
    // What of Node's own program no other rule knows: parsers, compression, OpenSSL.
    all = runtime(all, FramePart::Module, "node");
    // `readFileSync`, `execSync`, `pbkdf2Sync`; below them whoever serves HTTP and HTTPS, of versions 1 and 2.
    all = all.sign(Sign::Blocking, "Sync");
    all = all.sign(Sign::Debugger, "node::inspector::NodeInspectorClient::runMessageLoop");
    all.sign(Sign::Serving, "node:_http_server").sign(Sign::Serving, "node:internal/http2/compat")
}

fn remedies(description: Description) -> Description {
    description
        .remedy(
            Trouble::Computing,
            "the asynchronous form of a call that ends in `Sync`, or a worker (`node:worker_threads`)",
        )
        .remedy(Trouble::Waiting, "the asynchronous form of the call (without `Sync`), or a worker")
        .remedy(
            Trouble::MicrotaskFlood,
            "no I/O is served until this queue is empty: await something that returns to the loop, such as \
             `setImmediate` of node:timers/promises, and bound the chain",
        )
        .remedy(
            Trouble::NextTickFlood,
            "no I/O and no promise is served until this queue is empty: use setImmediate instead of \
             process.nextTick, so that the loop polls in between",
        )
        .remedy(
            Trouble::ImmediateFlood,
            "all immediates of an iteration run before the next poll: queue fewer at once, and the next batch from \
             the last one",
        )
        .remedy(
            Trouble::ManyCallbacks,
            "each is short, but there are too many: process fewer per iteration (batches, back-pressure, timers \
             spread over time), or spread the work over more processes (node:cluster)",
        )
        .remedy(
            Trouble::Collecting,
            "allocate less on hot paths (reuse buffers, stream instead of loading whole documents), or raise the \
             heap limit (--max-old-space-size, --max-semi-space-size)",
        )
        .remedy(
            Trouble::OperationHooks,
            "async_hooks are active, by createHook or by AsyncLocalStorage before Node 24: every promise costs more. Leave out \
             what enables them, or use Node 24, whose AsyncLocalStorage does without",
        )
        .remedy(
            Trouble::BlockingCall,
            "{other} in place of {call}, with a callback or a promise: the loop serves others meanwhile. Where there is no such \
             form, call it in a worker (node:worker_threads)",
        )
        .remedy(
            Trouble::PoolSize,
            "UV_THREADPOOL_SIZE={threads} in the environment, before Node starts (dns.lookup may take only half of the threads; \
             dns.resolve takes none)",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::description::DESCRIPTION_BYTES;

    const ADDON: &str = "linux-x64-glibc.node";

    #[test]
    fn frames_of_the_addon_are_loopscopes_under_any_name_of_its_file() {
        let all = description(Knowledge::default(), ADDON);
        let decides = all
            .frame_rules()
            .iter()
            .find(|rule| rule.part == FramePart::Module && ADDON.contains(&rule.text));
        assert_eq!(
            decides.map(|rule| rule.owner),
            Some(Owner::Loopscope),
            "and Node's program is called node, too"
        );
    }

    #[test]
    fn a_page_has_room_for_it_and_it_says_what_is_known() {
        let all = Knowledge {
            entries: true,
            traces: true,
            events: true,
            pool: true,
            pool_waits: false,
            is_worker: true,
        };
        let description = |known| description(known, ADDON);
        let text = description(all).to_string();
        assert!(text.len() <= DESCRIPTION_BYTES / 2, "{} bytes", text.len());
        assert_eq!(text.parse(), Ok(description(all)));
        assert!(description(all).knows(Fact::PollEvents) && !description(all).knows(Fact::PoolWait));
        let all = description(all);
        assert_eq!(
            (all.blocking_call("pbkdf2Sync"), all.blocking_call("readSyncAll")),
            (Some("pbkdf2"), None)
        );
        let little = description(Knowledge::default());
        assert!(little.knows(Fact::Lag) && !little.knows(Fact::Callbacks) && !little.knows(Fact::PollEvents));
    }
}
