//! What one run of `flame` is to do, with everything that can be refused before it begins.

use crate::args::FlameArguments;
use crate::duration;
use crate::error::Failure;
use crate::target::Target;
use loopscope_report::profiles::FlameError;
use loopscope_report::profiles::{Format, Of, Profile, Totals};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long is watched where the command line does not say.
const LENGTH: Duration = Duration::from_secs(10);

/// The longest capture that an agent takes.
const SECONDS_MAX: u64 = 300;

/// Where an agent is asked for a capture, and to end one.
pub const FLAMEGRAPH: &str = "/debug/loopscope/flamegraph";

/// What to capture, and how to write it.
#[derive(Debug)]
pub struct Plan {
    pub of: Of,
    pub format: Format,
    pub length: Duration,
    pub hz: Option<u32>,
    pub loop_name: Option<String>,
    /// The profile to compare with, and how.
    pub before: Option<(Profile, Totals)>,
    /// What to compare it with, and its file, where that was captured before, too.
    pub after: Option<(Profile, PathBuf)>,
    /// The greatest growth of one callback site that is no failure, as part of the larger total.
    pub fail_above: Option<f64>,
}

impl Plan {
    /// Reads the arguments, and the file to compare with.
    ///
    /// # Errors
    /// They contradict each other, or the file cannot be read.
    pub fn new(options: &FlameArguments) -> Result<Plan, Failure> {
        let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
        let of = options.of.map_or(Of::Callbacks, Of::from);
        let length = options.duration.unwrap_or(LENGTH);
        let format =
            options.format.map(Format::from).map_or_else(|| format_of(options.output.as_deref()), Ok)?;
        if length < Duration::from_millis(1) {
            return usage("--for must not be zero: try 500ms or 10s");
        }
        if options.json && options.output.as_deref() == Some(Path::new("-")) {
            return usage("--json and -o - both write to stdout: give -o a file, or omit --json");
        }
        if options.hz.is_some() && !of.is_sampled() {
            return usage("--hz: callbacks are timed exactly, not sampled; omit it, or add --of cpu");
        }
        if format == Format::Trace && of.is_sampled() {
            return usage("--format trace is a timeline of callbacks: omit --of, or choose another format");
        }
        if options.diff.is_some() && format != Format::Svg {
            return usage("--diff writes svg: omit --format, and give -o a file that ends in .svg");
        }
        let totals = if options.normalize { Totals::Equal } else { Totals::AsMeasured };
        let before = options.diff.as_deref().map(|path| folded("--diff", path)).transpose()?;
        let before = before.map(|before| (before, totals));
        let after = after(options)?;
        let (hz, loop_name) = (options.hz, options.loop_name.clone());
        Ok(Plan { of, format, length, hz, loop_name, before, after, fail_above: options.fail_above })
    }

    /// Returns the path and query to ask an agent for.
    ///
    /// # Errors
    /// The agent counts captures in whole seconds, and bounds them.
    pub fn request(&self) -> Result<String, Failure> {
        let is_whole = self.length.subsec_nanos() == 0 && (1..=SECONDS_MAX).contains(&self.length.as_secs());
        if !is_whole {
            let asked = duration::show(self.length);
            return Err(Failure::Usage(format!(
                "--for {asked}: an agent captures whole seconds, from 1s to {SECONDS_MAX}s"
            )));
        }
        // A difference is drawn here, of the stacks that come from there.
        let format = if self.before.is_some() { Format::Folded } else { self.format };
        let mut query = format!("seconds={}&format={}", self.length.as_secs(), format.name());
        // An older agent knows only callbacks, and no parameter for that.
        if self.of != Of::Callbacks {
            query += &format!("&of={}", self.of.name());
        }
        if let Some(hz) = self.hz {
            query += &format!("&hz={hz}");
        }
        if let Some(name) = &self.loop_name {
            query += &format!("&loop={}", encoded(name));
        }
        Ok(format!("{FLAMEGRAPH}?{query}"))
    }

    /// Returns the name of the file to write where none was given.
    pub fn default_path(&self, target: &Target) -> PathBuf {
        let who = match target {
            Target::Process(process) => process.owner.pid.to_string(),
            Target::Url(url) => url.trim_start_matches("http://").to_owned(),
        };
        self.path_of(&who)
    }

    /// Returns the name of the file to write about someone.
    pub fn path_of(&self, who: &str) -> PathBuf {
        let who = plain(who);
        let what = match (&self.before, self.of) {
            (Some(_), _) => "-diff".to_owned(),
            (None, Of::Callbacks) => String::new(),
            (None, of) => format!("-{}", of.name()),
        };
        PathBuf::from(format!("loopscope-{who}{what}.{}", self.format.ending()))
    }
}

fn plain(text: &str) -> String {
    text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-")
}

/// Returns the format by the ending of a file: a picture where it has none.
///
/// # Errors
/// The ending promises something that is not written.
fn format_of(path: Option<&Path>) -> Result<Format, Failure> {
    let Some(path) = path else { return Ok(Format::default()) };
    match path.to_str().and_then(Format::of_file) {
        Some(format) => Ok(format),
        None if path.extension().is_none() || path.starts_with("/dev") => Ok(Format::default()),
        None => Err(Failure::Usage(format!(
            "-o {}: unknown extension; use .svg, .folded, .pb.gz, .speedscope.json, .firefox.json or .trace.json, \
             or give --format",
            path.display()
        ))),
    }
}

/// Reads the file that the target names, where that is one of folded stacks and there is one to compare it with.
///
/// # Errors
/// The file cannot be read, or something is asked for that only a capture has.
fn after(options: &FlameArguments) -> Result<Option<(Profile, PathBuf)>, Failure> {
    let is_folded = |path: &Path| Format::of_file(&path.to_string_lossy()) == Some(Format::Folded);
    let path = options.target.as_deref().filter(|_| options.diff.is_some()).map(Path::new);
    let Some(path) = path.filter(|path| is_folded(path)) else { return Ok(None) };
    let of_captures = [
        ("--for", options.duration.is_some()),
        ("--of", options.of.is_some()),
        ("--hz", options.hz.is_some()),
        ("--loop", options.loop_name.is_some()),
        ("--incident", options.incident.is_some()),
    ];
    if let Some((option, _)) = of_captures.iter().find(|(_, is_given)| *is_given) {
        let why = format!("{option}: two files are compared, and nothing is captured; omit it");
        return Err(Failure::Usage(why));
    }
    Ok(Some((folded("TARGET", path)?, path.to_owned())))
}

/// Reads a file of folded stacks, which `argument` names.
fn folded(argument: &str, path: &Path) -> Result<Profile, Failure> {
    let because = |because: String| Failure::Usage(format!("{argument} {}: {because}", path.display()));
    let bytes = fs::read(path).map_err(|error| because(error.to_string()))?;
    if matches!(bytes.first(), Some(b'<' | b'{' | 0x1f)) {
        return Err(because(
            "is not in the folded format; capture it with --format folded to compare with it".to_owned(),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| because("is not text".to_owned()))?;
    Profile::parse_folded(&text).map_err(|error| match error {
        FlameError::Empty => because("has no stacks to compare with".to_owned()),
        error => because(error.to_string()),
    })
}

/// Percent-encodes a name for a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A plan without any option.
    pub fn plan(of: Of, format: Format, length: Duration) -> Plan {
        Plan { of, format, length, hz: None, loop_name: None, before: None, after: None, fail_above: None }
    }

    #[test]
    fn the_format_follows_the_ending() {
        for (path, format) in [
            (None, Format::Svg),
            (Some("x.svg"), Format::Svg),
            (Some("-"), Format::Svg),
            (Some("a/x.folded"), Format::Folded),
            (Some("x.txt"), Format::Folded),
            (Some("x.pb.gz"), Format::Pprof),
            (Some("x.trace.json"), Format::Trace),
            (Some("out"), Format::Svg),
            (Some("/dev/fd/3"), Format::Svg),
        ] {
            assert_eq!(format_of(path.map(Path::new)).ok(), Some(format), "{path:?}");
        }
        for path in ["x.png", "x.json", "a.b/x.html"] {
            let message = format_of(Some(Path::new(path))).unwrap_err().to_string();
            assert!(message.contains(path) && message.contains(".svg"), "{message}");
        }
    }

    #[test]
    fn a_default_file_name_has_no_separators() {
        let target = Target::Url("http://127.0.0.1:9464/a/../b".to_owned());
        let path = |plan: Plan| plan.default_path(&target);
        let one = Duration::from_secs(1);
        assert_eq!(
            path(plan(Of::Callbacks, Format::Svg, one)),
            Path::new("loopscope-127.0.0.1-9464-a-..-b.svg")
        );
        assert_eq!(
            path(plan(Of::Cpu, Format::Svg, one)),
            Path::new("loopscope-127.0.0.1-9464-a-..-b-cpu.svg")
        );
        assert_eq!(
            plan(Of::Callbacks, Format::Svg, one).path_of("7-1/.."),
            Path::new("loopscope-7-1-...svg")
        );
    }

    #[test]
    fn an_agent_is_asked_for_whole_seconds() {
        let request = plan(Of::Callbacks, Format::Svg, Duration::from_secs(10)).request().unwrap();
        assert_eq!(request, "/debug/loopscope/flamegraph?seconds=10&format=svg");
        let loop_name = Some("web #2".to_owned());
        let cpu = Plan { hz: Some(199), loop_name, ..plan(Of::Cpu, Format::Svg, Duration::from_secs(1)) };
        assert!(cpu.request().unwrap().ends_with("&of=cpu&hz=199&loop=web%20%232"));
        for length in [Duration::from_millis(1500), Duration::from_millis(500), Duration::from_secs(301)] {
            assert_eq!(plan(Of::Cpu, Format::Svg, length).request().unwrap_err().exit_code(), 2);
        }
    }
}
