//! `loopscope run` and what starts programs for people: package managers, watchers, test runners. The program is watched, and what
//! only starts it is not.

use crate::child::Running;
use crate::nodes::{program, versions, with_addon};
use crate::scratch::Scratch;
use std::process::{Output, Stdio};

/// Says whether it is watched.
const TELL: &str = "console.log('it', Symbol.for('loopscope') in process);\n";

fn run(scratch: &Scratch, command: &[&str]) -> Output {
    let all = [&["run", "--quiet", "--listen", "off", "--"], command].concat();
    with_addon(scratch, &all).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As they are installed: by npm, beside Node, by themselves into a project, and by corepack.
#[test]
fn package_managers_are_not_watched_wherever_they_are() {
    let scratch = Scratch::new("run-managers");
    let Some((version, node)) = versions().pop() else { return };
    let manager = "const { spawnSync } = require('child_process');\n\
         console.log('manager', Symbol.for('loopscope') in process);\n\
         process.exitCode = spawnSync(process.execPath, ['it.js'], { stdio: 'inherit' }).status;\n";
    program(&scratch, "it.js", &format!("{TELL}process.exitCode = 7;"));
    for file in [
        "lib/node_modules/npm/bin/npm-cli.js",
        "share/nodejs/npm/bin/npx-cli.js",
        "node_modules/yarn/bin/yarn.js",
        "node_modules/@yarnpkg/cli-dist/bin/yarn.js",
        ".yarn/releases/yarn-4.18.1.cjs",
        "node_modules/pnpm/bin/pnpm.cjs",
        "corepack/v1/pnpm/10.2.0/bin/pnpm.cjs",
        "node_modules/corepack/dist/corepack.js",
    ] {
        let place = scratch.work().join(file);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        program(&scratch, file, manager);
        let ended = run(&scratch, &[node.to_str().unwrap(), file]);
        let what = format!("Node {version}, {file}: {}", text(&ended.stderr));
        let said = text(&ended.stdout);
        assert_eq!((ended.status.code(), &*said), (Some(7), "manager false\nit true\n"), "{what}");
    }
}

#[test]
fn tests_of_nodes_own_runner_are_watched() {
    let scratch = Scratch::new("run-tests");
    let tests = "const test = require('node:test');\n\
         test('is watched', () => { if (!(Symbol.for('loopscope') in process)) throw new Error('it is not'); });\n";
    program(&scratch, "it.test.js", tests);
    for (version, node) in versions() {
        let ended = run(&scratch, &[node.to_str().unwrap(), "--test", "it.test.js"]);
        let what = format!("Node {version}: {}{}", text(&ended.stdout), text(&ended.stderr));
        assert_eq!(ended.status.code(), Some(0), "{what}");
    }
}

#[test]
fn a_program_that_is_restarted_with_its_files_is_watched() {
    for (version, node) in versions() {
        // A process that a signal ends leaves its page behind.
        let scratch = Scratch::new(&format!("run-watch-{version}"));
        program(&scratch, "it.js", &format!("{TELL}setInterval(() => {{}}, 1000);"));
        let all = ["run", "--quiet", "--listen", "off", "--", node.to_str().unwrap(), "--watch", "it.js"];
        let mut running =
            Running::of(with_addon(&scratch, &all).stdout(Stdio::piped()).stderr(Stdio::piped()));
        running.line_with("it true");
        let pages = scratch.pages();
        assert_eq!(pages.len(), 1, "Node {version}: {pages:?}");
        let name = pages[0].file_name().unwrap().to_str().unwrap();
        let own = format!("{}-", running.pid());
        assert!(!name.starts_with(&own), "Node {version}: what restarts it is not watched: {name}");
        running.signal("TERM");
        running.end();
    }
}

/// Types are cut out by Node itself: lines stay where they are.
#[test]
fn a_script_whose_types_node_strips_is_named_by_its_line() {
    let scratch = Scratch::new("run-types");
    let script = "interface Unused {\n  name: string;\n}\nconst unused: Unused = { name: 'x' };\n\
         function planted(ms: number): void {\n  const end: number = Date.now() + ms;\n  while (Date.now() < end);\n}\n\
         setTimeout(() => planted(1500), 50);\nsetTimeout(() => process.exit(7), 1700);\n";
    program(&scratch, "it.ts", script);
    for (version, node) in versions().into_iter().filter(|(version, _)| !["18", "20"].contains(version)) {
        let all =
            ["run", "--quiet", "--listen", "off", "--warning", "50ms", "--", node.to_str().unwrap(), "it.ts"];
        let ended = with_addon(&scratch, &all).output().unwrap();
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(7), "Node {version}: {said}");
        assert!(said.contains("in planted (") && said.contains("it.ts:7:"), "Node {version}: {said}");
    }
}
