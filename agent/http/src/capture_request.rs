//! What a capture over HTTP is asked for: the query of its URL, read strictly, because a misspelt parameter that is
//! passed over gives a picture of something else.

use crate::query::{decoded, is_of_drawing, pairs};
use loopscope_report::profiles::{Format, Of};
use std::ops::RangeInclusive;

/// Lengths of a capture, in seconds.
pub const SECONDS: RangeInclusive<u64> = 1..=300;

/// Samples a second.
const HZ: RangeInclusive<u64> = 49..=997;

/// Not a round number, so that a loop's own timers do not keep step with it.
const HZ_DEFAULT: u64 = 99;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureRequest {
    pub of: Of,
    pub format: Format,
    pub seconds: u64,
    pub hz: u32,
    pub loop_name: Option<String>,
    /// What to call the capture, so that it can be ended early.
    pub name: Option<String>,
}

impl CaptureRequest {
    /// Reads the query of a flamegraph.
    ///
    /// # Errors
    /// Names the parameter that is wrong, and what would do.
    pub fn parse(query: &str) -> Result<CaptureRequest, String> {
        let mut wish = CaptureRequest::default();
        let mut hz = None;
        for (name, value) in pairs(query) {
            match name {
                "of" => {
                    wish.of =
                        Of::from_name(value).ok_or_else(|| unknown(name, value, &Of::ALL.map(Of::name)))?
                }
                "format" => {
                    let names = Format::ALL.map(Format::name);
                    wish.format = Format::from_name(value).ok_or_else(|| unknown(name, value, &names))?;
                }
                "seconds" => wish.seconds = number(name, value, SECONDS)?,
                "hz" => hz = Some(number(name, value, HZ)?),
                "loop" => wish.loop_name = Some(decoded(value)),
                "name" => wish.name = Some(capture_name(value)?),
                name if is_of_drawing(name) => {}
                name => {
                    return Err(format!(
                        "unknown parameter {name:?}: valid are of, seconds, hz, loop, format and name\n"
                    ));
                }
            }
        }
        match (wish.format, hz) {
            (Format::Trace, _) if wish.of.is_sampled() => Err(format!(
                "parameter format: a trace is a timeline of callbacks, not of {}; omit of=\n",
                wish.of.name()
            )),
            (_, Some(_)) if !wish.of.is_sampled() => {
                Err("parameter hz: callbacks are timed exactly, not sampled; omit it, or use of=cpu\n"
                    .to_owned())
            }
            (_, hz) => Ok(CaptureRequest { hz: hz.unwrap_or(HZ_DEFAULT) as u32, ..wish }),
        }
    }

    /// Reads the query of `/debug/pprof/profile` as Go's server does, with its default of 30 s, for whoever pulls from
    /// it. Parameters it has no use for are passed over: pullers add their own.
    ///
    /// # Errors
    /// As [`CaptureRequest::parse`].
    pub fn parse_pprof(query: &str) -> Result<CaptureRequest, String> {
        let mut wish =
            CaptureRequest { of: Of::Cpu, format: Format::Pprof, seconds: 30, ..CaptureRequest::default() };
        for (name, value) in pairs(query) {
            match name {
                "seconds" => wish.seconds = number(name, value, SECONDS)?,
                "hz" => wish.hz = number(name, value, HZ)? as u32,
                "loop" => wish.loop_name = Some(decoded(value)),
                _ => {}
            }
        }
        Ok(wish)
    }
}

impl Default for CaptureRequest {
    fn default() -> CaptureRequest {
        let hz = HZ_DEFAULT as u32;
        CaptureRequest {
            of: Of::Callbacks,
            format: Format::Svg,
            seconds: 10,
            hz,
            loop_name: None,
            name: None,
        }
    }
}

/// Reads the query of a request to end a capture.
///
/// # Errors
/// As [`CaptureRequest::parse`].
pub fn parse_end(query: &str) -> Result<String, String> {
    match pairs(query).collect::<Vec<_>>()[..] {
        [("name", value)] => capture_name(value),
        _ => Err("to end a capture, POST only its name: ?name=NAME\n".to_owned()),
    }
}

fn capture_name(value: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..=64).contains(&value.len()) && value.bytes().all(is_plain);
    let name = is_name.then(|| value.to_owned());
    name.ok_or_else(|| format!("parameter name: {value:?} is not 1 to 64 letters, digits, dots or dashes\n"))
}

fn number(name: &str, value: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (first, last) = range.into_inner();
        format!("parameter {name}: {value:?} is not a whole number from {first} to {last}\n")
    })
}

fn unknown(name: &str, value: &str, names: &[&str]) -> String {
    format!("parameter {name}: {value:?} is not one of {}\n", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        let wish = CaptureRequest::default();
        assert_eq!(CaptureRequest::parse(""), Ok(wish.clone()));
        let folded = CaptureRequest { seconds: 300, format: Format::Folded, ..wish.clone() };
        assert_eq!(CaptureRequest::parse("seconds=300&format=folded"), Ok(folded));
        let cpu =
            CaptureRequest { of: Of::Cpu, hz: 997, loop_name: Some("web #2".to_owned()), ..wish.clone() };
        assert_eq!(CaptureRequest::parse("&of=cpu&&hz=997&loop=web+%232"), Ok(cpu));
        assert_eq!(CaptureRequest::parse("format=trace&seconds=1").unwrap().format, Format::Trace);
        // What is left in the address of a drawing that was zoomed and searched.
        assert_eq!(
            CaptureRequest::parse("seconds=300&format=folded&x=31&y=85&s=web&"),
            CaptureRequest::parse("seconds=300&format=folded")
        );
        assert_eq!(CaptureRequest::parse("=undefined&x=31&y=85&"), CaptureRequest::parse(""));
        let pull = CaptureRequest { of: Of::Cpu, format: Format::Pprof, seconds: 14, ..wish };
        assert_eq!(CaptureRequest::parse_pprof("seconds=14&debug=0"), Ok(pull));
        assert_eq!(CaptureRequest::parse_pprof("").unwrap().seconds, 30);
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (query, culprit) in [
            ("seconds=0", "seconds"),
            ("seconds=301", "seconds"),
            ("seconds=-1", "seconds"),
            ("seconds", "seconds"),
            ("seconds=99999999999999999999", "seconds"),
            ("format=png", "format"),
            ("second=1", "second"),
            ("of=memory", "of"),
            ("of=cpu&hz=48", "hz"),
            ("of=cpu&hz=998", "hz"),
            ("hz=99", "hz"),
            ("of=cpu&format=trace", "format"),
        ] {
            let message = CaptureRequest::parse(query).unwrap_err();
            assert!(message.contains("parameter ") && message.contains(culprit), "{query}: {message}");
        }
        assert!(CaptureRequest::parse_pprof("seconds=x").unwrap_err().contains("seconds"));
    }
}
