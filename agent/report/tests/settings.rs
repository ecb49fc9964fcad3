//! The page of settings, `docs/settings.md`, is what the table in code says. `UPDATE_EXPECT=1` rewrites it.

use loopscope_report::settings::{Setting, markdown};
use std::path::Path;

const HEAD: &str = "\
# Environment variables

Settings that an operator can change without a rebuild. The table is generated from `agent/report/src/settings.rs` \
by a test; do not edit it.

";

const TAIL: &str = "
**The Node.js addon** reads the variables of programs above, except `LOOPSCOPE_WEB_CONFIG`: with that set, the process is watched without an
agent. `LOOPSCOPE_STDERR=off` turns off all its lines about stalls. It also reads these:

| variable | values | what it does |
|---|---|---|
| `LOOPSCOPE_NODE_ADDON` | a file | loads the addon from this file, instead of where the npm package and `loopscope run` look; `run` sets it |
| `LOOPSCOPE_ANNOUNCE` | any value | each process prints the address of its live page; `run` sets it, except with `--quiet` |
| `LOOPSCOPE_NODE_RECORD` | a directory | records all events of each loop there, one file for each thread, for bug reports |

**Precedence.** The environment overrides the program's code and defaults, but not settings that the code declares fixed:

```rust,ignore
use loopscope_agent::{Agent, Setting};
let agent = Agent::builder().listen(ours).fixed(&[Setting::Listen, Setting::TokenFile]).start()?;
```

Every agent reads them: `Agent::builder()`, the one-line starts of the adapters, and the Node.js addon; a program with more rights than
the user who started it (set-user-ID, file capabilities) ignores them. Options of the command line
 (`loopscope demo --metrics-listen`) are fixed in this sense.

**The settings in force** are in the agent's first log line, with the names of the variables that were used:

```text
INFO loopscope is watching the loops of this process (pid 4711): listening on http://127.0.0.1:9464; stall \
threshold 50ms, critical 1s; stacks on; from the environment: LOOPSCOPE_THRESHOLDS
```

Its target is `loopscope` if a variable was used, else `loopscope::start`. Node.js programs print it only if a variable was used.

**Bounds.** At most 10 incidents of a loop are logged in a minute; all are recorded. Of `LOOPSCOPE_INCIDENTS_DIR` the newest 500 files are
kept, at most 64 MiB.

**Invalid values** are logged and ignored; for `LOOPSCOPE_LISTEN`, `LOOPSCOPE_TOKEN_FILE` and
`LOOPSCOPE_WEB_CONFIG` the agent does not start, and reports the error: otherwise it might listen on another \
address, or be open to more clients, than intended. An empty value is as good as unset. It is also an error if an \
explicitly set address is in use; the default falls back to the next free port, and then to any. With `?` in `main` such an error ends \
the program; to run without an agent instead: `let _watch = loopscope_tokio::start(\"web\").inspect_err(|error| eprintln!(\"{error}\")).ok();`. \
`Agent::builder().address_is_optional(true)` starts it without an address. The Node.js addon does that, and without an agent otherwise.

**Where are the pages?** A service without a login session keeps them in `/dev/shm/loopscope-UID`, while commands in a login shell look in
`$XDG_RUNTIME_DIR/loopscope`: run `env -u XDG_RUNTIME_DIR loopscope ls`, or set `LOOPSCOPE_RUNTIME_DIR` for both.

**Without a log.** The agent logs to `tracing`, or to the `log` crate if there is no subscriber. In a program with \
neither, only the first stall is printed, as one line on stderr. The Node.js addon prints all its lines there.
";

fn page() -> String {
    format!("{HEAD}{}{TAIL}", markdown())
}

#[test]
fn the_page_of_settings_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/settings.md is not what the table says: run this test with UPDATE_EXPECT=1"
    );
}

/// Returns the variables that the sources of programs and of the command read, with the files.
fn read_by_sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !["tests", "target", "node_modules"].contains(&&*name) {
            read_by_sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("_tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let literals = code.split('"').skip(1).step_by(2).filter(|text| {
                let rest = text.strip_prefix("LOOPSCOPE");
                rest.is_some_and(|rest| {
                    rest.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
                })
            });
            found.extend(literals.map(|text| (text.to_owned(), path.display().to_string())));
        }
    }
}

#[test]
fn no_source_reads_a_variable_that_is_not_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for folder in ["agent", "loop"] {
        read_by_sources(&root.join(folder), &mut found);
    }
    // For who develops the adapter, on the page of that; and what the command tells the adapter of a program that it starts.
    let own = ["LOOPSCOPE_NODE_RECORD", "LOOPSCOPE_NODE_ADDON", "LOOPSCOPE_ANNOUNCE"];
    let is_known =
        |name: &str| own.contains(&name) || Setting::all().any(|setting| setting.variable() == name);
    let unknown: Vec<_> = found.iter().filter(|(name, _)| !is_known(name)).collect();
    assert!(unknown.is_empty(), "not in agent/report/src/settings.rs: {unknown:?}");
    assert!(found.len() >= Setting::all().count(), "they are found at all: {found:?}");
}
