//! The files that are generated, and what is told about those on disk.

use crate::durations::Durations;
use crate::{alerts, cases, grafana, recorded, yaml};
use std::io;
use std::path::Path;

/// Where the runbooks are in the repository.
pub const RUNBOOKS: &str = "dashboards/runbooks";

/// A generated file.
#[derive(Debug)]
pub struct Output {
    /// Its path below the folder `dashboards`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Returns all files. `runbooks` is the address or path that links to runbooks begin with.
pub fn files(runbooks: &str) -> Vec<Output> {
    let pace = Durations::Production;
    let file = |path: &str, text: String| Output { path: path.to_owned(), text };
    let mut files = vec![
        file("rules.yml", yaml::recording(&recorded::groups(pace))),
        file("alerts.yml", yaml::alerts(&alerts::groups(pace), pace, runbooks)),
        file("alerts_test.yml", cases::file(&cases::short(), "15s", runbooks)),
        file("budget_test.yml", cases::file(&cases::long(), "3m", runbooks)),
    ];
    let boards = grafana::boards(runbooks);
    let mut names: Vec<&str> = boards.iter().map(|board| board.uid).collect();
    names.sort_unstable();
    files.push(file("grafana/kustomization.yaml", config_maps(&names)));
    files.extend(boards.iter().map(|board| file(&format!("grafana/{}.json", board.uid), board.text())));
    files
}

/// Returns what makes a ConfigMap of each dashboard.
fn config_maps(names: &[&str]) -> String {
    let mut text = "\
# The dashboards as ConfigMaps, one each: all in one would be too long for `kubectl apply`. The sidecar of Grafana's
# Helm chart loads whatever has this label.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
generatorOptions:
  disableNameSuffixHash: true
  labels:
    grafana_dashboard: \"1\"
configMapGenerator:
"
    .to_owned();
    for name in names {
        text.push_str(&format!("  - name: {name}\n    files: [{name}.json]\n"));
    }
    text
}

/// Returns what differs between `outputs` and the files in `folder`, one line each.
pub fn stale(outputs: &[Output], folder: &Path) -> Vec<String> {
    let differs = |output: &Output| match std::fs::read_to_string(folder.join(&output.path)) {
        Err(error) => Some(format!("{}: {error}", output.path)),
        Ok(text) if text == output.text => None,
        Ok(text) => {
            let line = text.lines().zip(output.text.lines()).take_while(|(old, new)| old == new).count() + 1;
            Some(format!("{}:{line}: differs from what the program writes", output.path))
        }
    };
    outputs.iter().filter_map(differs).collect()
}

/// Writes `outputs` to `folder`, making it and the folders in it.
///
/// # Errors
/// A file or folder cannot be written; the message names it.
pub fn write(outputs: &[Output], folder: &Path) -> io::Result<()> {
    for output in outputs {
        let path = folder.join(&output.path);
        let parent = path.parent().unwrap_or(folder);
        let written = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, &output.text));
        written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_in_the_repository_are_those_that_the_program_writes() {
        let stale = stale(&files(RUNBOOKS), Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(
            stale.is_empty(),
            "run `cargo run -p loopscope-dashboards -- --write`:\n{}",
            stale.join("\n")
        );
    }

    #[test]
    fn each_dashboard_of_the_folder_has_its_config_map() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
        let list = std::fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_listed = list.contains(&format!("files: [{name}]"));
            assert_eq!(is_listed, name.ends_with(".json"), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_old_is_found() {
        let output = |path: &str, text: &str| Output { path: path.to_owned(), text: text.to_owned() };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let said = stale(&[output("no-such-file", ""), output("Cargo.toml", "x")], folder);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("no-such-file: ") && said[1].starts_with("Cargo.toml:1: "), "{said:?}");
    }
}
