//! The exporter's faults, met on purpose, and what the recorder does about them.

use super::*;

/// Everything that the exporter gets wrong or could.
fn misuse() {
    metrics::describe_counter!("files_total", "Files of C:\\new\n\"all\".");
    metrics::counter!("files_total", "path" => "C:\\x\"y\\\"z\nw").increment(3);
    metrics::counter!("files_total", "path" => "").increment(u64::MAX);
    metrics::counter!("orders").increment(2);
    metrics::counter!("loopscope_loop_iterations_total").increment(9);
    metrics::counter!("loopscope.loop.lag").increment(9);
    metrics::describe_histogram!("wait_seconds", Unit::Milliseconds, "Waiting.");
    metrics::histogram!("wait_seconds", "le" => "mine").record(0.3);
    metrics::histogram!("drain_count").record(1.5);
    metrics::describe_gauge!("temperature", Unit::Percent, "How hot.");
    metrics::gauge!("temperature", "a-b" => "1", "a_b" => "2").set(-1e-12);
    metrics::gauge!("limit").set(f64::INFINITY);
    metrics::counter!("same.name").increment(1);
    metrics::gauge!("same_name").set(2.0);
    metrics::histogram!("payload_bytes").record(5_000.0);
    metrics::gauge!("process_open_fds").set(12_345.0);
}

/// Returns what the exporter writes of it.
fn rendered() -> String {
    let inner = build().unwrap();
    let handle = inner.handle();
    metrics::with_local_recorder(&ProgramRecorder::new(inner), misuse);
    handle.render()
}

/// What the report crate tests its reading with is what the exporter writes. `UPDATE_EXPECT=1` rewrites it.
#[test]
fn the_sample_of_the_report_crate_is_what_the_exporter_writes() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../report/src/metrics/recorder_sample.prom");
    // The exporter writes families and series in random order.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let rendered = rendered();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let sample = std::fs::read_to_string(&path).unwrap();
    assert_eq!(sorted(&sample), sorted(&rendered), "UPDATE_EXPECT=1 rewrites {}", path.display());
}

/// The exporter while it writes a page: whoever comes to it waits until that is over.
struct Writing<'a>(&'a std::sync::Mutex<Vec<String>>);

impl Recorder for Writing<'_> {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.lock().unwrap().push(format!("describe {}", name.as_str()));
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.lock().unwrap().push(key.name().to_owned());
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.lock().unwrap().push(key.name().to_owned());
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.lock().unwrap().push(key.name().to_owned());
        Histogram::noop()
    }
}

#[test]
fn a_page_that_is_being_written_holds_no_thread_that_records_what_is_known() {
    let asked = std::sync::Mutex::new(Vec::new());
    let recorder = ProgramRecorder::new(Writing(&asked));
    let record = || {
        metrics::describe_histogram!("wait_seconds", "Waits.");
        metrics::histogram!("wait_seconds", "of" => "a\\b").record(0.3);
        metrics::counter!("orders_total").increment(1);
        metrics::gauge!("open").set(1.0);
    };
    metrics::with_local_recorder(&recorder, record);
    // The agent is off its processor in the middle of a page; the loop's thread goes on.
    let page = asked.lock().unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            metrics::with_local_recorder(&recorder, record);
            done.send(()).unwrap();
        });
        let has_gone_on = is_done.recv_timeout(std::time::Duration::from_secs(60)).is_ok();
        let asked = page.clone();
        drop(page);
        assert!(has_gone_on, "it waits for the page");
        assert_eq!(asked, ["describe wait_seconds", "wait_seconds", "orders_total", "open"], "each once");
    });
}

#[test]
fn samples_of_many_threads_are_all_counted() {
    let inner = build().unwrap();
    let handle = inner.handle();
    let recorder = ProgramRecorder::new(inner);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                metrics::with_local_recorder(&recorder, || {
                    for _ in 0..1_000 {
                        metrics::histogram!("run_seconds", "of" => "all").record(0.25);
                        metrics::describe_histogram!("run_seconds", "Runs.");
                    }
                });
            });
        }
    });
    let text = handle.render();
    for line in [
        "run_seconds_bucket{of=\"all\",le=\"0.125\"} 0",
        "run_seconds_bucket{of=\"all\",le=\"0.25\"} 4000",
        "run_seconds_sum{of=\"all\"} 1000",
        "run_seconds_count{of=\"all\"} 4000",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
}
