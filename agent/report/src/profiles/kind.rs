//! What a profile is of, and how it can be written.

/// What a profile's time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Of {
    /// Exact time inside callbacks, from the page.
    #[default]
    Callbacks,
    /// Processor time of the loop's thread, sampled.
    Cpu,
    /// Wall time of stalls, sampled while they last, or from past incidents.
    Stalls,
    /// Wall time in which a busy loop's thread was not on CPU, sampled.
    Waits,
}

impl Of {
    /// All of them.
    pub const ALL: [Of; 4] = [Of::Callbacks, Of::Cpu, Of::Stalls, Of::Waits];

    /// Returns the name in URLs and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Of::Callbacks => "callbacks",
            Of::Cpu => "cpu",
            Of::Stalls => "stalls",
            Of::Waits => "waits",
        }
    }

    /// Returns the one with this name.
    pub fn from_name(name: &str) -> Option<Of> {
        Of::ALL.into_iter().find(|of| of.name() == name)
    }

    /// Tells whether it is made by sampling, and not by two readings of a page.
    pub const fn is_sampled(self) -> bool {
        !matches!(self, Of::Callbacks)
    }

    /// Returns what the time is, in words: `total 3 s ...`.
    pub const fn words(self) -> &'static str {
        match self {
            Of::Callbacks => "in callbacks",
            Of::Cpu => "on CPU",
            Of::Stalls => "in stalls beyond their threshold",
            Of::Waits => "off CPU",
        }
    }

    /// Returns the names of the two values of a pprof sample: a count, and nanoseconds.
    pub(crate) const fn values(self) -> (&'static str, &'static str) {
        match self {
            Of::Callbacks => ("calls", "callbacks"),
            Of::Cpu => ("samples", "cpu"),
            Of::Stalls => ("samples", "stalls"),
            Of::Waits => ("samples", "waits"),
        }
    }
}

/// How a profile is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// A picture for the browser.
    #[default]
    Svg,
    /// One line per stack: `frame;frame microseconds`.
    Folded,
    /// The protocol buffer of `pprof`, with gzip.
    Pprof,
    /// JSON of speedscope.
    Speedscope,
    /// JSON of the Firefox profiler.
    Firefox,
    /// A timeline as Chrome trace events, for Perfetto and speedscope.
    Trace,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] =
        [Format::Svg, Format::Folded, Format::Pprof, Format::Speedscope, Format::Firefox, Format::Trace];

    /// Returns the name in URLs and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Folded => "folded",
            Format::Pprof => "pprof",
            Format::Speedscope => "speedscope",
            Format::Firefox => "firefox",
            Format::Trace => "trace",
        }
    }

    /// Returns the one with this name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Returns the ending of its files, without the dot in front.
    pub const fn ending(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Folded => "folded",
            Format::Pprof => "pb.gz",
            Format::Speedscope => "speedscope.json",
            Format::Firefox => "firefox.json",
            Format::Trace => "trace.json",
        }
    }

    /// Returns the format that a file of this name has by its ending; `None` where the ending tells nothing.
    pub fn of_file(name: &str) -> Option<Format> {
        let others = [
            ("txt", Format::Folded),
            ("pprof", Format::Pprof),
            ("pb", Format::Pprof),
            ("prof", Format::Pprof),
            ("trace", Format::Trace),
        ];
        let endings = Format::ALL.map(|format| (format.ending(), format)).into_iter().chain(others);
        let name = name.to_ascii_lowercase();
        let is_ending = |ending: &str| name.strip_suffix(ending).is_some_and(|rest| rest.ends_with('.'));
        endings.into_iter().find(|(ending, _)| is_ending(ending)).map(|(_, format)| format)
    }

    /// Returns the media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Svg => "image/svg+xml",
            Format::Folded => "text/plain; charset=utf-8",
            Format::Pprof => "application/octet-stream",
            Format::Speedscope | Format::Firefox | Format::Trace => "application/json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_endings_lead_back() {
        for of in Of::ALL {
            assert_eq!(Of::from_name(of.name()), Some(of));
        }
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
            assert_eq!(Format::of_file(&format!("a.b.{}", format.ending())), Some(format));
        }
        assert_eq!(Format::of_file("X.TXT"), Some(Format::Folded));
        assert_eq!(Format::of_file("cpu.pprof"), Some(Format::Pprof));
        for name in ["json", "x.json", "svg", "", "x.png"] {
            assert_eq!(Format::of_file(name), None, "{name}");
        }
    }
}
