//! An adapter in C, written from `docs/page.md` alone and linked to nothing of ours, is seen like any other loop.
//!
//! These tests say so and pass where there is no C compiler. CI has one.

use crate::child::{Running, until};
use crate::scratch::Scratch;
use loopscope_probe::raw::histogram::slot;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Compiles a C program, by a path from the repository's root or a whole one, with every warning an error; `None` where there is no compiler.
fn compile(scratch: &Scratch, source: &Path) -> Option<PathBuf> {
    let program = scratch.work().join("adapter");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-I"]);
    cc.arg("deploy/include").arg(source).arg("-o").arg(&program).current_dir(ROOT);
    match cc.output() {
        Err(error) => {
            println!("skipped: there is no C compiler (cc: {error})");
            None
        }
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            Some(program)
        }
    }
}

/// Starts the example in `examples/adapter.c`.
fn adapter(scratch: &Scratch) -> Option<Running> {
    let program = compile(scratch, Path::new("examples/adapter.c"))?;
    let mut command = Command::new(program);
    command.env("LOOPSCOPE_RUNTIME_DIR", scratch.runtime());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut adapter = Running::of(&mut command);
    adapter.line_with("ready");
    Some(adapter)
}

/// Returns the only process of a listing as JSON.
fn process(scratch: &Scratch, arguments: &[&str]) -> Value {
    let done = scratch.run(arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let view: Value = serde_json::from_str(&done.stdout).unwrap();
    let [process] = &view["processes"].as_array().unwrap()[..] else { panic!("one process: {view:#}") };
    process.clone()
}

#[test]
fn the_header_has_every_word_where_the_specification_has_it() {
    let scratch = Scratch::new("c-layout");
    let specification = fs::read_to_string(format!("{ROOT}/docs/page.md")).unwrap();
    let mut source = "#include \"loopscope-page.h\"\n#include <stddef.h>\n".to_owned();
    let mut words = 0;
    for row in specification.lines().filter_map(|line| line.strip_prefix("| `")) {
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let (Ok(offset), Ok(bytes)) = (cells[1].parse::<u64>(), cells[2].parse::<u64>()) else { continue };
        match cells[0].split_once('.') {
            _ if cells[0] == "slot" => continue,
            None => source += &format!("_Static_assert(sizeof(struct lsp_{}) == {bytes}, \"\");\n", cells[0]),
            Some((structure, word)) => {
                source += &format!(
                    "_Static_assert(offsetof(struct lsp_{structure}, {word}) == {offset} && \
                     sizeof((struct lsp_{structure}){{0}}.{word}) == {bytes}, \"{}\");\n",
                    cells[0]
                );
            }
        }
        words += 1;
    }
    assert!(words > 150, "the tables were found: {words} rows");
    source += "int main(void) { return 0; }\n";
    let file = scratch.work().join("layout.c");
    fs::write(&file, source).unwrap();
    compile(&scratch, &file);
}

#[test]
fn the_guides_program_in_c_compiles() {
    let scratch = Scratch::new("c-guide");
    let guide = fs::read_to_string(format!("{ROOT}/docs/adopting.md")).unwrap();
    let (_, code) = guide.split_once("```c\n").unwrap();
    let file = scratch.work().join("guide.c");
    fs::write(&file, code.split_once("```").unwrap().0).unwrap();
    compile(&scratch, &file);
}

#[test]
fn the_header_finds_the_slots_of_the_probe() {
    let scratch = Scratch::new("c-slots");
    let file = scratch.work().join("slots.c");
    let source = r#"
        #include "loopscope-page.h"
        int main(void) {
            static struct lsp_loop loop;
            for (unsigned slot = 0; slot < LSP_SLOTS - 1; slot++) loop.bounds[slot] = lsp_bound(slot);
            for (unsigned slot = 0; slot < LSP_SLOTS - 1; slot++)
                for (int more = -1; more < 2; more++) {
                    uint64_t ns = loop.bounds[slot] + (uint64_t)more;
                    printf("%llu %u\n", (unsigned long long)ns, lsp_slot(&loop, ns));
                }
        }
    "#;
    fs::write(&file, source).unwrap();
    let Some(program) = compile(&scratch, &file) else { return };
    let printed = Command::new(program).output().unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(text.lines().count(), 249 * 3);
    for line in text.lines() {
        let (ns, found) = line.split_once(' ').unwrap();
        assert_eq!(found.parse(), Ok(slot(ns.parse().unwrap())), "{ns} ns");
    }
}

#[test]
fn a_loop_in_c_is_shown_with_its_callbacks_its_stall_and_its_end() {
    let scratch = Scratch::new("c-adapter");
    let Some(mut adapter) = adapter(&scratch) else { return };
    adapter.send("stall 300");
    adapter.line_with("done stall 300");
    // Both handlers have run: the timer fires while nothing is sent.
    let told = until(|| {
        let told = process(&scratch, &["ls", "--json"]);
        (told["loops"][0]["sites"].as_array().unwrap().len() == 2).then_some(told)
    });
    assert_eq!((told["name"].as_str(), &told["pid"].to_string()), (Some("adapter"), &adapter.pid()));
    let own = &told["loops"][0];
    for (field, value) in
        [("name", "lines"), ("given_name", "lines"), ("runtime", "poll-c"), ("thread", "main")]
    {
        assert_eq!(own[field], value, "{field}");
    }
    let phases: Vec<_> = own["phases"].as_array().unwrap().iter().map(|phase| &phase["phase"]).collect();
    assert_eq!(phases, ["poll", "deadlines"]);
    assert_eq!((&own["stalls"]["warning_count"], &own["stalls"]["critical_count"]), (&1.into(), &0.into()));
    let longest = own["sites"].as_array().unwrap().iter().filter_map(|site| {
        let label = site["label"].as_str()?;
        label.starts_with("on_line (").then(|| site["longest_ns"].as_u64())?
    });
    assert!(longest.max() >= Some(300_000_000), "{own:#}");
    assert!(own["lag"]["max_ns"].as_u64() >= Some(300_000_000), "{own:#}");

    adapter.send("hold");
    adapter.line_with("holding");
    let told = until(|| {
        let told = process(&scratch, &["top", "--once", "--json"]);
        (told["loops"][0]["state"]["kind"] == "stalled").then_some(told)
    });
    let running = &told["loops"][0]["state"]["running"];
    assert!(running["site"]["label"].as_str().unwrap().starts_with("on_line ("), "{running:#}");
    assert_eq!((&running["kind"], &running["phase"]), (&"io_read".into(), &"poll".into()));
    let listed = scratch.run(&["ls"]).stdout;
    for part in [&*adapter.pid(), "adapter", "lines", "poll-c", "STALLED", "io_read on_line ("] {
        assert!(listed.contains(part), "`{part}` is not in {listed}");
    }
    let examined = scratch.run(&["doctor", &adapter.pid(), "--for", "200ms"]).stdout;
    for part in ["CRITICAL", "loop lines", "on_line", "a thread of its own"] {
        assert!(examined.contains(part), "`{part}` is not in {examined}");
    }
    adapter.send("go on");
    adapter.line_with("done hold");
    let examined = scratch.run(&["doctor", &adapter.pid(), "--for", "200ms"]).stdout;
    // On a busy machine it had, truly, to wait for a processor.
    let mut findings =
        examined.lines().filter(|line| line.contains(". WARNING ") || line.contains("CRITICAL"));
    let is_well = examined.contains("nothing wrong") || examined.contains("had to wait for a CPU");
    assert!(is_well && findings.all(|line| line.contains("had to wait for a CPU")), "{examined}");

    adapter.send("quit");
    let (code, ..) = adapter.end();
    assert_eq!((code, scratch.pages()), (Some(0), vec![]), "the file is removed");
    assert!(scratch.run(&["ls"]).stdout.contains("No instrumented process"));
}

#[test]
fn a_loop_in_c_that_was_killed_is_found_dead_with_what_ran() {
    let scratch = Scratch::new("c-killed");
    let Some(mut adapter) = adapter(&scratch) else { return };
    adapter.send("hold");
    adapter.line_with("holding");
    // A stall is told from its threshold on.
    until(|| scratch.run(&["ls"]).stdout.contains("STALLED").then_some(()));
    let pid = adapter.pid();
    adapter.signal("KILL");
    let (code, ..) = adapter.end();
    assert_eq!(code, None);
    let told = process(&scratch, &["ls", "--json"]);
    assert_eq!((&told["is_alive"], &told["pid"].to_string()), (&false.into(), &pid));
    let listed = scratch.run(&["ls"]).stdout;
    assert!(listed.contains("ended") && listed.contains("was running io_read on_line ("), "{listed}");
    let last = scratch.run(&["incidents", &format!("{pid}-1")]).stdout;
    assert!(last.contains("io_read on_line ("), "{last}");
}
