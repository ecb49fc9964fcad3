//! Runs files of schedule programs and says which did not run in Node's order.
//!
//! `schedule FILE.jsonl [--real-time]`: in virtual time, where every run is the same, or on the real clock, poller and
//! pool, where a busy machine may spoil a run and each program has three tries. Ends with `N passed, N failed`; the
//! exit code is 0 where none failed, 1 where some did, 2 where the file or the arguments are wrong.

use loopscope_tests::schedule::compare::compare;
use loopscope_tests::schedule::interpret::{Time, run};
use loopscope_tests::schedule::program::{Program, read};
use std::path::PathBuf;
use std::process::ExitCode;

/// How often a program may be run in real time before it counts as failed.
const TRIES: usize = 3;

const USAGE: &str = "usage: schedule FILE.jsonl [--real-time]";

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)).and_then(|(path, time)| Ok((read(&path)?, time))) {
        Ok((programs, time)) => run_all(&programs, time),
        Err(error) => {
            eprintln!("schedule: {error}");
            ExitCode::from(2)
        }
    }
}

fn arguments(arguments: impl Iterator<Item = String>) -> Result<(PathBuf, Time), String> {
    let (mut path, mut time) = (None, Time::Virtual);
    for argument in arguments {
        match argument.as_str() {
            "--real-time" => time = Time::Real,
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}\n{USAGE}")),
            _ if path.is_some() => return Err(format!("more than one file given\n{USAGE}")),
            _ => path = Some(PathBuf::from(argument)),
        }
    }
    path.map(|path| (path, time)).ok_or_else(|| format!("no file given\n{USAGE}"))
}

fn run_all(programs: &[Program], time: Time) -> ExitCode {
    let tries = if time == Time::Real { TRIES } else { 1 };
    let (mut passed, mut passed_first) = (0, 0);
    for program in programs {
        match passes_at(program, time, tries) {
            Ok(at) => {
                passed += 1;
                passed_first += usize::from(at == 1);
            }
            Err(difference) => println!("FAILED {difference}"),
        }
    }
    if time == Time::Real {
        let share = 100.0 * passed_first as f64 / programs.len() as f64;
        println!("{passed_first} of {} passed at the first try ({share:.1} %)", programs.len());
    }
    let failed = programs.len() - passed;
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// Returns at which try a program passed, or what was wrong the last time.
fn passes_at(program: &Program, time: Time, tries: usize) -> Result<usize, String> {
    let mut wrong = String::new();
    for at in 1..=tries {
        match run(program, time) {
            Ok(lines) => match compare(program, &lines) {
                None => return Ok(at),
                Some(difference) => wrong = difference.to_string(),
            },
            Err(error) => wrong = format!("{}\n  {error}", program.id),
        }
        if at < tries {
            eprintln!("try {at} of {tries} failed: {wrong}");
        }
    }
    Err(wrong)
}
