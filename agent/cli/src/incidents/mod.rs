//! `loopscope incidents`: what went wrong, as a list or one in full.

mod detail;
mod list;
mod moment;
mod source;

use crate::args::IncidentsArguments;
use crate::doctor::unix_ns;
use crate::error::Failure;
use crate::output::print;
use crate::paint::Paint;
use serde_json::{Value, json};
use source::{Catch, Found};

/// Lists incidents, or tells one.
///
/// # Errors
/// The target or the incident is not there, or its agent does not answer.
pub fn run(options: &IncidentsArguments) -> Result<(), Failure> {
    let (target, id) = options.meant();
    let catch = match &options.dir {
        Some(directory) => source::of_directory(directory, target)?,
        None => source::of_processes(target)?,
    };
    let (paint, now_unix_ns) = (Paint::stdout(), unix_ns());
    let text = match id {
        Some(id) => {
            let found = catch.pick(id)?;
            match options.json {
                true => format!("{:#}\n", as_json(&found)),
                false => detail::text(paint, &found, now_unix_ns),
            }
        }
        None => match options.json {
            true => format!("{:#}\n", list_json(&catch, options.last as usize)),
            false => list::text(paint, &catch, options.last as usize, now_unix_ns),
        },
    };
    print(text.as_bytes())
}

/// The incident as its agent tells it, and where it was found.
fn as_json(found: &Found) -> Value {
    let mut value = serde_json::to_value(&found.incident).unwrap_or_default();
    value["source"] = json!(found.origin.name());
    value
}

fn list_json(catch: &Catch, most: usize) -> Value {
    json!({
        "incidents": catch.found.iter().take(most).map(as_json).collect::<Vec<_>>(),
        "found": catch.found.len(),
        "quiet_ends": catch.quiet.iter().map(as_json).collect::<Vec<_>>(),
        "notes": catch.notes,
    })
}
