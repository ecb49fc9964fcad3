//! The rules about Rust sources: their first line, their size, their names, and the words they may not use.

use crate::scanner::{Scanned, functions, scan, without_unit_tests, words};
use crate::tracked::{Fault, Tracked, line_of};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 60;

/// Names that say nothing about what is in the file.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

/// The files that may hold `unsafe`. An entry that ends with a slash is a folder.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("loop/probe/src/boottime.rs", "the clock that counts suspension"),
    ("agent/src/capture/target.rs", "promising that a page's words stay where they are"),
    ("agent/tests/alternate_stack.rs", "an alternate signal stack"),
    ("agent/tests/forked.rs", "forking is what it tests"),
    ("agent/tests/mixed_stacks.rs", "code that is made at run time, and a sampler"),
    ("agent/src/eventfd.rs", "the descriptors that wake the agent's thread, and waiting for them"),
    ("agent/src/next_event.rs", "requests to the kernel to ring at another poller's next event"),
    (
        "agent/src/watch/command_process.rs",
        "a file in memory for a command, its signals, and killing it with what it started",
    ),
    ("agent/http/src/peer_user.rs", "the descriptor for asking whose a connection is"),
    ("tests/users.rs", "becoming another user on one thread"),
    ("agent/stacks/src/handler.rs", "the signal handler"),
    ("agent/stacks/src/loader_list.rs", "the loader's list"),
    ("agent/stacks/src/memory.rs", "reading this process's memory by system call"),
    ("agent/stacks/src/modules.rs", "the mappings of the program and of the vDSO"),
    ("agent/stacks/src/per_process.rs", "a value that is never freed once it was published"),
    ("agent/stacks/src/registers.rs", "the interrupted thread's registers"),
    ("agent/stacks/src/sampler.rs", "calling the program's sampler"),
    ("agent/stacks/src/signal.rs", "installing the handler, and queueing the signal"),
    ("agent/stacks/src/sleeping.rs", "the target's tag words, and the clock"),
    ("agent/stacks/src/slot.rs", "the buffer that the handler fills"),
    ("agent/stacks/src/target.rs", "the bounds of a thread's stack, and a promise about tag words"),
    ("agent/stacks/src/thread.rs", "the processor time of one thread"),
    ("agent/stacks/tests/edges.rs", "limits, handlers and alternate stacks of signals"),
    ("agent/stacks/tests/forked.rs", "forking is what it tests"),
    ("agent/stacks/tests/modules.rs", "loading a library and calling it"),
    ("agent/stacks/tests/refused.rs", "blocking, raising and handling signals"),
    ("agent/stacks/tests/replaced.rs", "another handler for a signal"),
    ("agent/stacks/tests/sampler.rs", "a sampler, and the promise about it"),
    ("agent/stacks/tests/sleeping.rs", "calling what it tests"),
    ("agent/stacks/tests/support/mod.rs", "queueing a signal"),
    ("agent/stacks/tests/tableless.rs", "a function in assembly"),
    ("agent/stacks/tests/taken.rs", "handlers for all real-time signals"),
    ("benches/src/cputime.rs", "the processor time of one thread"),
    ("benches/src/descriptors.rs", "a table of descriptors for one thread"),
    ("loop/engine/tests/forked.rs", "forking is what it tests"),
    ("loop/node/src/exports.rs", "what Node looks for in an addon"),
    ("loop/node/src/sys/allocator.rs", "the allocator of the addon"),
    ("loop/node/src/sys/async_id_place.rs", "a number of Node's environment"),
    ("loop/node/src/sys/code_events.rs", "V8's events of code"),
    ("loop/node/src/sys/collecting.rs", "the time, by the C library"),
    ("loop/node/src/sys/current.rs", "the adapter of this thread, by a pointer without destructor"),
    ("loop/node/src/sys/function_place.rs", "where a function of JavaScript is"),
    ("loop/node/src/sys/heap_layout.rs", "constants that Node has for debuggers"),
    ("loop/node/src/sys/hook_counts.rs", "counters that Node shares with its JavaScript"),
    ("loop/node/src/sys/js_callback.rs", "Node's interface for functions that any thread has called"),
    ("loop/node/src/sys/microtask_count.rs", "a number of V8's queue of microtasks"),
    ("loop/node/src/sys/module.rs", "functions that Node calls"),
    ("loop/node/src/sys/napi.rs", "Node's interface for addons"),
    ("loop/node/src/sys/probe_job.rs", "a job of ours in libuv's pool"),
    ("loop/node/src/sys/sampler.rs", "V8's stack in a signal handler"),
    ("loop/node/src/sys/stack_trace.rs", "JavaScript's stack by interrupt"),
    ("loop/node/src/sys/symbols.rs", "functions found by name at run time"),
    ("loop/node/src/sys/trace_name.rs", "constant texts of the program"),
    ("loop/node/src/sys/trace_sink.rs", "the virtual table of Node's trace controller"),
    ("loop/node/src/sys/uv.rs", "libuv's handles and loop"),
    ("loop/node/src/sys/v8.rs", "V8's hooks and figures"),
    ("loop/probe/src/barrier.rs", "the membarrier call"),
    ("loop/probe/src/cycle_counter.rs", "reading the processor's counter"),
    ("loop/probe/src/private_directory.rs", "user id and kind of file system"),
    ("loop/probe/src/environment.rs", "a word that the kernel gave the process"),
    ("loop/probe/src/file_limit.rs", "blocking signals around calls that grow files"),
    ("loop/probe/src/mapping.rs", "mapping the page's file, and the fork handler"),
    ("loop/probe/src/memory.rs", "a page made of zeros"),
    ("loop/probe/src/page.rs", "filling a page from a file"),
    ("loop/probe/src/poll_gate.rs", "blocking a signal for one poll"),
    ("loop/probe/src/thread.rs", "where the stack of the loop's thread lies"),
    ("loop/probe/tests/fork.rs", "forking is what it tests"),
    ("loop/probe/tests/users.rs", "becoming another user"),
    ("tests/src/bin/hostile.rs", "loading libraries and forking while it is sampled"),
    ("tests/src/bin/interrupted.rs", "system calls that a signal ends"),
];

/// The files that may ask for the time or wait for it to pass. An entry that ends with a slash is a folder.
const TIME_FILES: &[(&str, &str)] = &[
    ("agent/cli/src/", "a command's progress and durations are real time"),
    ("agent/src/capture/mod.rs", "how long a thread is seen to run on"),
    ("agent/src/watch/incident_action.rs", "how long a command may take"),
    ("agent/src/sample/session.rs", "waiting for threads to answer"),
    ("agent/http/src/progress.rs", "time-outs of connections"),
    (
        "agent/http/src/server_tests.rs",
        "the virtual time of the runtime, which passes when nothing else is to be done",
    ),
    ("agent/stacks/src/capturer.rs", "waiting for a thread to answer"),
    ("agent/stacks/src/selftest.rs", "how long ago a test that could not be made was tried"),
    ("agent/stacks/tests/blocked.rs", "a thread that sleeps is what it looks at"),
    ("agent/stacks/tests/sleeping.rs", "calls that wait for a time are what it looks at"),
    ("agent/stacks/tests/unwind.rs", "a thread that sleeps is what it looks at"),
    ("agent/tests/forked.rs", "wake-ups a second, of a real idle thread"),
    ("agent/tests/sleep.rs", "wake-ups a second, of a real idle thread"),
    ("benches/", "measuring real time is their purpose"),
    ("examples/", "they block and load a loop on purpose"),
    ("loop/engine/src/clock.rs", "the loop's real clock"),
    ("loop/engine/src/poller.rs", "what is left of a wait that a signal cut short"),
    ("loop/node/src/frames.rs", "when the process had begun, for source maps"),
    ("loop/probe/src/clock.rs", "the clock, and its calibration"),
    ("loop/probe/src/registry.rs", "how long a forked child waits for a lock"),
    ("loop/probe/src/poll_gate.rs", "how long a signal that is on its way is waited for"),
    ("loop/tokio/tests/", "real workers, timers and agents are what they look at"),
    ("loop/tokio/two_versions/", "real workers and agents are what it looks at"),
    ("tests/blocks.rs", "a process that is stopped for a while is what it looks at"),
    ("tests/src/bin/blocks.rs", "blocking a loop for a while is its purpose"),
    ("tests/src/bin/interrupted.rs", "blocking a loop for a while is its purpose"),
    ("tests/src/bin/stalls.rs", "blocking a loop for a while is its purpose"),
    (
        "tests/truth/",
        "programs that run, are stopped and killed, and a server that looks twice a second, are what it compares",
    ),
    ("tests/src/bin/truth.rs", "blocking a loop for a while, and measuring that, is its purpose"),
    ("tests/src/bin/watched.rs", "blocking a loop for a while is its purpose"),
    ("loop/probe/src/stale_pages.rs", "the age of a dead process's page, against the file's own date"),
    ("tests/src/bin/hostile.rs", "sampling at a rate, for some time"),
    ("tests/prometheus/", "real servers scrape, evaluate and deliver in real time"),
];

/// The crate that says what copies of pages mean: arithmetic on values.
const REPORT: &str = "agent/report/src/";
const IMPURE_MODULES: &[&str] = &["time", "thread", "fs", "net", "process", "os", "env"];
/// What asks for the time, however it is called.
const CLOCK_READS: &[&str] = &[
    ".now()",
    "Clock::now(",
    "Instant::now",
    "SystemTime::now",
    "Clock::real(",
    "Clock::monotonic(",
    "clock::unix_ns",
    ".elapsed()",
];
const RUNTIMES: &[&str] = &["tokio", "hyper", "hyper_util", "mio", "libc", "rustix"];
/// What `env` tells of the machine that compiled.
const CONSTANTS: &str = "env::consts";

fn is_listed(path: &str, list: &[(&str, &str)]) -> bool {
    list.iter().any(|(entry, _)| path == *entry || entry.ends_with('/') && path.starts_with(entry))
}

/// Applies `rule` to the code of every file.
fn in_code<'a>(files: &'a [Tracked], rule: impl Fn(&'a Tracked, &Scanned) -> Vec<Fault>) -> Vec<Fault> {
    files.iter().flat_map(|file| rule(file, &scan(&file.text))).collect()
}

/// Every file begins with a full sentence about itself.
pub fn first_line(files: &[Tracked]) -> Vec<Fault> {
    let is_sentence = |file: &&Tracked| {
        let doc = file.text.lines().map_while(|line| line.strip_prefix("//!"));
        let first: Vec<&str> = doc.map(str::trim).take_while(|line| !line.is_empty()).collect();
        let text = first.join(" ");
        text.starts_with(|c: char| c.is_uppercase() || c == '`') && text.ends_with(['.', ':', '?', '!'])
    };
    let faulty = files.iter().filter(|file| !is_sentence(file));
    faulty
        .map(|file| {
            Fault::new(&file.path, 1, "begin the file with `//!` and a full sentence on what it is for")
        })
        .collect()
}

/// No file is longer than 600 lines.
pub fn file_length(files: &[Tracked]) -> Vec<Fault> {
    let too_long =
        files.iter().map(|file| (file, file.text.lines().count())).filter(|(_, lines)| *lines > FILE_LINES);
    let fault = |(file, lines): (&Tracked, usize)| {
        Fault::new(
            &file.path,
            lines,
            format!("{lines} lines: move the second idea to its own file (most: {FILE_LINES})"),
        )
    };
    too_long.map(fault).collect()
}

/// No function is longer than 60 lines.
pub fn function_length(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        let measured = functions(&scanned.code).into_iter().map(|function| {
            let first = line_of(&scanned.code, function.begin);
            (
                function.name,
                first,
                line_of(&scanned.code, function.body.1.min(scanned.code.len())) - first + 1,
            )
        });
        let too_long = measured.filter(|(_, _, lines)| *lines > FUNCTION_LINES);
        too_long
            .map(|(name, first, lines)| {
                let remedy =
                    format!("`{name}` has {lines} lines: give a part of it a name (most: {FUNCTION_LINES})");
                Fault::new(&file.path, first, remedy)
            })
            .collect()
    })
}

/// Files and folders are named after an idea.
pub fn names(files: &[Tracked]) -> Vec<Fault> {
    let parts =
        |file: &Tracked| file.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    let faulty =
        files.iter().filter(|file| parts(file).iter().any(|part| EMPTY_NAMES.contains(&part.as_str())));
    faulty
        .map(|file| {
            Fault::new(&file.path, 1, "name it after the one idea in it, or move it to its only user")
        })
        .collect()
}

/// `unsafe` is where the list says.
pub fn unsafe_code(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        if is_listed(&file.path, UNSAFE_FILES) {
            return Vec::new();
        }
        let found = words(&scanned.code, "unsafe").into_iter().map(|at| line_of(&scanned.code, at));
        let remedy = "do it without unsafe, or list the file with its reason in tests/tidy/sources.rs";
        found.map(|line| Fault::new(&file.path, line, remedy)).collect()
    })
}

/// The lists above name no file that does not need it, or is there no more. Folders are whole kinds of programs, and
/// stay listed while there is a file in them.
pub fn stale_entries(files: &[Tracked]) -> Vec<Fault> {
    let needs = |list: &[(&str, &str)], is_needed: fn(&str) -> bool| -> Vec<Fault> {
        let stale = list.iter().filter(|listed| {
            let there = files.iter().find(|file| is_listed(&file.path, std::slice::from_ref(*listed)));
            !there.is_some_and(|file| listed.0.ends_with('/') || is_needed(&scan(&file.text).code))
        });
        stale
            .map(|(entry, _)| {
                Fault::new(entry, 0, "needs its exception no more: remove it from tests/tidy/sources.rs")
            })
            .collect()
    };
    let mut faults = needs(UNSAFE_FILES, |code| !words(code, "unsafe").is_empty());
    faults.extend(needs(TIME_FILES, |code| !moments(code).is_empty()));
    faults
}

/// Features are chosen on `mod` lines, never inside a function.
pub fn features_in_functions(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        let bodies = functions(&scanned.code);
        let marks = ["cfg(feature", "cfg!(feature", "cfg_attr(feature"];
        let found = marks.iter().flat_map(|mark| scanned.code.match_indices(mark)).map(|(at, _)| at);
        let inside =
            found.filter(|at| bodies.iter().any(|function| function.body.0 < *at && *at < function.body.1));
        let remedy = "choose by a `cfg` on a `mod` line, or at run time";
        inside.map(|at| Fault::new(&file.path, line_of(&scanned.code, at), remedy)).collect()
    })
}

/// Returns where code asks for the time, or sleeps.
fn moments(code: &str) -> Vec<usize> {
    ["thread::sleep", "Instant::now", "SystemTime::now"].iter().flat_map(|word| words(code, word)).collect()
}

/// Only clocks ask what time it is, and nobody sleeps. A test may set itself a deadline, and says so on that line.
pub fn time(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        if is_listed(&file.path, TIME_FILES) {
            return Vec::new();
        }
        let is_test = file.path.split('/').any(|part| part == "tests") || file.path.ends_with("_tests.rs");
        let is_deadline = |line: &usize| {
            let line = scanned.code.lines().nth(line - 1).unwrap_or_default();
            is_test && line.contains("deadline") && !line.contains("sleep")
        };
        let lines = moments(&scanned.code).into_iter().map(|at| line_of(&scanned.code, at));
        let remedy = "take the time as a value or from the clock, wait on an event until a `deadline`, or list the file \
                      in tests/tidy/sources.rs";
        lines.filter(|line| !is_deadline(line)).map(|line| Fault::new(&file.path, line, remedy)).collect()
    })
}

/// Nothing is put off in a comment.
pub fn put_off(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        let comments = ["TODO", "FIXME", "XXX"].iter().flat_map(|word| words(&scanned.comments, word));
        let code = ["todo!", "unimplemented!"]
            .iter()
            .flat_map(|word| scanned.code.match_indices(word).map(|(at, _)| at));
        let remedy = "do it, or open an issue";
        comments.chain(code).map(|at| Fault::new(&file.path, line_of(&file.text, at), remedy)).collect()
    })
}

/// Every test runs.
pub fn ignored_tests(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        let found = scanned.code.match_indices("#[ignore").map(|(at, _)| line_of(&scanned.code, at));
        found
            .map(|line| Fault::new(&file.path, line, "make it a test that always runs, or remove it"))
            .collect()
    })
}

/// `unwrap` is for tests and examples.
pub fn unwraps(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        let is_free = |part: &str| ["tests", "examples", "benches"].contains(&part);
        if file.path.split('/').any(is_free) || file.path.ends_with("_tests.rs") {
            return Vec::new();
        }
        let code = without_unit_tests(&scanned.code);
        let found = code.match_indices(".unwrap()").map(|(at, _)| line_of(&code, at));
        let remedy = "handle the case, or `expect` the invariant that rules it out";
        found.map(|line| Fault::new(&file.path, line, remedy)).collect()
    })
}

/// The panic hook is the program's: no library sets or takes it, not even for a moment. The command is a program.
pub fn panic_hooks(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        let is_free = |part: &str| ["tests", "examples", "benches"].contains(&part);
        let is_program = file.path.starts_with("agent/cli/src/");
        if is_program || file.path.split('/').any(is_free) || file.path.ends_with("_tests.rs") {
            return Vec::new();
        }
        let code = without_unit_tests(&scanned.code);
        let calls = ["set_hook", "take_hook"].into_iter().flat_map(|call| crate::scanner::words(&code, call));
        let remedy = "the panic hook is the program's: find out otherwise";
        calls.map(|at| Fault::new(&file.path, line_of(&code, at), remedy)).collect()
    })
}

/// The report has no clock, thread, file, socket or process, and no runtime. Its tests may: real
/// Prometheus servers read what is written.
pub fn pure_report(files: &[Tracked]) -> Vec<Fault> {
    in_code(files, |file, scanned| {
        if !file.path.starts_with(REPORT) || file.path.ends_with("_tests.rs") {
            return Vec::new();
        }
        let code = without_unit_tests(&scanned.code);
        let is_constant = |at: &usize| code[*at..].starts_with(&format!("std::{CONSTANTS}"));
        let mut found = parts_of_std(&code, IMPURE_MODULES);
        found.retain(|at| !is_constant(at));
        found.extend(CLOCK_READS.iter().flat_map(|read| code.match_indices(read).map(|(at, _)| at)));
        let is_path = |at: &usize, name: &str| code[at + name.len()..].trim_start().starts_with("::");
        let runtimes =
            RUNTIMES.iter().flat_map(|name| words(&code, name).into_iter().map(move |at| (at, name)));
        found.extend(runtimes.filter(|(at, name)| is_path(at, name)).map(|(at, _)| at));
        found.sort_unstable();
        let mut lines: Vec<usize> = found.into_iter().map(|at| line_of(&code, at)).collect();
        lines.dedup();
        let remedy = "take values: the report has no clock, thread, file, socket, process or runtime";
        lines.into_iter().map(|line| Fault::new(&file.path, line, remedy)).collect()
    })
}

/// Returns where code names one of these modules of `std`, alone or in a group.
fn parts_of_std(code: &str, modules: &[&str]) -> Vec<usize> {
    let is_named = |at: &usize| {
        let Some(path) = code[at + "std".len()..].trim_start().strip_prefix("::") else { return false };
        let path = path.trim_start();
        let group =
            path.strip_prefix('{').map_or("", |group| &group[..group.find(';').unwrap_or(group.len())]);
        modules
            .iter()
            .any(|module| words(path, module).first() == Some(&0) || !words(group, module).is_empty())
    };
    words(code, "std").into_iter().filter(is_named).collect()
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
