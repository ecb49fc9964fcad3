//! `loopscope attach` and worker threads: those that run, that hang, that start later, and workers of workers.

use crate::child::{Running, until};
use crate::node_attach::{attach, listens, start};
use crate::nodes::{program, versions};
use crate::scratch::Scratch;
use std::fs;

/// A main thread that starts workers when it is told to, and each worker one of its own.
const PROGRAM: &str = "\
const { Worker, isMainThread, workerData } = require('worker_threads');
function spin() { for (;;); }
if (isMainThread) {
  const begin = (data) => new Worker(__filename, { workerData: data }).once('online', () => console.log(`${data} is online`));
  const outer = begin('outer');
  process.once('SIGUSR2', () => { begin('spins'); outer.postMessage('late'); });
  process.on('SIGTERM', () => process.exit(9));
} else if (workerData === 'outer') {
  const begin = (data) => new Worker(__filename, { workerData: data }).once('online', () => console.log(`${data} is online`));
  begin('inner');
  require('worker_threads').parentPort.on('message', begin);
} else {
  setInterval(() => {}, 20);
  if (workerData === 'spins') setTimeout(spin, 50);
}
setInterval(() => {}, 1000);
";

/// How many loops of the process have a page.
fn loops(scratch: &Scratch, pid: &str) -> usize {
    let own = scratch.pages();
    own.iter().filter(|page| page.file_name().unwrap().to_str().unwrap().starts_with(pid)).count()
}

fn threads_of_ours(pid: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("loopscope")).collect()
}

fn wait_for(running: &mut Running, names: &[&str]) {
    for name in names {
        running.line_with(&format!("{name} is online"));
    }
}

#[test]
fn workers_are_watched_with_the_main_thread_and_let_go_with_it() {
    let scratch = Scratch::new("attach-workers");
    program(&scratch, "threads.js", PROGRAM);
    for (version, node) in versions() {
        let mut running = start(&scratch, &node, &["threads.js"]);
        wait_for(&mut running, &["outer", "inner"]);
        let pid = running.pid();
        let done = attach(&scratch, &[&pid, "--listen", "off"]);
        let what = format!("Node {version}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(0), "{what}");
        assert!(done.stdout.contains("Its 2 worker threads are watched, too."), "{what}");
        assert!(!listens(&pid), "{what}");
        assert_eq!(loops(&scratch, &pid), 3, "{what}");
        // One that starts later, and hangs then, and a worker's that starts later.
        running.signal("USR2");
        wait_for(&mut running, &["spins", "late"]);
        until(|| (loops(&scratch, &pid) == 5).then_some(()));
        until(|| scratch.run(&["ls"]).stdout.contains("STALLED").then_some(()));

        let done = attach(&scratch, &[&pid, "--detach"]);
        let what = format!("Node {version}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(0), "{what}");
        assert_eq!(scratch.pages(), Vec::<std::path::PathBuf>::new(), "{what}");
        assert!(!listens(&pid), "{what}");
        assert_eq!(threads_of_ours(&pid), Vec::<String>::new(), "{what}");
        running.signal("TERM");
        assert_eq!(running.end().0, Some(9), "Node {version}");
    }
}

#[test]
fn a_worker_that_hangs_before_the_attach_is_watched() {
    let scratch = Scratch::new("attach-worker-hangs");
    let program_text = "\
const { Worker, isMainThread } = require('worker_threads');
function forever() {
  for (;;);
}
if (isMainThread) new Worker(__filename);
else { console.log('hangs'); setTimeout(forever, 20); }
";
    program(&scratch, "hangs.js", program_text);
    for (version, node) in versions() {
        let mut running = start(&scratch, &node, &["hangs.js"]);
        running.line_with("hangs");
        let done = attach(&scratch, &[&running.pid(), "--listen", "off"]);
        let what = format!("Node {version}: {}{}", done.stdout, done.stderr);
        assert!(done.code == Some(0) && done.stdout.contains("Its worker thread is watched, too."), "{what}");
        until(|| scratch.run(&["ls"]).stdout.contains("STALLED").then_some(()));
        running.signal("KILL");
        running.end();
    }
}

#[test]
fn a_program_that_was_attached_to_ends_by_itself_as_before() {
    let scratch = Scratch::new("attach-ends-itself");
    let ends = "\
const { Worker, isMainThread } = require('worker_threads');
if (isMainThread) {
  const worker = new Worker(__filename).once('online', () => console.log('online')).once('exit', (code) => console.log('worker', code));
  process.once('SIGUSR2', () => worker.postMessage('end'));
  process.on('exit', () => console.log('bye'));
} else require('worker_threads').parentPort.once('message', () => {});
";
    program(&scratch, "ends.js", ends);
    for (version, node) in versions() {
        let mut running = start(&scratch, &node, &["ends.js"]);
        running.line_with("online");
        let done = attach(&scratch, &[&running.pid(), "--listen", "off"]);
        assert_eq!(done.code, Some(0), "Node {version}: {}", done.stderr);
        running.signal("USR2");
        let (code, said, complained) = running.end();
        assert_eq!((code, &*said), (Some(0), "online\nworker 0\nbye"), "Node {version}: {complained}");
        assert!(!complained.contains("Waiting for the debugger"), "Node {version}: {complained}");
        assert!(scratch.pages().is_empty(), "Node {version}");
    }
}
