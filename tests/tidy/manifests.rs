//! The rules about manifests: which crate may name which, and that every dependency says why it is there.

use crate::tracked::{Fault, Tracked, root};
use std::process::Command;

/// One package: its name, its manifest's path from the root, and what it depends on, development included.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub manifest: String,
    pub dependencies: Vec<String>,
}

/// The edges of ARCHITECTURE.md: who may name whom among our own crates. A package that is not here fails.
const EDGES: &[(&str, &[&str])] = &[
    ("loopscope-probe", &[]),
    ("loopscope-loop", &["loopscope-probe"]),
    ("loopscope-report", &["loopscope-probe"]),
    ("loopscope-spans", &["loopscope-probe"]),
    ("loopscope-stacks", &[]),
    ("loopscope-http", &["loopscope-probe", "loopscope-report"]),
    (
        "loopscope-agent",
        &["loopscope-probe", "loopscope-report", "loopscope-spans", "loopscope-stacks", "loopscope-http"],
    ),
    ("loopscope-host", &["loopscope-probe", "loopscope-report", "loopscope-http"]),
    ("loopscope", ALL),
    ("loopscope-dashboards", &["loopscope-report"]),
    ("loopscope-examples", ALL),
    ("loopscope-tests", ALL),
    ("loopscope-instructions", &["loopscope-probe", "loopscope-loop"]),
    ("loopscope-benches", ALL),
];

/// What programs, examples and tests may know.
const ALL: &[&str] = &[
    "loopscope-probe",
    "loopscope-loop",
    "loopscope-report",
    "loopscope-spans",
    "loopscope-stacks",
    "loopscope-http",
    "loopscope-agent",
    "loopscope-host",
    "loopscope-dashboards",
];

/// All that the probe may depend on besides std; the last three only in its tests and models.
const PROBE_NEEDS: &[&str] = &["libc", "loom", "num-bigint", "proptest", "regex-syntax"];

/// Asks cargo for the workspace's packages.
pub fn packages() -> Vec<Package> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let asked = cargo
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output();
    let asked = asked.expect("cargo runs this test, so it is there");
    assert!(asked.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&asked.stderr));
    let told: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("cargo metadata prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a name or a path").to_owned();
    let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
    let package = |package: serde_json::Value| {
        let manifest = text(&package["manifest_path"]);
        let manifest =
            std::path::Path::new(&manifest).strip_prefix(root()).map(|path| path.display().to_string());
        Package {
            name: text(&package["name"]),
            manifest: manifest.expect("packages lie in the repository"),
            dependencies: list(&package["dependencies"]).iter().map(|edge| text(&edge["name"])).collect(),
        }
    };
    list(&told["packages"]).into_iter().map(package).collect()
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
        Package { name: name.to_owned(), manifest: "x/Cargo.toml".to_owned(), dependencies }
    }

    #[test]
    fn an_edge_against_the_architecture_is_found() {
        for (name, dependencies) in [
            ("loopscope-probe", ["loopscope-agent"]),
            ("loopscope-probe", ["serde"]),
            ("loopscope-loop", ["loopscope-agent"]),
            ("loopscope-agent", ["loopscope-loop"]),
            ("loopscope-agent", ["loopscope"]),
            ("loopscope-new", ["libc"]),
        ] {
            assert_eq!(edges(&[package(name, &dependencies)]).len(), 1, "{name} on {dependencies:?}");
        }
        let good = package("loopscope", &["loopscope-agent", "loopscope-loop", "loopscope-probe", "clap"]);
        assert_eq!(edges(&[good, package("loopscope-probe", &["libc"])]), []);
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
