//! What a TARGET on the command line means: a pid, a name, or a URL (also `unix:/path`); nothing where only one
//! process is there.

use crate::endpoint::is_url;
use crate::error::Failure;
use crate::pages;
use crate::pages::Process;
use loopscope_probe::raw::directory::runtime_directory;

/// Where to capture.
#[derive(Debug)]
pub enum Target {
    /// A living process of this machine.
    Process(Process),
    /// The agent at this URL, without a slash at its end.
    Url(String),
}

/// What a TARGET reaches where also processes that have ended count, and more than one may be meant.
#[derive(Debug)]
pub enum Reached {
    /// Processes of this machine.
    Processes(Vec<Process>),
    /// The agent at this URL, without a slash at its end.
    Url(String),
}

/// A TARGET as it was written.
#[derive(Debug, PartialEq, Eq)]
enum Written<'a> {
    Anything,
    Pid(u32),
    Name(&'a str),
    Url(&'a str),
}

impl Target {
    /// Finds what was written.
    ///
    /// # Errors
    /// Nothing fits, or several processes do; the message lists what there is.
    pub fn find(text: Option<&str>) -> Result<Target, Failure> {
        match read(text)? {
            Written::Url(url) => Ok(Target::Url(url.to_owned())),
            written => choose(pages::processes()?, &written).map(Target::Process),
        }
    }
}

/// Finds the living process of this machine that was written, also by the URL of its agent.
///
/// # Errors
/// As [`Target::find`]; or the URL is not that of an agent in a process whose pages can be seen from here.
pub fn local(text: Option<&str>) -> Result<Process, Failure> {
    let url = match Target::find(text)? {
        Target::Process(process) => return Ok(process),
        Target::Url(url) => url,
    };
    let is_there = |process: &Process| process.is_alive && process.is_at(&url);
    let found = pages::processes()?.into_iter().find(is_there);
    found.ok_or_else(|| {
        Failure::NotFound(format!(
            "{url}: no process of this user on this machine has its agent at that address; run this command on the \
             agent's machine, with a pid"
        ))
    })
}

/// Finds all processes that fit, ended ones included; all there are where nothing was written.
///
/// # Errors
/// Nothing fits what was written; the message lists what there is.
pub fn reach(text: Option<&str>) -> Result<Reached, Failure> {
    let written = match read(text)? {
        Written::Url(url) => return Ok(Reached::Url(url.to_owned())),
        written => written,
    };
    let (found, others): (Vec<Process>, Vec<Process>) =
        pages::processes()?.into_iter().partition(|process| written.fits(process));
    if found.is_empty() && written != Written::Anything {
        let unreadable: Vec<String> =
            others.iter().filter(|process| written.may_be(process)).flat_map(Process::unreadable).collect();
        if !unreadable.is_empty() {
            return Err(Failure::NotFound(not_readable(&written, &unreadable)));
        }
        let labels: Vec<String> = others.iter().map(Process::label).collect();
        return Err(Failure::NotFound(not_found(&written, false, &labels)));
    }
    Ok(Reached::Processes(found))
}

fn read(text: Option<&str>) -> Result<Written<'_>, Failure> {
    let Some(text) = text else { return Ok(Written::Anything) };
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.starts_with('/')) {
        let message = format!("{text}: give the full path of a socket file: unix:/{path}");
        return Err(Failure::Usage(message));
    }
    if is_url(text) {
        return Ok(Written::Url(text.trim_end_matches('/')));
    }
    Ok(text.parse().map_or(Written::Name(text), Written::Pid))
}

fn choose(mut processes: Vec<Process>, written: &Written<'_>) -> Result<Process, Failure> {
    let ended = processes.iter().any(|process| !process.is_alive && written.fits(process));
    let unreadable: Vec<String> =
        processes.iter().filter(|process| written.may_be(process)).flat_map(Process::unreadable).collect();
    processes.retain(|process| process.is_alive && !process.loops.is_empty());
    let all: Vec<String> = processes.iter().map(Process::label).collect();
    let mut found: Vec<Process> = processes.into_iter().filter(|process| written.fits(process)).collect();
    match found.len() {
        0 if unreadable.is_empty() => Err(Failure::NotFound(not_found(written, ended, &all))),
        0 => Err(Failure::NotFound(not_readable(written, &unreadable))),
        1 => Ok(found.remove(0)),
        _ => Err(Failure::Ambiguous(ambiguous(written, &found))),
    }
}

impl Written<'_> {
    /// Tells whether a living process may be meant whose pages cannot all be read: its name stands on those.
    fn may_be(&self, process: &Process) -> bool {
        process.is_alive && (self.fits(process) || matches!(self, Written::Name(_)))
    }

    fn fits(&self, process: &Process) -> bool {
        let has_loop = |name: &str| {
            process.loops.iter().any(|page| page.facts.name == name || page.runtime_label() == Some(name))
        };
        match self {
            Written::Anything => true,
            Written::Pid(pid) => process.owner.pid == *pid,
            Written::Name(name) => process.name() == *name || has_loop(name),
            Written::Url(_) => false,
        }
    }
}

fn not_found(written: &Written<'_>, has_ended: bool, all: &[String]) -> String {
    let what = match written {
        Written::Pid(pid) if has_ended => {
            format!("process {pid} has exited (`loopscope incidents {pid}` shows what it was doing)")
        }
        Written::Pid(pid) => format!("no instrumented process with pid {pid}"),
        Written::Name(name) => format!("no instrumented process or loop named `{name}`"),
        _ => "no instrumented process".to_owned(),
    };
    match all {
        [] if has_ended && matches!(written, Written::Pid(_)) => {
            format!("{what}; no other instrumented process is running")
        }
        [] => format!(
            "{what}: no page of a running process in {}, this user's directory; start a program, or try `loopscope demo`",
            runtime_directory().display()
        ),
        all => format!("{what}; there are:\n  {}", all.join("\n  ")),
    }
}

fn not_readable(written: &Written<'_>, unreadable: &[String]) -> String {
    let what = match written {
        Written::Pid(pid) => format!("process {pid} cannot be watched"),
        Written::Name(name) => {
            format!("no process or loop named `{name}` with a readable page")
        }
        _ => "no process with a readable page".to_owned(),
    };
    format!("{what}\n  {}", unreadable.join("\n  "))
}

fn ambiguous(written: &Written<'_>, found: &[Process]) -> String {
    let labels: Vec<String> = found.iter().map(Process::label).collect();
    let what = match written {
        Written::Name(name) => format!("`{name}` is the name of {} processes", found.len()),
        _ => format!("{} instrumented processes are running", found.len()),
    };
    format!("{what}: choose one by pid\n  {}", labels.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_pid_a_name_or_a_url() {
        assert_eq!(read(None).unwrap(), Written::Anything);
        assert_eq!(read(Some("4711")).unwrap(), Written::Pid(4711));
        assert_eq!(read(Some("web-1")).unwrap(), Written::Name("web-1"));
        assert_eq!(read(Some("99999999999")).unwrap(), Written::Name("99999999999"));
        assert_eq!(read(Some("http://127.0.0.1:9464/")).unwrap(), Written::Url("http://127.0.0.1:9464"));
        assert_eq!(read(Some("https://x")).unwrap(), Written::Url("https://x"));
        assert_eq!(read(Some("unix:/run/x.sock")).unwrap(), Written::Url("unix:/run/x.sock"));
        assert_eq!(read(Some("unix:x.sock")).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn an_unknown_target_is_named_with_what_there_is() {
        let text = not_found(&Written::Name("web"), false, &["12 demo".to_owned()]);
        assert!(text.contains("`web`") && text.contains("12 demo"), "{text}");
        let ended = not_found(&Written::Pid(7), true, &[]);
        assert!(
            ended.contains("process 7 has exited") && !ended.contains("no page"),
            "its own is there: {ended}"
        );
        for has_ended in [false, true] {
            let none = not_found(&Written::Anything, has_ended, &[]);
            assert!(
                none.contains("no page of a running process") && none.contains("loopscope demo"),
                "{none}"
            );
        }
    }
}
