//! `loopscope run` and programs that Node restricts, where the option is not on the command line: they run, watched or not.

use crate::nodes::{program, versions, with_addon};
use crate::scratch::Scratch;
use std::path::Path;
use std::process::{Command, Output};

/// Says whether it is watched, and ends with a code of its own.
const PROGRAM: &str = "console.log('watched', Symbol.for('loopscope') in process); process.exitCode = 7;";

/// The versions that can restrict a program, each with its option.
fn restricting() -> Vec<(&'static str, std::path::PathBuf, &'static str)> {
    let of = |(version, node)| match version {
        "18" => None,
        "20" => Some((version, node, "--experimental-permission")),
        _ => Some((version, node, "--permission")),
    };
    versions().into_iter().filter_map(of).collect()
}

fn run(scratch: &Scratch, node: &Path, options: Option<&str>, command: &[&str]) -> Output {
    let path = format!("{}:{}", node.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut run = with_addon(scratch, &[&["run", "--quiet", "--listen", "off", "--"], command].concat());
    run.env("PATH", path).envs(options.map(|options| ("NODE_OPTIONS", options)));
    run.env("npm_config_cache", scratch.work().join("cache")).env("npm_config_update_notifier", "false");
    run.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether there is an npm; says so where not.
fn has_npm() -> bool {
    let has = Command::new("npm").arg("--version").output().is_ok();
    if !has {
        println!("skipped: restricted programs under npm: there is no npm");
    }
    has
}

#[test]
fn a_restricted_script_of_npm_runs_and_says_what_it_lacks() {
    let scratch = Scratch::new("permission-npm");
    if restricting().is_empty() || !has_npm() {
        return;
    }
    program(&scratch, "it.js", PROGRAM);
    let folder = scratch.work().display().to_string();
    for (version, node, option) in restricting() {
        let bare = format!("node {option} --allow-fs-read={folder}/* it.js");
        let full = format!("node {option} --allow-fs-read=* --allow-addons it.js");
        program(
            &scratch,
            "package.json",
            &format!(r#"{{ "scripts": {{ "bare": "{bare}", "full": "{full}" }} }}"#),
        );
        for (command, is_watched) in [
            (&["npm", "--silent", "run", "bare"][..], false),
            (&["npm", "--silent", "exec", "--call", &bare], false),
            (&["sh", "-c", &bare], false),
            (&["npm", "--silent", "run", "full"], true),
            (&["npm", "--silent", "exec", "--call", &full], true),
        ] {
            let ended = run(&scratch, &node, None, command);
            let (said, complained) = (text(&ended.stdout), text(&ended.stderr));
            let what = format!("Node {version}, {command:?}: {said}{complained}");
            assert_eq!(ended.status.code(), Some(7), "{what}");
            assert!(said.contains(&format!("watched {is_watched}\n")), "{what}");
            let told: Vec<&str> = complained.lines().filter(|line| line.contains("loopscope: off")).collect();
            assert_eq!(told.len(), usize::from(!is_watched), "{what}");
            for line in told {
                assert!(line.contains("--allow-fs-read=") && line.contains("--allow-addons"), "{what}");
            }
        }
    }
}

#[test]
fn a_restriction_in_node_options_holds_for_what_is_started_too() {
    let scratch = Scratch::new("permission-options");
    program(&scratch, "it.js", PROGRAM);
    for (version, node, option) in restricting() {
        let bare = format!("{option} --allow-fs-read={}/*", scratch.work().display());
        let full = format!("{option} --allow-fs-read=* --allow-addons");
        for (options, is_watched) in [(&bare, false), (&full, true)] {
            let ended = run(&scratch, &node, Some(options), &["sh", "-c", "node it.js"]);
            let (said, complained) = (text(&ended.stdout), text(&ended.stderr));
            let what = format!("Node {version}, {options}: {said}{complained}");
            assert_eq!((ended.status.code(), said), (Some(7), format!("watched {is_watched}\n")), "{what}");
            assert_eq!(complained.contains("loopscope: off"), !is_watched, "{what}");
        }
    }
}

/// Exactly what the line asks for is enough.
#[test]
fn what_a_restricted_program_is_told_to_add_has_it_watched() {
    let scratch = Scratch::new("permission-added");
    program(&scratch, "it.js", PROGRAM);
    for (version, node, option) in restricting() {
        let own = format!("--allow-fs-read={}/*", scratch.work().display());
        let node_name = node.to_str().unwrap();
        let first = run(&scratch, &node, None, &[node_name, option, &own, "it.js"]);
        let complained = text(&first.stderr);
        let (_, added) = complained.split_once("add ").unwrap_or_else(|| panic!("{complained}"));
        let added: Vec<&str> = added.lines().next().unwrap().split(' ').collect();
        let all = [&[node_name, option, &own][..], &added, &["it.js"]].concat();
        let ended = run(&scratch, &node, None, &all);
        let what = format!("Node {version}, {added:?}: {}{}", text(&ended.stdout), text(&ended.stderr));
        assert_eq!((ended.status.code(), &*text(&ended.stdout)), (Some(7), "watched true\n"), "{what}");
    }
}

#[test]
fn workers_of_a_program_that_may_be_restricted_are_watched_too() {
    let scratch = Scratch::new("permission-workers");
    let threads = "const { Worker, isMainThread } = require('worker_threads');\n\
         console.log(isMainThread ? 'main' : 'worker', Symbol.for('loopscope') in process, require.main === module);\n\
         if (isMainThread) new Worker(__filename);";
    program(&scratch, "threads.js", threads);
    program(&scratch, "package.json", r#"{ "scripts": { "other": "node --permission x.js" } }"#);
    for (version, node, _) in restricting() {
        let ended = run(&scratch, &node, None, &["sh", "-c", "node threads.js"]);
        let what = format!("Node {version}: {}", text(&ended.stderr));
        assert_eq!(&*text(&ended.stdout), "main true true\nworker true true\n", "{what}");
    }
}
