//! Files and names through the pool: every call, and what it says when it fails.

use loopscope_loop::{Cx, Loop, Mode, PanicPolicy, WorkError, WorkKind};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

type Log = Vec<String>;

fn real_loop<S: 'static>(state: S) -> Loop<S> {
    let mut event_loop =
        Loop::builder(state).pool_threads(2).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let key = cx.after(Duration::from_secs(60), |_| panic!("nothing happened for a minute"));
        cx.unref(key);
    });
    event_loop
}

/// A folder of one test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("loopscope-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Notes that a call succeeded, or what it failed with.
fn note<T>(name: &'static str) -> impl FnOnce(&mut Cx<'_, Log>, io::Result<T>) {
    move |cx, outcome| {
        let text = outcome.err().map_or_else(|| "done".to_owned(), |error| error.kind().to_string());
        cx.state.push(format!("{name}: {text}"));
    }
}

#[test]
fn whole_files_and_folders_are_written_moved_listed_and_removed() {
    let folder = Folder::new("whole");
    let (one, two, deep) = (folder.at("one"), folder.at("two"), folder.at("a/b"));
    let root = folder.0.clone();
    let mut event_loop = real_loop(Log::new());
    event_loop.main(|cx| {
        cx.fs().write(one.clone(), "hello", move |cx, written| {
            written.unwrap();
            cx.fs().rename(one.clone(), two.clone(), move |cx, renamed| {
                renamed.unwrap();
                cx.fs().copy(two.clone(), one.clone(), move |cx, copied| {
                    assert_eq!(copied.unwrap(), 5);
                    cx.fs().read_to_string(&one, |cx, text| cx.state.push(text.unwrap()));
                    cx.fs().stat(&two, |cx, about| cx.state.push(about.unwrap().len().to_string()));
                    cx.fs().create_dir_all(&deep, move |cx, made| {
                        made.unwrap();
                        cx.fs().read_dir(&root, |cx, entries| {
                            let entries = entries.unwrap();
                            let text = entries.iter().map(|entry| {
                                let mark = if entry.kind.is_dir() { "/" } else { "" };
                                format!("{}{mark}", entry.name.display())
                            });
                            cx.state.push(text.collect::<Vec<_>>().join(" "));
                        });
                    });
                });
            });
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    event_loop.state_mut().sort();
    assert_eq!(*event_loop.state(), ["5", "a/ one two", "hello"]);
    event_loop.state_mut().clear();
    event_loop.main(|cx| {
        cx.fs().remove_file(folder.at("one"), note("remove"));
        cx.fs().remove_dir(folder.at("a/b"), note("folder"));
        cx.fs().remove_dir(folder.at("missing"), note("missing"));
        cx.fs().lstat(folder.at("missing"), note("stat"));
        cx.fs().read(folder.0.clone(), note("read a folder"));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let mut notes = event_loop.into_state();
    notes.sort();
    let expected =
        ["folder: done", "missing: entity not found", "read a folder: is a directory", "remove: done"];
    assert_eq!(notes[..4], expected);
    assert_eq!(notes[4], "stat: entity not found");
}

#[test]
fn an_open_file_is_read_and_written_in_places_and_synced() {
    let folder = Folder::new("places");
    let mut event_loop = real_loop(Vec::new());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    event_loop.main(|cx| {
        cx.fs().open(folder.at("file"), &options, |cx, file| {
            let file = file.unwrap();
            cx.fs().write_at(&file.clone(), 4, "5678", move |cx, written| {
                written.unwrap();
                cx.fs().set_len(&file.clone(), 10, move |cx, cut| {
                    cut.unwrap();
                    cx.fs().sync(&file.clone(), move |cx, synced| {
                        synced.unwrap();
                        cx.fs().read_at(&file.clone(), 2, 100, |cx, bytes| cx.state.push(bytes.unwrap()));
                        cx.fs().read_at(&file, 10, 100, |cx, bytes| {
                            assert!(bytes.unwrap().is_empty() || !cx.state.is_empty())
                        });
                    });
                });
            });
        });
        cx.fs().open(folder.at("none/file"), &options, |_, file| {
            assert_eq!(file.unwrap_err().kind(), ErrorKind::NotFound);
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [b"\0\x005678\0\0"]);
}

/// A file system of 64 KiB, where this process may mount one.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Small> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at).stderr(std::process::Stdio::null());
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        is_mounted.then(|| Small(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_an_error_of_the_write_that_did_not_fit() {
    let folder = Folder::new("full");
    let small = Small::mount(&folder.0);
    let mut event_loop = real_loop(Log::new());
    event_loop.main(|cx| {
        cx.fs().write("/dev/full", vec![0; 1 << 20], note("device"));
        if small.is_some() {
            let big = folder.at("big");
            cx.fs().write(folder.at("little"), "fits", move |cx, written| {
                written.unwrap();
                cx.fs().write(big, vec![0; 1 << 20], note("disk"));
            });
        } else {
            println!("skipped in part: a full disk: this process may not mount; /dev/full alone is tested");
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let mut notes = event_loop.into_state();
    notes.sort();
    assert_eq!(notes[0], "device: no storage space");
    assert_eq!(notes.get(1).map(String::as_str), small.as_ref().map(|_| "disk: no storage space"));
}

#[test]
fn a_cancelled_call_says_so_inside_its_error() {
    let mut event_loop = Loop::builder(Log::new()).pool_threads(1).build().unwrap();
    let (release, held) = mpsc::channel::<()>();
    event_loop.main(|cx| {
        cx.work(move || held.recv(), |_, _| {});
        let key = cx.fs().read("/proc/self/comm", |cx, outcome| {
            let error = outcome.unwrap_err();
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<WorkError>());
            cx.state.push(format!("{inner:?}"));
        });
        assert!(cx.cancel(key));
        release.send(()).unwrap();
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["Some(Cancelled)"]);
}

#[test]
fn names_are_resolved_and_connected_to() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut event_loop = real_loop(Log::new());
    event_loop.main(|cx| {
        cx.resolve("localhost", 80, |_, found| {
            assert!(found.unwrap().iter().all(|address| address.ip().is_loopback() && address.port() == 80));
        });
        cx.resolve("::1", 7, |_, found| {
            assert_eq!(found.unwrap(), ["[::1]:7".parse::<SocketAddr>().unwrap()]);
        });
        cx.resolve("not a name", 80, |_, found| assert!(found.is_err()));
        for host in ["localhost", "127.0.0.1"] {
            // By name it may come by ::1 first, where nobody listens.
            cx.connect_host(host, port, move |cx, made| {
                assert_eq!(cx.peer_addr(made.unwrap()).unwrap().port(), port);
                cx.state.push(host.to_owned());
            })
            .unwrap();
        }
        cx.connect_host("127.0.0.1", 1, |cx, made| {
            assert_eq!(made.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            cx.state.push("refused".into());
        })
        .unwrap();
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let mut notes = event_loop.into_state();
    notes.sort();
    assert_eq!(notes, ["127.0.0.1", "localhost", "refused"]);
}

#[test]
fn silent_name_servers_take_half_the_pool_and_files_go_on() {
    let mut event_loop =
        Loop::builder(Log::new()).pool_threads(4).on_panic(PanicPolicy::Propagate).build().unwrap();
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    event_loop.main(|cx| {
        // Jobs of that kind that wait as a resolver does.
        for number in 0..6 {
            let held = held.clone();
            let wait = move || held.lock().unwrap().recv();
            cx.work_kind(WorkKind::Dns, wait, move |cx, _| cx.state.push(format!("resolved {number}")));
        }
        cx.fs().read("/proc/self/comm", move |cx, bytes| {
            assert!(bytes.is_ok() && cx.state.is_empty(), "it did not wait for them");
            cx.state.push("read".into());
            (0..6).for_each(|_| release.send(()).unwrap());
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let notes = event_loop.into_state();
    assert_eq!((notes.len(), notes[0].as_str()), (7, "read"));
}
