//! What the commands, the live page's JSON and `/metrics` say of the two adapters of `examples/adapters`, in virtual time.
//!
//! The adapters' pages are files, as all pages are. At each moment that they show, the files are copied into a
//! directory of their own under one pid, with the words that differ from run to run (pid, start, thread, wall clock)
//! written over, and locked as a living writer's are. From there on it is the code of the commands that reads and
//! tells them; only the clock by which it does is the adapters'. No real clock would do: ages would be other ones in
//! each run, and a virtual clock cannot be read by another process.
//!
//! What is told is compared with the files in `agent/cli/tests/adapters`, line by line. `UPDATE_EXPECT=1` rewrites them:
//! `UPDATE_EXPECT=1 cargo test -p loopscope adapters_tests`.

#[path = "../../../examples/adapters/scripts.rs"]
mod scripts;
#[path = "../../../examples/adapters/tasks.rs"]
mod tasks;
#[path = "../../../examples/adapters/virtual_agent.rs"]
mod virtual_agent;

use crate::pages::{Process, processes_in};
use crate::paint::Paint;
use crate::top::loop_table::LoopTable;
use crate::top::theme::Theme;
use crate::top::{details, once};
use crate::{doctor, incidents, ls, view};
use loopscope_probe::Clock;
use loopscope_probe::raw::directory;
use loopscope_probe::raw::directory::page_files;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_report::diagnose::{EvidenceCollector, PageSample, Surroundings, ThreadSample, diagnose};
use loopscope_report::live::{View, ViewBuilder};
use loopscope_report::metrics::format::MetricsFormat;
use loopscope_report::metrics::loop_metrics::AgentMetrics;
use loopscope_report::metrics::loop_watch::LoopWatch;
use loopscope_report::metrics::render::render;
use loopscope_report::metrics::sums::{Merging, Sums};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use virtual_agent::{Moment, Stage};

/// Who the adapters' process is said to be: pid, start, and when its pages were made.
const PID: u64 = 4711;
const START: u64 = 100;
const CREATED_UNIX_NS: u64 = 1_800_000_000_000_000_000;

/// How wide lines are.
const WIDTH: usize = 110;

/// A directory in memory, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = PathBuf::from(format!("/dev/shm/loopscope-test-{}-{name}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Everything that is told, by where: each with a heading for every moment.
#[derive(Default)]
struct Told(BTreeMap<&'static str, String>);

impl Told {
    fn add(&mut self, exit: &'static str, title: &str, text: &str) {
        // The adapters' files are reached from this one.
        let text = text.replace("agent/cli/src/../../../", "");
        let lines = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        *self.0.entry(exit).or_default() += &format!("== {title}\n{lines}\n\n");
    }
}

/// Who looks: what the commands remember from one look to the next.
struct Audience {
    stage: PathBuf,
    copies: PathBuf,
    observer: ViewBuilder,
    before: BTreeMap<String, String>,
    collectors: BTreeMap<usize, EvidenceCollector>,
    watches: BTreeMap<usize, LoopWatch>,
    sums: Sums<()>,
    began_ns: u64,
    told: Told,
}

/// Copies of the pages of one moment. The files are locked where their process is to live.
struct Copies {
    directory: PathBuf,
    _locked: Vec<File>,
}

impl Copies {
    fn of(stage: &Path, directory: &Path, is_alive: bool) -> Copies {
        DirBuilder::new().mode(0o700).create(directory).unwrap();
        let mut locked = Vec::new();
        for (number, file) in page_files(stage).unwrap().iter().enumerate() {
            let copy = directory.join(format!("{PID}-{START}-{number}.page"));
            fs::copy(&file.path, &copy).unwrap();
            let page = OpenOptions::new().read(true).write(true).open(copy).unwrap();
            // The words by their offsets in docs/page.md: pid, start, thread, wall clock, and the two of the boot.
            let thread = PID + number as u64;
            for (word, offset) in
                [(PID, 24), (START, 32), (thread, 48), (CREATED_UNIX_NS, 56), (0, 296), (0, 304)]
            {
                page.write_all_at(&word.to_ne_bytes(), offset).unwrap();
            }
            if is_alive {
                page.lock().unwrap();
                locked.push(page);
            }
        }
        Copies { directory: directory.to_owned(), _locked: locked }
    }

    fn processes(&self, clock: &Clock) -> Vec<Process> {
        processes_in(self.directory.clone(), |_, _| Some(clock.clone())).unwrap()
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Audience {
    fn call(&mut self, moment: Moment<'_>) {
        let Some(clock) = moment.pages.first().map(|page| page.clock().clone()) else { return };
        for (number, page) in moment.pages.iter().enumerate().filter(|(_, page)| !page.page().is_over()) {
            self.look(number, page, &clock);
        }
        let Some(title) = moment.title else { return };
        let copies = Copies::of(&self.stage, &self.copies, true);
        self.tell(title, &copies.processes(&clock), &clock);
        self.tell_metrics(moment.pages, &clock);
        self.tell_findings(title, &copies.processes(&clock), moment.pages, &clock);
    }

    fn look(&mut self, number: usize, page: &LocalPage, clock: &Clock) {
        let at = clock.now();
        let collector = self.collectors.entry(number);
        let collector = collector.or_insert_with(|| EvidenceCollector::begin(page.page(), clock, at));
        collector.look(&PageSample {
            page: page.page(),
            clock,
            at,
            thread: ThreadSample::default(),
            agent_age_ns: None,
        });
        collector.read_gauges(&page.page().snapshot_at(clock, at));
        let taken: Vec<String> = self.watches.values().map(|watch| watch.series_label().to_owned()).collect();
        let (worker, sums) = (page.page().facts().worker, &mut self.sums);
        let watch = self.watches.entry(number).or_insert_with(|| {
            let taken = taken.iter().map(String::as_str);
            let watch = LoopWatch::new(page.called().clone(), worker, taken, None);
            sums.enter((), &watch);
            watch
        });
        watch.look(page.page(), clock, &page.page().vitals_at(clock, at));
    }

    /// Tells what `ls`, `top`, `incidents` and the live page say.
    fn tell(&mut self, title: &str, processes: &[Process], clock: &Clock) {
        let (paint, now_unix_ns) = (Paint::plain(WIDTH), CREATED_UNIX_NS + clock.now().0);
        self.told.add("ls.txt", title, &ls::table(paint, processes, true));
        let mut view = view::observe(&mut self.observer, processes);
        (view.unix_ns, view.interval_ns, view.directory) = (now_unix_ns, 0, None);
        self.tell_view(title, &view);
        let mut board = LoopTable::new("");
        board.show(view);
        let mut text = once::table(&board);
        for row in board.rows() {
            let lines = details::lines(&board.view, row, WIDTH as u16, Theme::plain());
            text += "\n";
            lines.iter().for_each(|line| text += &format!("{line}\n"));
        }
        self.told.add("top.txt", title, &text);
        let catch = incidents::source::of_found(processes).unwrap().printable();
        let mut text = incidents::list::text(paint, &catch, 10, now_unix_ns);
        for found in catch.found.iter().chain(&catch.quiet) {
            text += &format!(
                "\n{}",
                incidents::detail::text(paint, found, incidents::detail::Frames::Folded, now_unix_ns)
            );
        }
        self.told.add("incidents.txt", title, &text);
    }

    /// Tells what has changed in the live page's JSON since the moment before, a value a line.
    fn tell_view(&mut self, title: &str, view: &View) {
        let mut now = BTreeMap::new();
        flatten("", &serde_json::to_value(view).unwrap(), &mut now);
        let gone =
            self.before.keys().filter(|path| !now.contains_key(*path)).map(|path| format!("{path} is gone"));
        let is_new = |(path, value): &(&String, &String)| self.before.get(*path) != Some(*value);
        let changed = now.iter().filter(is_new).map(|(path, value)| format!("{path} = {value}"));
        let text: Vec<String> = gone.chain(changed).collect();
        // The namespace is the machine's, and so would be the boot, which is written over.
        let text = text.join("\n").replace(&format!("-{}.", directory::pid_namespace()), "-NAMESPACE.");
        self.told.add("live.txt", title, &text);
        self.before = now;
    }

    /// Tells the metrics of the loops and their pools: those of the last moment stay. Buckets are left out.
    fn tell_metrics(&mut self, pages: &[&LocalPage], clock: &Clock) {
        let mut merging = Merging::default();
        for (number, page) in pages.iter().enumerate().filter(|(_, page)| !page.page().is_over()) {
            let watch = self.watches.get_mut(&number).expect("it was looked at");
            merging.add((), watch.view(page.page().snapshot(clock), self.sums.sites_room(())));
        }
        let views = self.sums.finish(merging);
        let page = render(MetricsFormat::Text, &views, &AgentMetrics::default(), "");
        let text = String::from_utf8(page.body).unwrap();
        let is_told = |line: &&str| {
            let of_us = ["loopscope_agent_", "loopscope_build_info", "#"];
            let is_own = line.contains("loop=\"") || !of_us.iter().any(|of_us| line.starts_with(of_us));
            is_own && !line.contains("_bucket{")
        };
        let lines: Vec<&str> = text.lines().filter(is_told).collect();
        self.told.0.remove("metrics.txt");
        self.told.add("metrics.txt", "the last moment", &lines.join("\n"));
    }

    /// Tells what the doctor says of the time since the moment before.
    fn tell_findings(&mut self, title: &str, processes: &[Process], pages: &[&LocalPage], clock: &Clock) {
        let [process] = processes else { panic!("one process: {processes:?}") };
        let mut evidence = Vec::new();
        for (number, collector) in std::mem::take(&mut self.collectors) {
            let page = pages[number];
            let label = Some(page.called().words(page.page().facts().worker));
            let surroundings = Surroundings { label, processors: 4, ..Surroundings::default() };
            evidence.push(collector.end(&page.page().snapshot(clock), clock, surroundings));
        }
        let findings = diagnose(&evidence);
        let lasted =
            Duration::from_nanos(clock.now().0 - std::mem::replace(&mut self.began_ns, clock.now().0));
        let seen = doctor::watch::Seen {
            evidence,
            earlier: Vec::new(),
            lasted,
            was_interrupted: false,
            has_ended: false,
            notes: Vec::new(),
        };
        let now_unix_ns = CREATED_UNIX_NS + clock.now().0;
        let text = doctor::report::text(Paint::plain(WIDTH), process, &seen, &findings, now_unix_ns);
        self.told.add("doctor.txt", title, &text);
    }
}

/// Writes each value of a JSON value under its path. A list of numbers is one value, and a loop is called by its name.
fn flatten(path: &str, value: &Value, values: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, values);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for (number, entry) in entries.iter().enumerate() {
                flatten(&format!("{path}[{number}]"), entry, values);
            }
        }
        value => drop(values.insert(path.trim_start_matches('.').to_owned(), value.to_string())),
    }
}

/// Plays an adapter, and compares what is told of it with the files of that name.
fn compare(name: &str, play: fn(&mut Stage<'_>)) {
    let scratch = Scratch::new(name);
    let (stage, copies) = (scratch.0.join("stage"), scratch.0.join("copies"));
    DirBuilder::new().mode(0o700).create(&stage).unwrap();
    let mut audience = Audience {
        stage: stage.clone(),
        copies: copies.clone(),
        observer: ViewBuilder::new(),
        before: BTreeMap::new(),
        collectors: BTreeMap::new(),
        watches: BTreeMap::new(),
        sums: Sums::default(),
        began_ns: 1_000_000_000,
        told: Told::default(),
    };
    let mut clock = None;
    play(&mut Stage::new(&stage, &mut |moment| {
        audience.call(moment);
        // What a killed process leaves is what its pages hold at the last moment.
        if moment.title.is_some() {
            let _ = fs::remove_dir_all(scratch.0.join("left"));
            Copies::of(&stage, &scratch.0.join("left"), false).keep();
            clock = moment.pages.first().map(|page| page.clock().clone());
        }
    }));
    let left = Copies { directory: scratch.0.join("left"), _locked: Vec::new() };
    let clock = clock.expect("something was shown");
    audience.tell("killed at this moment", &left.processes(&clock), &clock);
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapters").join(name);
    let wrong: Vec<String> =
        audience.told.0.iter().filter_map(|(exit, told)| difference(&expected.join(exit), told)).collect();
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 rewrites the files.\n{}", wrong.join("\n"));
}

impl Copies {
    /// Leaves the files where they are.
    fn keep(self) {
        std::mem::forget(self);
    }
}

/// Says in which lines what is told is not what the file says; writes the file where that is asked for.
fn difference(file: &Path, told: &str) -> Option<String> {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(file.parent()?).unwrap();
        fs::write(file, told).unwrap();
        return None;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    let (mut expected, mut told) = (expected.lines(), told.lines());
    let mut wrong = Vec::new();
    for number in 1.. {
        match (expected.next(), told.next()) {
            (None, None) => break,
            (expected, told) if expected == told => {}
            (expected, told) => wrong.push(format!(
                "{}:{number}:\n  expected {}\n  told     {}",
                file.display(),
                expected.unwrap_or("nothing more"),
                told.unwrap_or("nothing more")
            )),
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

#[test]
fn a_runtime_of_workers_that_poll_tasks_is_told_as_expected() {
    compare("tasks", tasks::play);
}

#[test]
fn a_runtime_that_runs_scripts_is_told_as_expected() {
    compare("scripts", scripts::play);
}
