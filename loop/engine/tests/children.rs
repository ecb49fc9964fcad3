//! Child processes: their pipes, their ends, and that none is left as a zombie.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::{Child, Cx, Key, Mode, StreamEvent, signals};
use real_loop::real_loop;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[derive(Default)]
struct Heard {
    output: Vec<u8>,
    errors: Vec<u8>,
    ends: Vec<String>,
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Starts a command that notes its end.
fn start(cx: &mut Cx<'_, Heard>, command: &mut Command) -> Child {
    let child = cx.spawn(command, |cx, status| {
        assert_eq!(cx.phase().name(), "poll");
        let status = status.unwrap();
        cx.state
            .ends
            .push(status.code().map_or_else(|| format!("{:?}", status.signal()), |code| code.to_string()));
    });
    child.unwrap()
}

fn collect(cx: &mut Cx<'_, Heard>, key: Key, into: fn(&mut Heard) -> &mut Vec<u8>) {
    cx.on_stream(key, move |cx, key, event| match event {
        StreamEvent::Data(bytes) => into(cx.state).extend_from_slice(bytes),
        StreamEvent::End => drop(cx.close(key)),
        other => panic!("{other:?}"),
    });
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_child_is_written_to_and_read_from_and_its_status_is_told() {
    let mut event_loop = real_loop(Heard::default());
    let sent: Vec<u8> = (0..1 << 20).map(|index: u32| (index / 7) as u8).collect();
    let expected = sent.clone();
    let pid = event_loop.main(|cx| {
        let mut command = shell("cat; echo done >&2; exit 3");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = start(cx, &mut command);
        collect(cx, child.stdout.unwrap(), |heard| &mut heard.output);
        collect(cx, child.stderr.unwrap(), |heard| &mut heard.errors);
        let stdin = child.stdin.unwrap();
        assert!(cx.write(stdin, &sent).unwrap().is_full());
        assert!(cx.shutdown(stdin));
        child.pid
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let heard = event_loop.into_state();
    assert!(heard.output == expected);
    assert_eq!((heard.errors.as_slice(), heard.ends), (&b"done\n"[..], vec!["3".to_owned()]));
    assert!(!exists(pid));
}

#[test]
fn many_children_that_end_at_once_are_all_told_and_none_is_a_zombie() {
    let mut event_loop = real_loop(Heard::default());
    let pids = event_loop.main(|cx| {
        let children: Vec<Child> =
            (0..20).map(|code| start(cx, shell(&format!("exit {code}")).stdin(Stdio::null()))).collect();
        assert!(children.iter().all(|child| (child.stdin, child.stdout, child.stderr) == (None, None, None)));
        children.iter().map(|child| child.pid).collect::<Vec<u32>>()
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let mut codes: Vec<u32> = event_loop.into_state().ends.iter().map(|end| end.parse().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, (0..20).collect::<Vec<u32>>());
    assert!(!pids.into_iter().any(exists));
}

#[test]
fn a_child_can_be_sent_signals_while_it_runs() {
    let mut event_loop = real_loop(Heard::default());
    event_loop.main(|cx| {
        let child = start(cx, Command::new("sleep").arg("1000"));
        assert_eq!(cx.kill(child.key, 4711).unwrap_err().kind(), ErrorKind::InvalidInput);
        cx.kill(child.key, signals::SIGTERM).unwrap();
        cx.before_exit(move |cx| {
            assert!(!cx.is_open(child.key));
            assert_eq!(cx.kill(child.key, signals::SIGTERM).unwrap_err().kind(), ErrorKind::NotFound);
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state().ends, ["Some(15)"]);
}

#[test]
fn a_command_that_does_not_exist_is_an_error_and_leaves_nothing_behind() {
    let mut event_loop = real_loop(Heard::default());
    event_loop.main(|cx| {
        let missing = cx.spawn(&mut Command::new("/nonexistent/command"), |_, _| panic!("it never ran"));
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
}

#[test]
fn a_child_nobody_watches_any_more_is_still_reaped() {
    let mut event_loop = real_loop(Heard::default());
    let unwatched = event_loop.main(|cx| {
        let closed = start(cx, Command::new("sleep").arg("1000").stdin(Stdio::null()));
        cx.kill(closed.key, signals::SIGKILL).unwrap();
        assert!(cx.close(closed.key) && !cx.close(closed.key));
        // It does not keep the loop alive any more; this one does.
        start(cx, &mut shell("exit 0"));
        closed.pid
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    // A dropped loop leaves its child to the next one.
    let pid = event_loop.main(|cx| start(cx, shell("read line").stdin(Stdio::piped())).pid);
    drop(event_loop);
    let mut event_loop = real_loop(Heard::default());
    event_loop.main(|cx| {
        cx.every(Duration::from_millis(1), move |cx| {
            if cx.state.ends.len() < 100 && (exists(pid) || exists(unwatched)) {
                // Its pipe was closed with its loop, so it ends soon. Starting a child reaps, too.
                start(cx, &mut shell("exit 0"));
            } else {
                cx.stop();
            }
        });
    });
    event_loop.run(Mode::Default).unwrap();
    assert!(!exists(pid) && !exists(unwatched));
}
