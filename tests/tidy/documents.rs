//! The rules about what is not Rust: links that lead somewhere, metric names that exist, files that are not too big.

use crate::tracked::{Fault, Tracked, line_of};
use std::collections::BTreeSet;

const BLOB_BYTES: u64 = 300 * 1024;

/// No tracked file is larger than 300 KiB. Takes paths and sizes.
pub fn blob_size(sizes: &[(String, u64)]) -> Vec<Fault> {
    let large = sizes.iter().filter(|(_, bytes)| *bytes > BLOB_BYTES);
    let remedy = |bytes: &u64| format!("{bytes} bytes: generate it, or keep less of it (most: {BLOB_BYTES})");
    large.map(|(path, bytes)| Fault::new(path, 1, remedy(bytes))).collect()
}

/// Nothing is put off in a document, script or manifest.
pub fn put_off(files: &[Tracked]) -> Vec<Fault> {
    let words = ["TODO", "FIXME"];
    let in_file = |file: &Tracked| -> Vec<Fault> {
        let found = words.iter().flat_map(|word| crate::scanner::words(&file.text, word));
        found.map(|at| Fault::new(&file.path, line_of(&file.text, at), "do it, or open an issue")).collect()
    };
    files.iter().flat_map(in_file).collect()
}

/// Every relative link of a document leads to a tracked file, or to a folder with one.
pub fn links(documents: &[Tracked], tracked: &[String]) -> Vec<Fault> {
    documents.iter().flat_map(|document| links_of(document, tracked)).collect()
}

fn links_of(document: &Tracked, tracked: &[String]) -> Vec<Fault> {
    let text = without_code(&document.text);
    let targets = text.match_indices("](").map(|(at, mark)| (at, at + mark.len()));
    let broken = targets.filter_map(|(at, begin)| {
        let target = text[begin..].split([')', ' ', '\n']).next().unwrap_or_default();
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:") || target.starts_with('#');
        let path = target.split('#').next().unwrap_or_default();
        let resolved = resolve(&document.path, path);
        let folder = format!("{}/", resolved.trim_end_matches('/'));
        let exists = tracked.iter().any(|file| *file == resolved || file.starts_with(&folder));
        (!is_elsewhere && !exists).then(|| (at, target.to_owned()))
    });
    broken
        .map(|(at, target)| {
            Fault::new(&document.path, line_of(&text, at), format!("the link to `{target}` leads nowhere"))
        })
        .collect()
}

/// Every example of a scrape of ours asks for native histograms: Prometheus 3.9 and later asks for them by nothing else.
pub fn native_histograms(files: &[Tracked]) -> Vec<Fault> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let in_file = |file: &Tracked| -> Vec<Fault> {
        let lines: Vec<&str> = file.text.lines().collect();
        let jobs = lines.iter().enumerate().filter(|(_, line)| line.trim_start() == "- job_name: loopscope");
        let lacking = jobs.filter(|(at, job)| {
            let of_job = |line: &&&str| line.trim().is_empty() || indent(line) > indent(job);
            let mut settings = lines[at + 1..].iter().take_while(of_job);
            !settings.any(|line| line.trim().starts_with("scrape_native_histograms: true"))
        });
        let remedy = "add `scrape_native_histograms: true`";
        lacking.map(|(at, _)| Fault::new(&file.path, at + 1, remedy)).collect()
    };
    files.iter().flat_map(in_file).collect()
}

/// Blanks out fenced blocks and inline code, keeping the lines.
fn without_code(text: &str) -> String {
    let mut is_fenced = false;
    let keep = |line: &str| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        if is_fenced || is_fence {
            return String::new();
        }
        // Every second piece between backticks is code.
        line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(keep).collect::<Vec<_>>().join("\n")
}

fn resolve(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Words of this form that are names of crates and not of metrics.
const CRATES: &[&str] = &[
    "agent",
    "benches",
    "dashboards",
    "examples",
    "host",
    "http",
    "loop",
    "node",
    "probe",
    "report",
    "spans",
    "stacks",
    "tests",
    "tokio",
];

/// What the text format appends to a family's name.
const SAMPLE_SUFFIXES: &[&str] = &["_bucket", "_count", "_sum", "_created"];

/// Returns the metric names in a text, with their offsets. A name that ends with `_` stands for a whole group
/// (`loopscope_pool_*`).
fn metric_names(text: &str) -> Vec<(usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let found = text.match_indices("loopscope_").filter(|(at, _)| !text[..*at].ends_with(is_part));
    let whole = found
        .map(|(at, _)| (at, &text[at..at + text[at..].find(|c| !is_part(c)).unwrap_or(text.len() - at)]));
    whole.filter(|(_, name)| !CRATES.contains(&&name["loopscope_".len()..])).collect()
}

/// Every metric name in these files is one of the catalog's.
pub fn metrics(files: &[Tracked], catalog: &str) -> Vec<Fault> {
    let quoted = metric_names(catalog).into_iter().filter(|(at, _)| catalog[..*at].ends_with('"'));
    let known: BTreeSet<&str> = quoted.map(|(_, name)| name).collect();
    let is_known = |name: &str| match name.strip_suffix('_') {
        // What runtimes give is known to nobody before.
        _ if name.starts_with("loopscope_runtime_") => true,
        Some(_) => known.iter().any(|known| known.starts_with(name)),
        None => {
            let family = SAMPLE_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
            known.contains(name) || family.is_some_and(|family| known.contains(family))
        }
    };
    let unknown = |file: &Tracked| -> Vec<Fault> {
        let wrong = metric_names(&file.text).into_iter().filter(|(_, name)| !is_known(name));
        let remedy = |name| {
            format!(
                "`{name}` is no metric of agent/report/src/metrics/catalog.rs: correct it, or add it there"
            )
        };
        wrong.map(|(at, name)| Fault::new(&file.path, line_of(&file.text, at), remedy(name))).collect()
    };
    files.iter().flat_map(unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::sample;

    fn lines(faults: Vec<Fault>) -> Vec<usize> {
        faults.iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn a_large_file_is_found() {
        let sizes = [("small".to_owned(), 300 * 1024), ("large".to_owned(), 300 * 1024 + 1)];
        assert_eq!(blob_size(&sizes).iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), ["large"]);
    }

    #[test]
    fn what_was_put_off_is_found() {
        assert_eq!(lines(put_off(&[sample("a.md", "todo\nTODO: later\n")])), [2]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let tracked = ["README.md".to_owned(), "docs/metrics.md".to_owned()];
        let good = "[a](metrics.md#lag) [b](../README.md) [c](https://x.example) [d](#e) [f](../docs)\n`[g](h)`\n```\n[i](j)\n```\n";
        assert_eq!(links(&[sample("docs/a.md", good)], &tracked), []);
        let bad = "\n[a](README.md) and ![b](../docs/metrics)\n";
        assert_eq!(lines(links(&[sample("docs/a.md", bad)], &tracked)), [2, 2]);
    }

    #[test]
    fn an_example_without_native_histograms_is_found() {
        let job = |setting: &str| {
            format!("scrape_configs:\n  - job_name: loopscope\n{setting}    static_configs: []\n")
        };
        let good = job("    # Finer.\n\n    scrape_native_histograms: true   # since 3.8\n");
        let other = "  - job_name: prometheus\n    static_configs: []\n";
        assert_eq!(native_histograms(&[sample("a.md", &good), sample("b.yml", other)]), []);
        for bad in [job(""), job("    scrape_native_histograms: false\n")] {
            // That of another job is none of this one.
            let text = format!("{bad}{other}    scrape_native_histograms: true\n");
            assert_eq!(lines(native_histograms(&[sample("a.md", &text)])), [2]);
        }
    }

    #[test]
    fn a_metric_that_does_not_exist_is_found() {
        let catalog =
            "gauge(\"loopscope_loop_stall_seconds\", ..) durations(\"loopscope_loop_lag_seconds\", ..)";
        let good =
            "loopscope_loop_lag_seconds_bucket loopscope_loop_* loopscope_loop::Loop use loopscope_probe";
        assert_eq!(metrics(&[sample("a.md", good)], catalog), []);
        let bad = "loopscope_loop_stall_seconds\nloopscope_loop_lag_ms\nloopscope_pool_*";
        assert_eq!(lines(metrics(&[sample("a.md", bad)], catalog)), [2, 3]);
    }
}
