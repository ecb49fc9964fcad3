//! Express and Fastify under load: every answer is what it is without us, nothing is left behind, and nothing is said.

use crate::nodes::{run_with, versions};
use std::path::Path;

#[test]
fn servers_of_frameworks_answer_as_they_do_without_us() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks/node_modules");
    if !packages.exists() {
        println!("skipped: Express and Fastify: run `npm ci` in loop/node/tests/frameworks");
        return;
    }
    for (version, node) in versions() {
        for framework in ["express", "fastify"] {
            let arguments = [framework, "1"];
            // A stall on a busy machine is told, and no matter here.
            let patient = ("LOOPSCOPE_THRESHOLDS", "60s/600s");
            let ended = run_with(&node, &[], "frameworks.cjs", &arguments, &[patient]);
            let bare = run_with(&node, &[], "frameworks.cjs", &arguments, &[("LOOPSCOPE", "off")]);
            let what = format!("{framework} on Node {version}: {}", ended.complained);
            assert_eq!((ended.code, bare.code), (Some(0), Some(0)), "{what}");
            assert_eq!(ended.said, bare.said, "{what}");
            assert!(ended.said.ends_with("\"failed\":0}\n"), "{what}{}", ended.said);
            // The agent says what is in force where the environment decides; nothing else is said.
            let lines = ended.complained.lines().filter(|line| line.contains("loopscope:"));
            assert!(
                lines.clone().all(|line| line.contains("is watching the loops of this process")),
                "{what}"
            );
            assert!(ended.complained.contains(" 0 of "), "entries without a name: {what}");
            assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
        }
    }
}
