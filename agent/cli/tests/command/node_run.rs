//! `loopscope run`: programs of every version of Node, started as one starts them, end as without it and are watched.

use crate::child::{Running, until};
use crate::nodes::{addon, program, versions, with_addon};
use crate::scratch::Scratch;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

/// Says on standard output whether it is watched, and by which name.
const TELL: &str = "const watched = (name) => console.log(name, Symbol.for('loopscope') in process);\n";

/// Runs it quietly, without a listener.
fn run(scratch: &Scratch, command: &[&str]) -> Output {
    let all = [&["run", "--quiet", "--listen", "off", "--"], command].concat();
    with_addon(scratch, &all).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn name_of(node: &Path) -> &str {
    node.to_str().unwrap()
}

#[test]
fn every_kind_of_program_is_watched_and_ends_with_its_own_code() {
    let scratch = Scratch::new("run-kinds");
    let exits = format!("{TELL}watched('it'); setTimeout(() => process.exit(7), 5);");
    program(&scratch, "common.js", &exits);
    program(&scratch, "module.mjs", &exits);
    let script =
        format!("{TELL}const code: number = 7; watched('it'); setTimeout(() => process.exit(code), 5);");
    program(&scratch, "script.ts", &script);
    // A loader for TypeScript that an old version can be given, too: it cuts the types out.
    let loader = "require('module')._extensions['.ts'] = (module, file) => \
                  module._compile(require('fs').readFileSync(file, 'utf8').replace(': number', ''), file);";
    program(&scratch, "loader.cjs", loader);
    for (version, node) in versions() {
        let node = name_of(&node);
        for arguments in [
            &["common.js"][..],
            &["module.mjs"],
            &["--require", "./loader.cjs", "script.ts"],
            &["--eval", &exits],
        ] {
            let ended = run(&scratch, &[&[node], arguments].concat());
            let what = format!("Node {version}, {arguments:?}: {}", text(&ended.stderr));
            assert_eq!((ended.status.code(), &*text(&ended.stdout)), (Some(7), "it true\n"), "{what}");
        }
    }
    assert!(scratch.pages().is_empty(), "{:?}", scratch.pages());
}

#[test]
fn workers_and_the_processes_of_a_cluster_are_watched() {
    let scratch = Scratch::new("run-workers");
    let threads = format!(
        "{TELL}const {{ Worker, isMainThread }} = require('worker_threads');\n\
         watched(isMainThread ? 'main' : 'worker');\nif (isMainThread) new Worker(__filename);"
    );
    let cluster = format!(
        "{TELL}const cluster = require('cluster');\n\
         if (cluster.isPrimary) cluster.fork().on('exit', (code) => {{ watched('primary'); process.exitCode = code; }});\n\
         else {{ watched('forked'); process.exit(4); }}"
    );
    program(&scratch, "threads.js", &threads);
    program(&scratch, "cluster.js", &cluster);
    for (version, node) in versions() {
        for (file, code, said) in
            [("threads.js", 0, "main true\nworker true\n"), ("cluster.js", 4, "forked true\nprimary true\n")]
        {
            let ended = run(&scratch, &[name_of(&node), file]);
            let what = format!("Node {version}, {file}: {}", text(&ended.stderr));
            assert_eq!((ended.status.code(), &*text(&ended.stdout)), (Some(code), said), "{what}");
        }
    }
}

#[test]
fn a_process_says_where_to_look_and_a_signal_reaches_it() {
    let scratch = Scratch::new("run-signal");
    let waits =
        "process.on('SIGTERM', () => process.exit(9)); console.log('waits'); setInterval(() => {}, 1000);";
    program(&scratch, "waits.js", waits);
    for (version, node) in versions() {
        let arguments = ["run", "--listen", "127.0.0.1:0", "--", name_of(&node), "waits.js"];
        let mut command = with_addon(&scratch, &arguments);
        let mut running = Running::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let line = running.error_with("watching waits.js");
        // The command has become the program.
        let pid = running.pid();
        assert!(line.contains(&format!("pid {pid}: http://127.0.0.1:")), "Node {version}: {line}");
        running.line_with("waits");
        let listed = scratch.run(&["ls"]).stdout;
        assert!(listed.contains(&pid) && listed.contains("waits.js"), "Node {version}: {listed}");
        running.signal("TERM");
        assert_eq!(running.end().0, Some(9), "Node {version}");
    }
}

#[test]
fn a_process_that_a_signal_has_ended_while_it_waited_is_listed_no_more() {
    let scratch = Scratch::new("run-terminated");
    program(&scratch, "idle.js", "setInterval(() => {}, 60000);");
    for (version, node) in versions() {
        let arguments = ["run", "--quiet", "--", name_of(&node), "idle.js"];
        let mut command = with_addon(&scratch, &arguments);
        let running = Running::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let pid = running.pid();
        let listed = || scratch.run(&["ls"]).stdout;
        until(|| listed().lines().any(|line| line.contains(&pid) && line.ends_with("idle")).then_some(()));
        running.signal("TERM");
        assert_eq!(running.end().0, None, "Node {version}: a signal has ended it");
        assert!(!listed().contains(&pid), "Node {version}: {}", listed());
        assert!(scratch.run(&["ls", "--all"]).stdout.contains(&pid), "Node {version}: its page is kept");
    }
}

#[test]
fn what_is_set_in_node_options_counts() {
    let scratch = Scratch::new("run-options");
    program(&scratch, "first.cjs", "globalThis.first = true;");
    program(&scratch, "it.js", &format!("{TELL}watched(String(globalThis.first));"));
    for (version, node) in versions() {
        let mut command = with_addon(&scratch, &["run", "--quiet", "--", name_of(&node), "it.js"]);
        let ended = command.env("NODE_OPTIONS", "--require ./first.cjs").output().unwrap();
        assert_eq!(text(&ended.stdout), "true true\n", "Node {version}: {}", text(&ended.stderr));
    }
}

#[test]
fn scripts_of_npm_are_watched_and_npm_is_not() {
    let scratch = Scratch::new("run-npm");
    let Some((_, node)) = versions().pop() else { return };
    program(&scratch, "package.json", "{ \"scripts\": { \"start\": \"node it.js\" } }");
    program(&scratch, "it.js", &format!("{TELL}watched('it');"));
    let mut command = with_addon(&scratch, &["run", "--quiet", "--", "npm", "--silent", "start"]);
    // Says the same of npm.
    let spy = "process.on('exit', () => console.log(require('path').basename(process.argv[1]), Symbol.for('loopscope') in process));";
    program(&scratch, "spy.cjs", spy);
    let spy = format!("--require {}", scratch.work().join("spy.cjs").display());
    let path = format!("{}:{}", node.parent().unwrap().display(), std::env::var("PATH").unwrap());
    match command.env("NODE_OPTIONS", spy).env("PATH", path).output() {
        Ok(ended) if ended.status.code() != Some(127) => {
            let said = text(&ended.stdout);
            assert!(said.contains("it true\nit.js true\n"), "{said}{}", text(&ended.stderr));
            assert!(said.lines().any(|line| line.starts_with("npm") && line.ends_with(" false")), "{said}");
        }
        _ => println!("skipped: scripts of npm: there is no npm"),
    }
}

#[test]
fn an_addon_that_cannot_be_loaded_is_said_and_the_program_runs() {
    let scratch = Scratch::new("run-addon");
    program(&scratch, "it.js", &format!("{TELL}watched('it');"));
    program(&scratch, "other.node", "no library");
    for (version, node) in versions() {
        let with = |file: &str, arguments: &[&str]| {
            let all = [&["run", "--", name_of(&node)], arguments, &["it.js"]].concat();
            let ended = with_addon(&scratch, &all).env("LOOPSCOPE_NODE_ADDON", file).output().unwrap();
            assert_eq!(text(&ended.stdout), "it false\n", "Node {version}: {}", text(&ended.stderr));
            text(&ended.stderr)
        };
        let addon = addon();
        let said = with("other.node", &[]);
        assert!(said.contains("the addon cannot be loaded") && said.lines().count() == 1, "{said}");
        let said = with(addon.to_str().unwrap(), &["--no-addons"]);
        assert!(said.contains("without --no-addons"), "Node {version}: {said}");
        let permission = match version {
            "18" => continue,
            "20" => "--experimental-permission",
            _ => "--permission",
        };
        // Nothing but the program may be read: what loads the addon may not be either.
        let own = format!("--allow-fs-read={}", scratch.work().display());
        let said = with(addon.to_str().unwrap(), &[permission, &own]);
        assert!(
            said.contains("--allow-fs-read=") && said.contains("--allow-addons"),
            "Node {version}: {said}"
        );
        let said = with(addon.to_str().unwrap(), &[permission, "--allow-fs-read=*"]);
        assert!(said.contains("--allow-addons"), "Node {version}: {said}");
    }
}

#[test]
fn what_cannot_be_run_is_said_as_shells_do() {
    let scratch = Scratch::new("run-refused");
    program(&scratch, "plain.txt", "");
    if versions().is_empty() {
        return;
    }
    for (command, code) in [("no-such-command-here", 127), ("./plain.txt", 126)] {
        let ended = run(&scratch, &[command]);
        assert_eq!(ended.status.code(), Some(code), "{command}");
        assert!(text(&ended.stderr).contains(&format!("cannot run {command}")));
    }
    let mut nowhere = with_addon(&scratch, &["run", "--", "true"]);
    let ended = nowhere.env("LOOPSCOPE_NODE_ADDON", "/nowhere.node").output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("/nowhere.node"));
    let off = with_addon(&scratch, &["run", "--", "true"])
        .env("LOOPSCOPE_NODE_ADDON", "/nowhere.node")
        .env("LOOPSCOPE", "off")
        .output()
        .unwrap();
    assert_eq!(off.status.code(), Some(0), "{}", text(&off.stderr));
}

#[test]
fn no_directory_for_the_scripts_is_said_with_a_way_out() {
    let scratch = Scratch::new("run-read-only");
    if versions().is_empty() {
        return;
    }
    let mut command = with_addon(&scratch, &["run", "--", "true"]);
    // A file system on which nobody can make a directory.
    command.env("LOOPSCOPE_RUNTIME_DIR", "/proc/loopscope").env_remove("HOME").env_remove("XDG_RUNTIME_DIR");
    let ended = command.output().unwrap();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("LOOPSCOPE_RUNTIME_DIR") && said.contains("npm"), "{said}");
}

/// A process that gives up its rights has NODE_OPTIONS of the one that it came from.
#[test]
fn a_node_of_another_user_starts_too() {
    let scratch = Scratch::new("run-other-user");
    let top = scratch.runtime().parent().unwrap().to_owned();
    fs::set_permissions(top, Permissions::from_mode(0o711)).unwrap();
    let start = "const { status, stdout, error } = require('child_process').spawnSync(process.execPath, \
                 ['--eval', 'console.log(6 * 7)'], { uid: 65534, gid: 65534, encoding: 'utf8', cwd: '/' }); \
                 console.log(error ? error.code : `${status} ${stdout.trim()}`);";
    for (version, node) in versions() {
        let ended = run(&scratch, &[name_of(&node), "--eval", start]);
        let (told, said) = (text(&ended.stdout), text(&ended.stderr));
        if ["EPERM", "EACCES"].contains(&told.trim()) {
            println!(
                "skipped: a Node of another user: this one may start none, or cannot let it read Node {version}"
            );
            return;
        }
        assert_eq!(told.trim(), "0 42", "Node {version}: {said}");
    }
}

#[test]
fn the_demo_runs_on_node() {
    let scratch = Scratch::new("demo-node");
    for (version, node) in versions() {
        let arguments = ["demo", "--node", "--trouble", "block", "--metrics-listen", "127.0.0.1:0"];
        let path = format!("{}:{}", node.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = with_addon(&scratch, &arguments);
        command.env("PATH", path).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut demo = Running::of(&mut command);
        assert!(demo.line_with("loopscope demo on Node").contains(&format!("Node {version}.")));
        demo.error_with("watching demo.cjs");
        demo.error_with("WARN loop demo.cjs");
        demo.signal("INT");
        assert_eq!(demo.end().0, Some(0), "Node {version}");
    }
}
