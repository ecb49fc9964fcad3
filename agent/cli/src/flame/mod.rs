//! `loopscope flame`: where a loop's time went, drawn from two readings of its page.

mod capture;
mod widest;

use crate::args::{FlameArguments, Format};
use crate::duration;
use crate::error::Failure;
use crate::output::{Destination, print};
use crate::target::Target;
use capture::{Capture, Ended};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use widest::Site;

/// How many sites the summary names.
const SITES_SHOWN: usize = 5;

/// Captures, writes the file, and says what is in it.
///
/// # Errors
/// See [`Failure`]: the target is not there, nothing happened in it, or the file cannot be written.
pub fn run(options: &FlameArguments) -> Result<(), Failure> {
    let is_stdout = options.output.as_deref() == Some(Path::new("-"));
    check(options, is_stdout)?;
    let target = Target::find(options.target.as_deref())?;
    let format = options.format.unwrap_or_else(|| format_of(options.output.as_deref()));
    let path = options.output.clone().unwrap_or_else(|| default_path(&target, format));
    // Before the capture: nobody should wait ten seconds to learn that the file cannot be written.
    let destination = Destination::open(&path)?;
    let capture = match &target {
        Target::Process(process) => capture::of_process(process, options.duration)?,
        Target::Url(url) => capture::of_url(url, options.duration, format)?,
    };
    destination.write(&capture.render(format)?)?;
    let summary = Summary { capture: &capture, path: &path, format, asked: options.duration };
    match (options.json, is_stdout) {
        (true, _) => print(summary.json().as_bytes()),
        (false, true) => {
            eprint!("{}", summary.text());
            Ok(())
        }
        (false, false) => print(summary.text().as_bytes()),
    }
}

fn check(options: &FlameArguments, is_stdout: bool) -> Result<(), Failure> {
    if options.duration < Duration::from_millis(1) {
        let message = "a capture of zero length shows nothing: give --for a duration such as 500ms or 10s";
        return Err(Failure::Usage(message.to_owned()));
    }
    if options.json && is_stdout {
        let message = "--json and -o - both write to stdout: give -o a file, or leave out --json";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(())
}

fn format_of(path: Option<&Path>) -> Format {
    match path.and_then(Path::extension).and_then(|ending| ending.to_str()) {
        Some("folded" | "txt") => Format::Folded,
        _ => Format::Svg,
    }
}

fn default_path(target: &Target, format: Format) -> PathBuf {
    let who = match target {
        Target::Process(process) => process.owner.pid.to_string(),
        Target::Url(url) => {
            url.trim_start_matches("http://").replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-")
        }
    };
    PathBuf::from(format!("loopscope-{who}.{}", format.name()))
}

struct Summary<'a> {
    capture: &'a Capture,
    path: &'a Path,
    format: Format,
    asked: Duration,
}

impl Summary<'_> {
    fn text(&self) -> String {
        let capture = self.capture;
        let lasted = duration::show_ns(capture.lasted_ns);
        let mut text = match capture.ended {
            Ended::InTime => String::new(),
            Ended::Interrupted => format!("Interrupted after {lasted} of {}.\n", duration::show(self.asked)),
            Ended::ProcessGone => {
                format!("The process ended after {lasted}: this is what it did until then.\n")
            }
        };
        if let Some(sites) = &capture.sites {
            let busy_ns: u64 = sites.iter().map(|site| site.ns).sum();
            let of_time = busy_ns as f64 * 100.0 / capture.lasted_ns.max(1) as f64;
            let busy = duration::show_ns(busy_ns);
            text +=
                &format!("{busy} in callbacks within {lasted} ({of_time:.0}% of one core). The widest:\n");
            for site in &sites[..sites.len().min(SITES_SHOWN)] {
                let percent = site.ns as f64 * 100.0 / busy_ns.max(1) as f64;
                text += &format!("{percent:6.1}%  {:>7}  {}\n", duration::show_ns(site.ns), site.label());
            }
        }
        if self.path != Path::new("-") {
            let hint = match self.format {
                Format::Svg => "; open it in a browser",
                Format::Folded => "",
            };
            text += &format!("Written to {}{hint}.\n", self.path.display());
        }
        text
    }

    fn json(&self) -> String {
        let capture = self.capture;
        let site = |site: &Site| {
            json!({
                "loop": site.loop_name, "phase": site.phase, "site": site.frame, "job": site.job, "seconds": site.ns as f64 / 1e9,
            })
        };
        let ended = match capture.ended {
            Ended::InTime => "in_time",
            Ended::Interrupted => "interrupted",
            Ended::ProcessGone => "process_ended",
        };
        let summary = json!({
            "file": self.path.to_string_lossy(),
            "format": self.format.name(),
            "seconds": capture.lasted_ns as f64 / 1e9,
            "ended": ended,
            "sites": capture.sites.as_ref().map(|sites| sites.iter().map(site).collect::<Vec<_>>()),
        });
        format!("{summary:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_follows_the_ending() {
        for (path, format) in [
            (None, Format::Svg),
            (Some("x.svg"), Format::Svg),
            (Some("-"), Format::Svg),
            (Some("a/x.folded"), Format::Folded),
            (Some("x.txt"), Format::Folded),
        ] {
            assert_eq!(format_of(path.map(Path::new)), format);
        }
    }

    #[test]
    fn a_default_file_name_has_no_separators() {
        let target = Target::Url("http://127.0.0.1:9464/a/../b".to_owned());
        assert_eq!(default_path(&target, Format::Svg), Path::new("loopscope-127.0.0.1-9464-a-..-b.svg"));
    }
}
