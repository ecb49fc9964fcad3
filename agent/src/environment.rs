//! What the operator asks of the agent by environment variables, applied when it starts.
//!
//! The variables are those of the table in `loopscope_report::settings`. They win over what the program's code chose,
//! and are ignored for what the code declared [fixed](crate::AgentBuilder::fixed). A value that means nothing is an
//! error where going on would answer somewhere else, or to more people, than was asked for; else it is a warning.

use crate::AgentError;
use crate::capture::Captures;
use crate::settings::Settings;
use loopscope_probe::raw::environment;
use loopscope_probe::raw::switch::{self, Position};
use loopscope_report::duration;
use loopscope_report::model::thresholds::{ThresholdTable, Thresholds};
use loopscope_report::settings::Setting;
use std::ffi::OsString;

/// How much longer than the warning a critical stall is, where only the warning is given.
const CRITICAL_FACTOR: u64 = 10;

/// Reads a variable by its name.
type Read = Box<dyn Fn(&str) -> Option<OsString>>;

/// The environment, as far as the program lets it decide.
pub(crate) struct Environment {
    read: Read,
    /// Its values are only told to be ignored.
    is_trusted: bool,
    fixed: Vec<Setting>,
    applied: Vec<&'static str>,
    warnings: Vec<String>,
}

impl Environment {
    /// The environment of this process, without what is fixed.
    pub(crate) fn of_process(fixed: Vec<Setting>) -> Environment {
        let environment = Environment::reading(fixed, |name| std::env::var_os(name));
        Environment { is_trusted: environment::is_trusted(), ..environment }
    }

    fn reading(fixed: Vec<Setting>, read: impl Fn(&str) -> Option<OsString> + 'static) -> Environment {
        Environment {
            read: Box::new(read),
            is_trusted: true,
            fixed,
            applied: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns a variable's value; `None` where it is not set, empty, or the program's to decide.
    pub(crate) fn value(&mut self, setting: Setting) -> Option<OsString> {
        let variable = setting.variable();
        let value = (self.read)(variable).filter(|value| !value.is_empty())?;
        if !self.is_trusted {
            let why = "this program has more rights than the user who started it";
            self.warnings.push(format!("{variable} is ignored: {why}"));
            return None;
        }
        if self.fixed.contains(&setting) {
            self.warnings.push(format!("{variable} is ignored: the program has fixed this setting"));
            return None;
        }
        self.applied.push(variable);
        Some(value)
    }

    /// Returns a variable's value as text: see [`Environment::value`].
    pub(crate) fn text(&mut self, setting: Setting) -> Option<String> {
        self.value(setting).map(|value| value.to_string_lossy().into_owned())
    }

    /// Says that a value means nothing, and is not applied.
    fn refuse(&mut self, setting: Setting, value: &str, why: &str) {
        let variable = setting.variable();
        self.applied.retain(|name| *name != variable);
        self.warnings.push(format!("{variable}={value} is ignored: {why}"));
    }

    /// Applies what is asked of the thread that watches.
    pub(crate) fn apply(&mut self, settings: &mut Settings) {
        if let Some(directory) = self.value(Setting::IncidentsDir) {
            settings.incidents_dir = Some(directory.into());
        }
        if let Some(text) = self.text(Setting::Thresholds) {
            match thresholds(&text, settings.thresholds.clone()) {
                Ok(table) => settings.thresholds = table,
                Err(why) => self.refuse(Setting::Thresholds, &text, &why),
            }
        }
        settings.keeps_incidents &= self.is_on(Setting::KeepIncidents);
        settings.prints_first_stall &= self.is_on(Setting::Stderr);
        if !self.is_on(Setting::Captures) {
            settings.captures = Captures::Off;
        }
    }

    /// Returns false where a variable turns something off.
    fn is_on(&mut self, setting: Setting) -> bool {
        let Some(value) = self.value(setting) else { return true };
        if let Position::Unknown(value) = switch::read(&value) {
            self.refuse(setting, &value, "expected off, 0 or false");
            return true;
        }
        switch::read(&value) == Position::On
    }

    /// Returns the names of what was applied, and the warnings about what was not.
    pub(crate) fn finish(self) -> (Vec<&'static str>, Vec<String>) {
        (self.applied, self.warnings)
    }
}

/// Returns the error for a value that means nothing, where the agent must not start with another one.
pub(crate) fn unusable(setting: Setting, value: &str) -> AgentError {
    let description = setting.description();
    AgentError::Setting {
        variable: description.variable,
        value: value.to_owned(),
        expected: description.values.replace('`', ""),
    }
}

/// Reads `50ms`, `50ms/1s`, `web=20ms/200ms`, separated by commas, into a table.
fn thresholds(text: &str, mut table: ThresholdTable) -> Result<ThresholdTable, String> {
    for part in text.split(',').map(str::trim) {
        match part.rsplit_once('=') {
            None => table.all = pair(part)?,
            Some((name, _)) if name.trim().is_empty() => {
                return Err(format!("`{part}` names no loop: write LOOP=WARNING/CRITICAL"));
            }
            Some((name, lengths)) => table.set_one(name.trim(), pair(lengths.trim())?),
        }
    }
    Ok(table)
}

fn pair(text: &str) -> Result<Thresholds, String> {
    let ns = |text: &str| duration::parse(text.trim()).map_err(|error| format!("`{}` {error}", text.trim()));
    let (warning, critical) = match text.split_once('/') {
        Some((warning, critical)) => (ns(warning)?, ns(critical)?),
        None => (ns(text)?, ns(text)?.saturating_mul(CRITICAL_FACTOR)),
    };
    let pair = Thresholds { warning_ns: warning, critical_ns: critical };
    match pair.are_sensible() {
        true => Ok(pair),
        false => Err("warning must be at least 2 ms and not above critical".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Agent;
    use std::path::Path;

    const MS: u64 = 1_000_000;

    fn with(fixed: &[Setting], pairs: &'static [(&'static str, &'static str)]) -> (Settings, Environment) {
        let find = move |name: &str| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(*value))
        };
        let mut environment = Environment::reading(fixed.to_vec(), find);
        let mut settings = Agent::builder().incidents_dir("/chosen").settings;
        environment.apply(&mut settings);
        (settings, environment)
    }

    #[test]
    fn the_environment_wins_over_what_code_chose_and_loses_to_what_it_fixed() {
        let pairs = &[("LOOPSCOPE_INCIDENTS_DIR", "/asked"), ("LOOPSCOPE_THRESHOLDS", "50ms,web=20ms/30ms")];
        let (settings, environment) = with(&[], pairs);
        assert_eq!(settings.incidents_dir.as_deref(), Some(Path::new("/asked")));
        assert_eq!(settings.thresholds.all, Thresholds { warning_ns: 50 * MS, critical_ns: 500 * MS });
        let own: Vec<Thresholds> = settings.thresholds.pairs().skip(1).collect();
        assert_eq!(own, [Thresholds { warning_ns: 20 * MS, critical_ns: 30 * MS }]);
        let (applied, warnings) = environment.finish();
        assert_eq!(applied, ["LOOPSCOPE_INCIDENTS_DIR", "LOOPSCOPE_THRESHOLDS"]);
        assert!(warnings.is_empty(), "{warnings:?}");
        let (settings, environment) = with(&[Setting::IncidentsDir, Setting::Thresholds], pairs);
        assert_eq!(settings.incidents_dir.as_deref(), Some(Path::new("/chosen")));
        assert_eq!(settings.thresholds.all.warning_ns, 100 * MS);
        let (applied, warnings) = environment.finish();
        assert!(
            applied.is_empty() && warnings.len() == 2,
            "what was asked for in vain is said: {warnings:?}"
        );
    }

    #[test]
    fn a_program_with_more_rights_than_its_user_ignores_what_the_user_asks_for_and_says_so() {
        let find = |name: &str| (name == "LOOPSCOPE_INCIDENTS_DIR").then(|| OsString::from("/etc/cron.d"));
        let mut environment = Environment { is_trusted: false, ..Environment::reading(Vec::new(), find) };
        let mut settings = Agent::builder().incidents_dir("/chosen").settings;
        environment.apply(&mut settings);
        assert_eq!(settings.incidents_dir.as_deref(), Some(Path::new("/chosen")));
        let (applied, warnings) = environment.finish();
        assert!(applied.is_empty());
        let ignored =
            "LOOPSCOPE_INCIDENTS_DIR is ignored: this program has more rights than the user who started it";
        assert_eq!(warnings, [ignored]);
    }

    #[test]
    fn what_means_nothing_is_said_and_changes_nothing() {
        for (value, part) in [
            ("100", "has no unit"),
            ("1ms", "at least 2 ms"),
            ("2s/1s", "not above"),
            ("web=", "is not a duration"),
            ("=5ms", "names no loop"),
        ] {
            let (pairs, why) = ([("LOOPSCOPE_THRESHOLDS", value)], part);
            let find = move |name: &str| (pairs[0].0 == name).then(|| pairs[0].1.into());
            let mut environment = Environment::reading(Vec::new(), find);
            let mut settings = Agent::builder().settings;
            environment.apply(&mut settings);
            let (applied, warnings) = environment.finish();
            assert_eq!(settings.thresholds.all.warning_ns, 100 * MS);
            assert!(applied.is_empty() && warnings[0].contains(why), "{value}: {warnings:?}");
        }
    }

    #[test]
    fn each_switch_turns_off_its_own() {
        for (variable, expected) in [
            ("LOOPSCOPE_KEEP_INCIDENTS", (Captures::On, true, false)),
            ("LOOPSCOPE_STDERR", (Captures::On, false, true)),
            ("LOOPSCOPE_CAPTURES", (Captures::Off, true, true)),
        ] {
            let find = move |name: &str| (name == variable).then(|| "off".into());
            let mut environment = Environment::reading(Vec::new(), find);
            let mut settings = Agent::builder().settings;
            environment.apply(&mut settings);
            let Settings { captures, prints_first_stall, keeps_incidents, .. } = settings;
            assert_eq!((captures, prints_first_stall, keeps_incidents), expected, "{variable}");
            assert_eq!(environment.finish().0, [variable]);
        }
    }

    #[test]
    fn the_environment_turns_captures_printing_and_keeping_off_and_never_on() {
        for off in ["off", "OFF", "0", "false"] {
            let mut environment = Environment::reading(Vec::new(), move |_| Some(off.into()));
            let mut settings = Agent::builder().settings;
            environment.apply(&mut settings);
            let are_on = (settings.prints_first_stall, settings.keeps_incidents);
            assert_eq!((settings.captures, are_on), (Captures::Off, (false, false)), "{off}");
        }
        let mut environment = Environment::reading(Vec::new(), |_| Some("on".into()));
        let mut settings = Agent::builder().captures(Captures::Off).keep_incidents(false).settings;
        environment.apply(&mut settings);
        assert_eq!((settings.captures, settings.keeps_incidents), (Captures::Off, false));
        let (settings, environment) = with(&[], &[("LOOPSCOPE_CAPTURES", "of")]);
        assert_eq!(settings.captures, Captures::On);
        assert!(environment.finish().1[0].starts_with("LOOPSCOPE_CAPTURES=of is ignored"));
    }
}
