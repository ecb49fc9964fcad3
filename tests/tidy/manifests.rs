//! The rules about manifests: which crate may name which, that every dependency says why it is there, and what a published
//! crate has.

use crate::circles;
use crate::tracked::{Fault, Tracked, root};
use std::process::Command;

/// One package: its name, its manifest's path from the root, and what it depends on, development included.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub manifest: String,
    pub dependencies: Vec<String>,
    /// Those of `dependencies` that only its tests have.
    pub development: Vec<String>,
}

/// The edges of ARCHITECTURE.md: who may name whom among our own crates. A package that is not here fails; one that is here
/// need not exist yet.
const EDGES: &[(&str, &[&str])] = &[
    ("loopscope-probe", &[]),
    ("loopscope-loop", &["loopscope-probe"]),
    ("loopscope-tokio", &["loopscope-probe", "loopscope-agent"]),
    ("loopscope-tokio-libraries", LIBRARIES),
    ("loopscope-node", &["loopscope-probe", "loopscope-agent", "loopscope-stacks"]),
    ("loopscope-report", &["loopscope-probe"]),
    ("loopscope-spans", &["loopscope-probe"]),
    ("loopscope-stacks", &[]),
    ("loopscope-http", &["loopscope-probe", "loopscope-report"]),
    (
        "loopscope-agent",
        &["loopscope-probe", "loopscope-report", "loopscope-stacks", "loopscope-http", "loopscope-spans"],
    ),
    ("loopscope-host", &["loopscope-probe", "loopscope-report", "loopscope-http"]),
    (
        "loopscope",
        &[
            "loopscope-probe",
            "loopscope-loop",
            "loopscope-report",
            "loopscope-spans",
            "loopscope-stacks",
            "loopscope-http",
            "loopscope-agent",
            "loopscope-host",
        ],
    ),
    ("loopscope-dashboards", &["loopscope-report"]),
    ("loopscope-examples", LIBRARIES),
    ("loopscope-tests", LIBRARIES),
    ("loopscope-instructions", LIBRARIES),
    ("loopscope-benches", LIBRARIES),
];

/// What programs for ourselves may name: all libraries.
const LIBRARIES: &[&str] = &[
    "loopscope-probe",
    "loopscope-loop",
    "loopscope-tokio",
    "loopscope-node",
    "loopscope-report",
    "loopscope-spans",
    "loopscope-stacks",
    "loopscope-http",
    "loopscope-agent",
    "loopscope-host",
    "loopscope-dashboards",
];

/// Crates for threads, sockets, files and processes, by the first word of their names: the report depends on none. Its
/// tests may.
const IMPURE: &[&str] = &[
    "async",
    "crossbeam",
    "hyper",
    "libc",
    "memmap2",
    "mio",
    "nix",
    "rayon",
    "rustix",
    "signal",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "ureq",
];

/// All that the probe may depend on besides std; the last three only in its tests and models.
const PROBE_NEEDS: &[&str] = &["libc", "loom", "num-bigint", "proptest", "regex-syntax"];

/// Asks cargo for the workspace's packages.
pub fn packages() -> Vec<Package> {
    let package = |package: serde_json::Value| {
        let dependencies = list(&package["dependencies"]);
        let development = dependencies.iter().filter(|edge| edge["kind"] == "dev");
        Package {
            name: text(&package["name"]),
            manifest: from_root(&package["manifest_path"]),
            development: development.map(|edge| text(&edge["name"])).collect(),
            dependencies: dependencies.iter().map(|edge| text(&edge["name"])).collect(),
        }
    };
    metadata().into_iter().map(package).collect()
}

/// Asks cargo for the targets of all packages: libraries, programs, tests, examples.
pub fn targets() -> Vec<circles::Target> {
    let targets_of = |package: serde_json::Value| {
        let name = text(&package["name"]);
        let target = move |target: serde_json::Value| circles::Target {
            package: name.clone(),
            root: from_root(&target["src_path"]),
        };
        list(&package["targets"]).into_iter().map(target)
    };
    metadata().into_iter().flat_map(targets_of).collect()
}

fn metadata() -> Vec<serde_json::Value> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let asked = cargo
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output();
    let asked = asked.expect("cargo runs this test, so it is there");
    assert!(asked.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&asked.stderr));
    let told: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("cargo metadata prints JSON");
    list(&told["packages"])
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a name or a path").to_owned()
}

fn list(value: &serde_json::Value) -> Vec<serde_json::Value> {
    value.as_array().expect("a list").clone()
}

/// Returns a path that cargo printed, from the repository's root.
fn from_root(path: &serde_json::Value) -> String {
    let path = text(path);
    let path = std::path::Path::new(&path).strip_prefix(root()).expect("packages lie in the repository");
    path.display().to_string()
}

/// No crate names another that it may not know.
pub fn edges(packages: &[Package]) -> Vec<Fault> {
    packages.iter().flat_map(edges_of).collect()
}

fn edges_of(package: &Package) -> Vec<Fault> {
    let fault = |remedy: String| Fault::new(&package.manifest, 1, remedy);
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
        let remedy = format!(
            "`{}` is not in the table of edges in tests/tidy/manifests.rs and ARCHITECTURE.md",
            package.name
        );
        return vec![fault(remedy)];
    };
    let is_ours = |name: &str| name.starts_with("loopscope");
    let wrong = package.dependencies.iter().filter(|name| match is_ours(name) {
        true => !allowed.contains(&name.as_str()),
        false => package.name == "loopscope-probe" && !PROBE_NEEDS.contains(&name.as_str()),
    });
    wrong
        .map(|name| {
            fault(format!("`{}` may not depend on `{name}`: see the edges in ARCHITECTURE.md", package.name))
        })
        .collect()
}

/// The report depends on nothing that runs, waits, opens or connects.
pub fn pure_report(packages: &[Package]) -> Vec<Fault> {
    let is_impure = |name: &str| {
        IMPURE.iter().any(|impure| {
            name.strip_prefix(impure).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let report = packages.iter().filter(|package| package.name == "loopscope-report");
    let named = report.flat_map(|package| {
        let used = package.dependencies.iter().filter(|name| !package.development.contains(name));
        used.map(move |name| (package, name))
    });
    let fault = |(package, name): (&Package, &String)| {
        let remedy =
            format!("`{name}` is for threads, sockets or files, and the report has none: take values");
        Fault::new(&package.manifest, 1, remedy)
    };
    named.filter(|(_, name)| is_impure(name)).map(fault).collect()
}

/// A published crate brings what registries and readers want, and names the oldest Rust that `docs/stability.md` promises.
pub fn published(stability: &Tracked) -> Vec<Fault> {
    let is_published = |package: &serde_json::Value| package["publish"].is_null();
    metadata().into_iter().filter(is_published).flat_map(|package| unready(&package, stability)).collect()
}

fn unready(package: &serde_json::Value, stability: &Tracked) -> Vec<Fault> {
    let (name, manifest) = (text(&package["name"]), from_root(&package["manifest_path"]));
    let rust = package["rust_version"].as_str().unwrap_or_default();
    let folder = root().join(manifest.trim_end_matches("Cargo.toml"));
    let mut missing: Vec<String> = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"]
        .into_iter()
        .filter(|file| !folder.join(file).is_file())
        .map(|file| format!("the file {file}"))
        .collect();
    let empty = |field: &&str| match &package[*field] {
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(values) => values.is_empty(),
        _ => true,
    };
    let fields = ["description", "license", "readme", "rust_version", "keywords", "categories"];
    missing.extend(fields.into_iter().filter(empty).map(|field| format!("`{field}`")));
    let is_told =
        |line: &str| line.starts_with(&format!("| `{name}` |")) && line.ends_with(&format!(" {rust} |"));
    if !stability.text.lines().any(is_told) {
        missing.push(format!("its line with Rust {rust} in {}", stability.path));
    }
    let said = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    if !said.contains(&format!("Rust {rust} or later.")) {
        missing.push(format!("Rust {rust} in its README"));
    }
    missing
        .into_iter()
        .map(|what| Fault::new(&manifest, 1, format!("`{name}` is published without {what}")))
        .collect()
}

/// Every dependency on somebody else's crate has a comment above it, or above its group, that says why.
pub fn reasons(manifests: &[Tracked]) -> Vec<Fault> {
    manifests.iter().flat_map(reasons_of).collect()
}

fn reasons_of(manifest: &Tracked) -> Vec<Fault> {
    let (mut is_dependencies, mut has_reason, mut faults) = (false, false, Vec::new());
    for (index, line) in manifest.text.lines().map(str::trim).enumerate() {
        if let Some(section) = line.strip_prefix('[') {
            // In the workspace's own table are our crates, by path.
            is_dependencies = section.trim_end_matches(']').ends_with("dependencies");
            has_reason = false;
        } else if line.is_empty() {
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = true;
        } else if is_dependencies && !has_reason && !line.starts_with("loopscope") && line.contains('=') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or(line);
            let remedy = format!("say in a comment above `{name}` why writing it ourselves would be worse");
            faults.push(Fault::new(&manifest.path, index + 1, remedy));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::sample;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        let manifest = "x/Cargo.toml".to_owned();
        Package { name: name.to_owned(), manifest, dependencies, development: Vec::new() }
    }

    #[test]
    fn an_edge_against_the_architecture_is_found() {
        for (name, dependencies) in [
            ("loopscope-probe", ["loopscope-agent"]),
            ("loopscope-probe", ["serde"]),
            ("loopscope-loop", ["loopscope-agent"]),
            ("loopscope-agent", ["loopscope-loop"]),
            ("loopscope-agent", ["loopscope"]),
            ("loopscope-agent", ["loopscope-host"]),
            ("loopscope-report", ["loopscope-agent"]),
            ("loopscope-http", ["loopscope-agent"]),
            ("loopscope-host", ["loopscope-agent"]),
            ("loopscope-spans", ["loopscope-report"]),
            ("loopscope-stacks", ["loopscope-probe"]),
            ("loopscope-dashboards", ["loopscope-agent"]),
            ("loopscope", ["loopscope-tokio"]),
            ("loopscope", ["loopscope-node"]),
            ("loopscope-new", ["libc"]),
        ] {
            assert_eq!(edges(&[package(name, &dependencies)]).len(), 1, "{name} on {dependencies:?}");
        }
        let good = package("loopscope", &["loopscope-agent", "loopscope-loop", "loopscope-probe", "clap"]);
        assert_eq!(edges(&[good, package("loopscope-probe", &["libc"])]), []);
    }

    #[test]
    fn a_report_that_could_wait_or_connect_is_found() {
        for name in ["tokio", "tokio-util", "hyper", "hyper-util", "libc", "async-io"] {
            let mut report = package("loopscope-report", &["serde", "loopscope-probe", name]);
            assert_eq!(pure_report(std::slice::from_ref(&report)).len(), 1, "{name}");
            report.development.push(name.to_owned());
            assert_eq!(pure_report(&[report]), [], "its tests may: {name}");
        }
        assert_eq!(
            pure_report(&[
                package("loopscope-report", &["tokioscope"]),
                package("loopscope-http", &["tokio"])
            ]),
            []
        );
    }

    #[test]
    fn a_crate_that_is_not_ready_to_be_published_is_found() {
        let manifest = root().join("loop/probe/Cargo.toml");
        let mut package = serde_json::json!({
            "name": "loopscope-probe", "manifest_path": manifest, "description": "x", "license": "MIT", "readme": "README.md",
            "rust_version": "1.89", "keywords": ["x"], "categories": ["asynchronous"],
        });
        let stability = sample("docs/stability.md", "| `loopscope-probe` | a loop | promised | 1.89 |\n");
        assert_eq!(unready(&package, &stability), []);
        package["keywords"] = serde_json::json!([]);
        package["rust_version"] = "1.88".into();
        let remedies: Vec<String> =
            unready(&package, &stability).into_iter().map(|fault| fault.remedy).collect();
        assert_eq!(remedies.len(), 3, "{remedies:?}");
        assert!(remedies[0].ends_with("without `keywords`"), "{remedies:?}");
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let bad = "[package]\nname = \"x\"\n\n[dependencies]\n# Why.\na = \"1\"\nb = \"2\"\n\nc = { version = \"3\" }\n";
        let faults = reasons(&[sample("x/Cargo.toml", bad)]);
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [9]);
        let other = "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n[dev-dependencies]\nloopscope-probe.workspace = true\n";
        assert_eq!(reasons(&[sample("x/Cargo.toml", other)]).len(), 1);
    }
}
