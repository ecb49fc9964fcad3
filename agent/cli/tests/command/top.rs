//! `top` in a real terminal, which is tmux's: what it shows, its keys, and the terminal as it was before. Runs where tmux
//! is installed.

use crate::child::{Running, until};
use crate::scratch::Scratch;
use serde_json::Value;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

/// A terminal with a shell that runs one command, and tells what became of it and of the terminal.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Opens one of that size; `None` where there is no tmux.
    fn open(
        scratch: &Scratch,
        columns: u32,
        lines: u32,
        variables: &str,
        arguments: &str,
    ) -> Option<Terminal> {
        let socket = scratch.work().join("tmux").to_str().unwrap().to_owned();
        let (directory, program) = (scratch.runtime(), env!("CARGO_BIN_EXE_loopscope"));
        let command = format!(
            "LOOPSCOPE_RUNTIME_DIR={} {variables} {program} {arguments}; echo code=$?; stty -a | tr ' ;' '\n\n' | grep -x -e icanon -e echo; exec sleep 600",
            directory.display()
        );
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let opened = Command::new("tmux")
            .args(["-S", &socket, "-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &lines])
            .arg(command)
            .status();
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("skipped: top in a terminal: install the package tmux");
                return None;
            }
            opened => assert!(opened.unwrap().success()),
        }
        Some(Terminal { socket })
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Presses keys by their names.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until all these are on the screen; returns it.
    fn wait_for(&self, parts: &[&str]) -> String {
        until(|| {
            let screen = self.screen();
            parts.iter().all(|part| screen.contains(part)).then_some(screen)
        })
    }

    /// Waits for the end: it left with this code, and the terminal is as it was.
    fn is_given_back(&self, code: &str) {
        // Lines and echo: the modes that a screen turns off.
        let screen = self.wait_for(&[code, "icanon\n", "echo\n"]);
        assert!(!screen.contains("loopscope top"), "the screen of before is back: {screen}");
        let flags = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(flags.trim(), "0 1", "no alternate screen, and a cursor");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_block_is_seen_as_it_lasts_and_keys_sort_filter_open_and_quit() {
    let scratch = Scratch::new("top-keys");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "20"]);
    let Some(terminal) = Terminal::open(&scratch, 140, 40, "", "top --every 100ms") else { return };
    let screen = terminal.wait_for(&["web", "load", "2 loops", "by trouble", "PID"]);
    assert!(screen.contains(&demo.pid()), "{screen}");
    let stalled = terminal.wait_for(&["1 STALLED", "STALLED 2", "timer parse_invoices (trouble.rs:"]);
    assert!(stalled.lines().nth(2).unwrap().contains("web"), "the stalled one comes first: {stalled}");
    // Its incident is told by its agent.
    terminal.wait_for(&["Incidents", &format!("{}-1 ", demo.pid())]);
    terminal.press(&["s"]);
    terminal.wait_for(&["by busy"]);
    terminal.press(&["r"]);
    terminal.wait_for(&["by busy, reversed"]);
    terminal.press(&["/", "l", "o", "a", "d"]);
    terminal.wait_for(&["filter: load_", "1 loop"]);
    terminal.press(&["Enter"]);
    terminal.wait_for(&["filter: load ", "Sites of load"]);
    terminal.press(&["Enter"]);
    terminal.wait_for(&[&format!("load of {} loopscope", demo.pid()), "Phases", "Incidents of this loop"]);
    terminal.press(&["Escape"]);
    terminal.wait_for(&["Sites of load"]);
    terminal.press(&["?"]);
    terminal.wait_for(&["reverse the order"]);
    terminal.press(&["q"]);
    terminal.wait_for(&["Sites of load"]);
    terminal.press(&["q"]);
    terminal.is_given_back("code=0");
}

#[test]
fn a_signal_gives_the_terminal_back_and_a_small_one_says_what_it_hides() {
    let scratch = Scratch::new("top-signal");
    let demo = Running::demo(&scratch, &["--rate", "20"]);
    let Some(terminal) = Terminal::open(&scratch, 60, 12, "NO_COLOR=1", "top web") else { return };
    let screen = terminal.wait_for(&["LOOP", "web", "? help  no room for: "]);
    assert!(!screen.contains("Sites of"), "{screen}");
    // 30 to 37 are colours; 39 and 49 are none, and weights are 1, 2 and 7.
    let painted = terminal.tmux(&["capture-pane", "-p", "-e"]);
    let has_colour = (30..38).any(|colour| painted.contains(&format!("\u{1b}[{colour}m")));
    assert!(!has_colour, "{painted:?}");
    let pid = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let child = Command::new("pgrep").args(["-P", pid.trim()]).output().unwrap();
    let child = String::from_utf8(child.stdout).unwrap();
    assert!(Command::new("kill").args(["-TERM", child.trim()]).status().unwrap().success());
    terminal.is_given_back("code=0");
    drop(demo);
}

#[test]
fn without_a_terminal_the_table_is_printed_once() {
    let scratch = Scratch::new("top-once");
    let demo = Running::demo(&scratch, &["--rate", "20"]);
    let done = scratch.run(&["top"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("not a terminal: printing once"), "{}", done.stderr);
    let head = done.stdout.lines().next().unwrap();
    assert!(head.starts_with("PID") && head.ends_with("NOW"), "{}", done.stdout);
    assert!(done.stdout.contains(&demo.pid()) && done.stdout.contains("web"), "{}", done.stdout);
    assert!(!done.stdout.contains('\u{1b}'), "{:?}", done.stdout);
    let dumb = scratch.command(&["top", "--once"]).env("TERM", "dumb").stdin(Stdio::null()).output().unwrap();
    assert!(dumb.status.success() && dumb.stderr.is_empty());
    let json = scratch.run(&["top", "load", "--once", "--json", "--every", "200ms"]);
    let view: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(view["processes"][0]["pid"].to_string(), demo.pid());
    assert!(view["interval_ns"].as_u64().unwrap() >= 200_000_000, "{view}");
    assert_eq!(view["processes"][0]["loops"][0]["name"], "web", "a target is a process, with all its loops");
    for (arguments, code, part) in [
        (&["top", "nobody", "--once"][..], 3, "nobody"),
        (&["top", "--json"], 2, "--once"),
        (&["top", "http://127.0.0.1:9464"], 2, "browser"),
        (&["top", "--every", "1ms"], 2, "100ms"),
    ] {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
}
