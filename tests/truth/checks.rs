//! What displays tell, compared with what the program measured.

use super::displays::{Displays, Metrics};
use super::program::{Program, Truth};
use serde_json::Value;

const S: f64 = 1e9;

/// So much shorter a time may be by the page's clock, the processor's counter, than by the program's.
const CLOCK: f64 = 0.999;

/// What was told wrong, a sentence each.
#[derive(Default)]
pub struct Faults(pub Vec<String>);

impl Faults {
    /// Checks that something is so.
    pub fn check(&mut self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.0.push(what());
        }
    }

    /// Checks a number; `None` where a display does not tell it.
    pub fn within(&mut self, what: &str, value: Option<f64>, least: f64, most: f64) {
        let is_so = value.is_some_and(|value| value >= least && value <= most);
        self.check(is_so, || format!("{what} is {value:?}, and is from {least} to {most}"));
    }
}

/// Which loop of which program, by which label.
#[derive(Clone, Copy)]
pub struct Watched<'a> {
    pub displays: &'a Displays,
    pub program: &'a Program,
    pub number: usize,
    pub label: &'a str,
}

impl Watched<'_> {
    pub fn tell(&self) -> Truth {
        self.program.tell().swap_remove(self.number)
    }

    /// Compares the metrics of its agent and of the server with what was measured before and after they were made.
    pub fn metrics(&self, faults: &mut Faults) {
        let pid = self.program.pid.to_string();
        for (whose, labels) in [("the agent's", vec![]), ("serve's", vec![("pid", &*pid)])] {
            let before = self.tell();
            let page = match labels.is_empty() {
                true => self.displays.metrics_of(&self.program.agent),
                false => self.displays.metrics(),
            };
            let after = self.tell();
            let told = Told { label: self.label, page: &page, labels: &labels, between: (&before, &after) };
            told.loop_times(&format!("{whose} {}", self.label), faults);
            told.callbacks(&format!("{whose} {}", self.label), faults);
            told.pool(&format!("{whose} {}", self.label), faults);
        }
    }

    /// Compares what each list tells of the loop; its state must be one of these.
    pub fn lists(&self, states: &[&str], faults: &mut Faults) {
        let before = self.tell();
        let all = self.displays.processes(self.program.pid);
        let after = self.tell();
        for (display, is_whole, process) in all {
            let what = format!("{} in {display}:", self.label);
            let Some(own) = loop_of(&process, self.label) else {
                faults.check(false, || format!("{what} is missing: {process}"));
                continue;
            };
            let state = own["state"]["kind"].as_str().unwrap_or_default();
            faults.check(states.contains(&state), || format!("{what} state {}", own["state"]));
            let told = &own["stalls"];
            let (least, most) = stalls(&before, &after);
            faults.within(&format!("{what} stalls"), told["warning_count"].as_f64(), least, most);
            let longest_ns = after.of("thread_ns") + slack_ns(&after);
            let blocked_ns = told["blocked_ns"].as_f64();
            let is_calm = most == 0.0;
            faults.within(
                &format!("{what} blocked_ns"),
                blocked_ns,
                if least > 0.0 { CLOCK * before.of("guilty.ns") } else { 0.0 },
                if is_calm { 0.0 } else { longest_ns },
            );
            if is_whole {
                let sites: Vec<&str> = own["sites"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(|site| site["label"].as_str())
                    .collect();
                let is_told = sites.iter().any(|site| site.starts_with("guilty ("));
                faults.check(is_told == (least > 0.0), || format!("{what} sites {sites:?}"));
                let share = own["utilization_ratio"].as_f64().map(|share| share * after.of("most_ns"));
                faults.within(&format!("{what} busy time"), share, busy_ns(&before), longest_ns);
            }
        }
    }

    /// Returns the incidents that the command lists of its process, when there are that many of `guilty`; those of nobody's
    /// code are left out.
    pub fn incidents(&self, count: usize) -> Vec<Value> {
        let pid = self.program.pid.to_string();
        let deadline = std::time::Instant::now() + super::program::DEADLINE;
        loop {
            let listed = self.displays.json(&["incidents", &pid, "--json", "--last", "100"]);
            let summed: u64 =
                listed["summary"].as_array().unwrap().iter().filter_map(|sum| sum["count"].as_u64()).sum();
            assert_eq!(Some(summed), listed["found"].as_u64(), "the summary is of all: {listed}");
            let all = listed["incidents"].as_array().unwrap().iter();
            let own: Vec<Value> = all.filter(|one| blames_code(one)).cloned().collect();
            let is_late = std::time::Instant::now() > deadline;
            if is_late || own.iter().filter(|one| one["is_over"] == true).count() >= count {
                return own;
            }
        }
    }

    /// Watches for a second, and returns the findings that are about the program and not about the machine.
    pub fn findings(&self) -> Vec<Value> {
        let pid = self.program.pid.to_string();
        let told = self.displays.json(&["doctor", &pid, "--json", "--for", "1s"]);
        own_findings(&told)
    }
}

/// Returns the findings that are about the program and not about the machine.
pub fn own_findings(told: &Value) -> Vec<Value> {
    let is_own = |finding: &&Value| {
        let is_machines =
            ["starved_of_cpu", "agent_late", "timers_late"].contains(&finding["rule"].as_str().unwrap());
        !is_machines && finding["urgency"] != "notice"
    };
    told["findings"].as_array().unwrap().iter().filter(is_own).cloned().collect()
}

/// Tells whether an incident may be the fault of code, as its class has it.
fn blames_code(incident: &Value) -> bool {
    !["starved_of_cpu", "stopped", "suspended"].contains(&incident["class"].as_str().unwrap())
}

pub fn loop_of(process: &Value, label: &str) -> Option<Value> {
    process["loops"].as_array()?.iter().find(|one| one["name"] == label).cloned()
}

/// How many stalls there were, at least and at most: a guilty callback, or its flood, is one where it took that long.
fn stalls(before: &Truth, after: &Truth) -> (f64, f64) {
    /// The threshold of the programs.
    const THRESHOLD_NS: f64 = 0.4 * S;
    let is_over = after.of("guilty.begun") == after.of("guilty.ended");
    match is_over && after.of("guilty.longest_ns") < THRESHOLD_NS {
        true => (0.0, 0.0),
        false => (before.of("guilty.ended"), after.of("guilty.begun")),
    }
}

/// What callbacks took: the least that a loop was busy.
fn busy_ns(truth: &Truth) -> f64 {
    truth.of("calm.ns") + truth.of("guilty.ns")
}

/// So much more than its thread ran and waited for a processor may a loop be busy: the hypervisor's part is in no account.
fn slack_ns(truth: &Truth) -> f64 {
    truth.of("most_ns") / 5.0
}

/// A page of metrics, and what was measured before and after it was made.
struct Told<'a> {
    label: &'a str,
    page: &'a Metrics,
    labels: &'a [(&'a str, &'a str)],
    between: (&'a Truth, &'a Truth),
}

impl Told<'_> {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let own = if name.starts_with("pool_") { "pool" } else { "loop" };
        let labels = [self.labels, &[(own, self.label)], labels].concat();
        self.page.value(&format!("loopscope_{name}"), &labels)
    }

    fn loop_times(&self, what: &str, faults: &mut Faults) {
        let (before, after) = self.between;
        // An event a millisecond; those of the busy period that lasts are counted when that is over.
        let stall_ms = self.value("loop_stall_seconds", &[]).unwrap_or(0.0) * 1e3;
        let count = self.value("loop_lag_seconds_count", &[]);
        let (least, most) =
            (CLOCK * before.of("least_ns") / 1e6 - stall_ms - 1.0, after.of("most_ns") / 1e6 / CLOCK + 1.0);
        faults.within(&format!("{what}: events whose lag is counted"), count, least, most);
        let time = |state| self.value("loop_time_seconds_total", &[("state", state)]);
        let busiest_ns = after.of("thread_ns") + slack_ns(after);
        faults.within(
            &format!("{what}: active"),
            time("active"),
            CLOCK * busy_ns(before) / S,
            busiest_ns / S,
        );
        let all = time("active").zip(time("idle")).map(|(active, idle)| active + idle);
        let (least, most) =
            (CLOCK * before.of("least_ns") / S - 0.001, after.of("most_ns") / S / CLOCK + 0.001);
        faults.within(&format!("{what}: active and idle"), all, least, most);
        let share = self.value("loop_utilization_ratio", &[]);
        faults.within(&format!("{what}: utilization"), share, 0.0, 1.0);
        let is_idle = busiest_ns < after.of("most_ns") / 3.0 && after.of("calm.begun") == 0.0;
        faults.check(!is_idle || share < Some(0.5), || {
            format!("{what}: utilization {share:?} of an idle loop")
        });
    }

    fn callbacks(&self, what: &str, faults: &mut Faults) {
        let (before, after) = self.between;
        let blocked = self.value("blocked_total", &[("severity", "warning")]);
        let (least, most) = stalls(before, after);
        faults.within(&format!("{what}: blocked"), blocked, least, most);
        for (name, slack) in [("calm", 3.0), ("guilty", 0.0)] {
            let site = format!("{name} (");
            let calls = self.value("callback_site_calls_total", &[("site", &site)]);
            let [ended, begun] = [before.of(&format!("{name}.ended")), after.of(&format!("{name}.begun"))];
            // What never ran has no series.
            let calls = calls.or((ended <= slack).then_some(0.0));
            faults.within(&format!("{what}: calls of {name}"), calls, ended - slack, begun);
        }
        let drained = self.value("microtask_jobs_total", &[("queue", "microtask")]);
        let [least, most] = [before, after].map(|truth| truth.of("microtasks"));
        faults.within(&format!("{what}: drained"), drained, least, most);
    }

    /// While its jobs are held, or when they have all been delivered.
    fn pool(&self, what: &str, faults: &mut Faults) {
        let (before, after) = self.between;
        let jobs = |name: &str| self.value(&format!("pool_{name}"), &[]);
        let (begun, ended) = (before.of("jobs.begun"), after.of("jobs.ended"));
        if begun == 0.0 {
            let busy = jobs("threads_busy").unwrap_or(0.0) + jobs("queue_depth").unwrap_or(0.0);
            faults.within(&format!("{what}: jobs of a pool without any"), Some(busy), 0.0, 0.0);
            return;
        }
        let is_held = ended == 0.0;
        let (busy, queued) = if is_held { (4.0, 8.0) } else { (0.0, 0.0) };
        let (completed, least_ns) = if is_held { (0.0, 0.0) } else { (12.0, CLOCK * before.of("jobs.ns")) };
        for (name, least, most) in [
            ("threads", 4.0, 4.0),
            ("threads_busy", busy, busy),
            ("queue_depth", queued, queued),
            // Threads start when jobs are there.
            ("queue_depth_max", 8.0, 12.0),
            ("submitted_total", 12.0, 12.0),
            ("completed_total", completed, completed),
        ] {
            faults.within(&format!("{what}: {name} of the pool"), jobs(name), least, most);
        }
        // No thread runs for longer than the loop is there.
        let seconds = jobs("busy_seconds_total");
        faults.within(
            &format!("{what}: busy time of the pool"),
            seconds,
            least_ns / S,
            4.0 * after.of("most_ns") / S,
        );
    }
}
