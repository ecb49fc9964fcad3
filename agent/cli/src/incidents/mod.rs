//! `loopscope incidents`: what went wrong, as a list or one in full.

pub mod detail;
mod files;
mod kept;
pub mod list;
pub mod source;
pub mod utc_time;

use crate::args::IncidentsArguments;
use crate::doctor::unix_ns;
use crate::error::Failure;
use crate::output::{print, print_json};
use crate::paint::Paint;
use detail::Frames;
use serde_json::{Value, json};
use source::{Filter, Found, IncidentSet};
use std::path::{Path, PathBuf};

/// Lists incidents, or tells one.
///
/// # Errors
/// The target or the incident is not there, or its agent does not answer.
pub fn run(options: &IncidentsArguments) -> Result<(), Failure> {
    let (target, id) = options.meant();
    let mut catch = match &options.dir {
        Some(directory) => source::of_directory(directory, target)?,
        None => source::of_processes_and_kept(target)?,
    };
    let frames = if options.all_frames { Frames::All } else { Frames::Folded };
    let (paint, now_unix_ns, most) = (Paint::stdout(), unix_ns(), options.last as usize);
    catch.keep(&Filter {
        loop_name: options.loop_name.as_deref(),
        class: options.class.as_deref(),
        since_unix_ns: options.since.map(|since| now_unix_ns.saturating_sub(since.as_nanos() as u64)),
    });
    catch.hides_quiet = !options.all && target.is_none();
    let (told, shown) = match id {
        Some(id) => {
            let found = catch.pick(id)?;
            let told = match options.json {
                true => Output::Json(as_json(&found)),
                false => Output::Text(detail::text(paint, &found.printable(), frames, now_unix_ns)),
            };
            (told, vec![found])
        }
        None => {
            let told = match options.json {
                true => Output::Json(list_json(&catch, most)),
                false => Output::Text(list::text(paint, &catch.printable(), most, now_unix_ns)),
            };
            // Stacks are not in a list, and only a flamegraph of all needs them.
            let shown = if options.flame.is_some() { catch.in_full(most)? } else { Vec::new() };
            (told, shown)
        }
    };
    if let Some(path) = &options.flame {
        files::flame(path, &shown)?;
    }
    match (&options.trace, shown.as_slice()) {
        (None, _) => {}
        (Some(path), [found]) if id.is_some() => files::trace(path, found)?,
        (Some(_), _) => {
            let message = "--trace takes one incident: give its ID, or `last`";
            return Err(Failure::Usage(message.to_owned()));
        }
    }
    // A file that goes to stdout is not to be mixed with text.
    let is_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if is_stdout(&options.flame) || is_stdout(&options.trace) {
        return Ok(());
    }
    match told {
        Output::Json(value) => print_json(&value),
        Output::Text(text) => print(&text),
    }
}

/// What is to be printed.
enum Output {
    Json(Value),
    Text(String),
}

/// The incident as its agent tells it, and where it was found.
fn as_json(found: &Found) -> Value {
    let mut value = serde_json::to_value(&found.incident).unwrap_or_default();
    value["source"] = json!(found.origin.name());
    value["headline"] = json!(list::headline(&found.incident));
    value
}

fn list_json(catch: &IncidentSet, most: usize) -> Value {
    json!({
        "incidents": catch.found.iter().take(most).map(as_json).collect::<Vec<_>>(),
        "found": catch.found.len(),
        "summary": list::summary(&catch.found),
        "quiet_ends": catch.quiet.iter().map(as_json).collect::<Vec<_>>(),
        "notes": catch.notes,
    })
}
