//! Libraries that are loaded later, and files that were stripped: what is found, and what is said.

mod support;

use loopscope_stacks::{Capturer, Detail, NativeFrame, Symbolizer, Target, Unwinder};
use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::WITHIN;

/// A library whose exported function calls back through one that it does not export.
const SOURCE: &str = "
static __attribute__((noinline)) void hidden(void (*back)(void *), void *data) { back(data); __asm__ volatile(\"\"); }
void plugin_calls(void (*back)(void *), void *data) { hidden(back, data); __asm__ volatile(\"\"); }
";

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("loopscope-stacks-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool; false, with a line, where it is not installed.
fn is_done(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => {
            assert!(status.success(), "{command:?}");
            true
        }
        Err(error) => {
            let program = command.get_program().display();
            println!("skipped: libraries and stripped files: {program} does not run here ({error})");
            false
        }
    }
}

/// Builds the library, under a name of its own: tests run side by side, and what one loads the others see.
fn built(directory: &Path, name: &str) -> Option<PathBuf> {
    if cfg!(target_env = "musl") {
        println!("skipped: a library loaded later: a static program loads none");
        return None;
    }
    let (source, library) = (directory.join("plugin.c"), directory.join(name));
    std::fs::write(&source, SOURCE).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-o"]).args([&library, &source]);
    is_done(&mut compiler).then_some(library)
}

/// A library that was loaded by hand.
struct Library(*mut c_void);

impl Library {
    fn open(path: &Path) -> Library {
        let name = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the library has no constructors.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        Library(handle)
    }

    /// Calls the library, which calls back.
    fn call(&self, back: &mut dyn FnMut()) {
        extern "C" fn run(data: *mut c_void) {
            // SAFETY: `call` passes the address of its own live reference.
            let back = unsafe { &mut *data.cast::<&mut dyn FnMut()>() };
            back();
        }
        type Entry = extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);
        // SAFETY: the handle is open.
        let entry = unsafe { libc::dlsym(self.0, c"plugin_calls".as_ptr()) };
        assert!(!entry.is_null());
        // SAFETY: the library's source declares it so.
        let entry = unsafe { std::mem::transmute::<*mut c_void, Entry>(entry) };
        let mut back = back;
        entry(run, (&raw mut back).cast());
    }

    fn close(self) {
        // SAFETY: the handle is open, and nothing of the library is used afterwards.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

fn functions(frames: &[NativeFrame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.function.as_str()).collect()
}

#[test]
fn a_library_loaded_later_is_seen_and_one_unloaded_is_remembered() {
    let scratch = Scratch::new("loaded");
    let Some(path) = built(&scratch.0, "libloaded.so") else { return };
    let mut unwinder = Unwinder::new();
    let mut symbolizer = Symbolizer::new(Detail::Symbols);
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    let has_plugin =
        |unwinder: &Unwinder| unwinder.modules().iter().any(|module| &*module.name == "libloaded.so");
    assert!(!has_plugin(&unwinder));
    let (library, mut taken) = (Library::open(&path), None);
    library.call(&mut || taken = Some(capturer.capture(WITHIN).unwrap()));
    let sample = taken.unwrap();
    let stack = unwinder.unwind(&sample);
    assert!(has_plugin(&unwinder) && stack.is_complete && !stack.is_guessed);
    let frames = symbolizer.name(&stack, unwinder.modules());
    let at = functions(&frames)
        .iter()
        .position(|function| *function == "hidden")
        .expect("named by its symbol table");
    assert_eq!(frames[at + 1].function, "plugin_calls", "{frames:#?}");
    // Unloaded: what was sampled before can still be unwound, by the copy of its tables, and named, by its file.
    library.close();
    let again = unwinder.unwind(&sample);
    assert_eq!(again, stack);
    assert_eq!(
        functions(&Symbolizer::new(Detail::Symbols).name(&again, unwinder.modules())),
        functions(&frames)
    );
}

#[test]
fn a_stripped_library_gives_offsets_and_says_what_to_install() {
    let scratch = Scratch::new("stripped");
    let Some(path) = built(&scratch.0, "libstripped.so") else { return };
    if !is_done(Command::new("strip").arg(&path)) {
        return;
    }
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    let (library, mut taken) = (Library::open(&path), None);
    library.call(&mut || taken = Some(capturer.capture(WITHIN).unwrap()));
    for detail in [Detail::Symbols, Detail::Lines] {
        let mut unwinder = Unwinder::new();
        let stack = unwinder.unwind(taken.as_ref().unwrap());
        let mut symbolizer = Symbolizer::new(detail);
        let frames = symbolizer.name(&stack, unwinder.modules());
        let names = functions(&frames);
        // The exported one is in the dynamic table; the hidden one has lost its name.
        let at = names.iter().position(|function| *function == "plugin_calls").expect("exported");
        let offset = frames[at - 1].offset;
        assert_eq!(names[at - 1], format!("libstripped.so+{offset:#x}"), "{names:#?}");
        assert!(frames[at - 1].build_id.is_some());
        let nameless = symbolizer.nameless();
        let said = nameless.iter().find(|nameless| &*nameless.module == "libstripped.so").expect("said");
        assert!(said.advice.contains("-dbgsym") && said.advice.contains("libstripped.so"), "{}", said.advice);
    }
}

#[test]
fn a_library_whose_file_was_replaced_is_not_named_by_the_new_one() {
    let scratch = Scratch::new("replaced");
    let Some(path) = built(&scratch.0, "libreplaced.so") else { return };
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    let (library, mut taken) = (Library::open(&path), None);
    library.call(&mut || taken = Some(capturer.capture(WITHIN).unwrap()));
    std::fs::remove_file(&path).unwrap();
    let other = scratch.0.join("other.c");
    std::fs::write(&other, format!("int other;\n{SOURCE}")).unwrap();
    let mut compiler = Command::new("cc");
    assert!(is_done(compiler.args(["-O0", "-shared", "-fPIC", "-o"]).args([&path, &other])));
    let mut unwinder = Unwinder::new();
    let stack = unwinder.unwind(taken.as_ref().unwrap());
    let mut symbolizer = Symbolizer::new(Detail::Symbols);
    let frames = symbolizer.name(&stack, unwinder.modules());
    assert_eq!(
        functions(&frames).iter().filter(|name| name.starts_with("libreplaced.so+0x")).count(),
        2,
        "{frames:#?}"
    );
    assert!(symbolizer.nameless().iter().any(|nameless| nameless.advice.contains("was replaced")));
}

/// Set for the process whose library is cut off.
const CUT: &str = "LOOPSCOPE_CUT_LIBRARY";

/// Whoever touches a mapping whose file was cut off, as by a copy over a library that is in use, is ended by SIGBUS.
#[test]
fn a_library_that_was_cut_off_in_place_ends_nobody() {
    if let Some(path) = std::env::var_os(CUT) {
        let _library = Library::open(Path::new(&path));
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        let (_, frames) = support::capture(&Target::this_thread());
        let is_found = functions(&frames).contains(&"modules::support::capture");
        // SAFETY: ends the process at once: at an orderly end the loader would read the library.
        unsafe { libc::_exit(if is_found { 7 } else { 1 }) };
    }
    let scratch = Scratch::new("cut");
    let Some(path) = built(&scratch.0, "libcut.so") else { return };
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", "a_library_that_was_cut_off_in_place_ends_nobody", "--nocapture"]);
    let told = child.env(CUT, path).output().unwrap();
    assert_eq!(told.status.code(), Some(7), "{told:?}");
}

/// Set for the stripped copy of this test's own program.
const STRIPPED: &str = "LOOPSCOPE_STRIPPED_COPY";

#[inline(never)]
fn known_only_by_its_offset() -> Vec<NativeFrame> {
    let sample = Capturer::attach(Target::this_thread()).unwrap().capture(WITHIN).unwrap();
    let (stack, frames) = support::named(&sample, Detail::Symbols);
    assert!(support::is_whole(&stack), "the unwind tables are not stripped");
    frames
}

#[test]
fn a_stripped_program_gives_offsets() {
    if std::env::var_os(STRIPPED).is_some() {
        let frames = known_only_by_its_offset();
        let names = functions(&frames);
        let nameless = names.iter().filter(|name| name.starts_with("copy+0x")).count();
        assert!(nameless > 3, "{names:#?}");
        assert!(!names.iter().any(|name| name.contains("known_only")), "{names:#?}");
        return;
    }
    let scratch = Scratch::new("copy");
    let copy = scratch.0.join("copy");
    if !is_done(Command::new("strip").arg("-o").arg(&copy).arg(std::env::current_exe().unwrap())) {
        return;
    }
    assert!(known_only_by_its_offset().iter().any(|frame| frame.function.contains("known_only")));
    let mut child = Command::new(&copy);
    let told =
        child.args(["--exact", "a_stripped_program_gives_offsets"]).env(STRIPPED, "1").output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    assert!(String::from_utf8_lossy(&told.stdout).contains("1 passed"));
}
