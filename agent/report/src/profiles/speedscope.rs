//! The profile as speedscope's JSON.
//!
//! # Source
//! `file-format-schema.json` of github.com/jlfwong/speedscope.

use crate::profiles::FlameError;
use crate::profiles::profile::{Profile, Stack};
use loopscope_probe::raw::printable::printable_json;
use serde_json::{Value, json};

impl Profile {
    /// Writes the profile for speedscope: sums of own time, or one sample after the other where their moments are
    /// known.
    ///
    /// # Errors
    /// [`FlameError::Empty`] where nothing is in it.
    pub fn speedscope(&self, title: &str) -> Result<Vec<u8>, FlameError> {
        if self.is_empty() {
            return Err(FlameError::Empty);
        }
        let frames: Vec<Value> = self.frames.all().iter().map(frame).collect();
        let samples: Vec<(&Stack, u64)> = match self.moments() {
            [] => self.sorted().into_iter().map(|stack| (stack, stack.ns)).collect(),
            moments => moments.iter().map(|moment| (self.stack(moment.stack), moment.ns)).collect(),
        };
        let end = samples.iter().fold(0u64, |sum, (_, ns)| sum.saturating_add(*ns));
        let (stacks, weights): (Vec<&[u32]>, Vec<u64>) =
            samples.into_iter().map(|(stack, ns)| (&*stack.frames, ns)).unzip();
        let name = match self.notes.is_empty() {
            true => title.to_owned(),
            false => format!("{title} ({})", self.notes.join(", ")),
        };
        let file = json!({
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": name,
            "exporter": concat!("loopscope@", env!("CARGO_PKG_VERSION")),
            "activeProfileIndex": 0,
            "shared": { "frames": frames },
            "profiles": [{
                "type": "sampled",
                "name": name,
                "unit": "nanoseconds",
                "startValue": 0,
                "endValue": end,
                "samples": stacks,
                "weights": weights,
            }],
        });
        Ok(printable_json(file.to_string().into_bytes()))
    }
}

fn frame(frame: &crate::profiles::frame::ProfileFrame) -> Value {
    let mut value = json!({ "name": &*frame.text });
    if let Some(file) = &frame.file {
        value["file"] = json!(&**file);
        if frame.line > 0 {
            value["line"] = json!(frame.line);
            if frame.column > 0 {
                value["col"] = json!(frame.column);
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use crate::profiles::FlameError;
    use crate::profiles::frame::ProfileFrame;
    use crate::profiles::kind::Of;
    use crate::profiles::profile::{Profile, ProfileSample};
    use serde_json::Value;

    fn read(profile: &Profile) -> Value {
        serde_json::from_slice(&profile.speedscope("a title").unwrap()).unwrap()
    }

    /// What the schema demands: the keys of each object, their types, and indices that exist.
    fn check(file: &Value) -> u64 {
        assert_eq!(file["$schema"], "https://www.speedscope.app/file-format-schema.json");
        let frames = file["shared"]["frames"].as_array().unwrap();
        for frame in frames {
            assert!(frame["name"].is_string() && frame.get("file").is_none_or(Value::is_string), "{frame}");
            assert!(frame.get("line").is_none_or(|line| line.as_u64() > Some(0)), "{frame}");
        }
        let profile = &file["profiles"][0];
        assert_eq!((&profile["type"], &profile["unit"]), (&"sampled".into(), &"nanoseconds".into()));
        assert!(profile["name"].is_string() && file["exporter"].is_string());
        let (samples, weights) =
            (profile["samples"].as_array().unwrap(), profile["weights"].as_array().unwrap());
        assert_eq!(samples.len(), weights.len());
        for number in samples.iter().flat_map(|sample| sample.as_array().unwrap()) {
            assert!((number.as_u64().unwrap() as usize) < frames.len());
        }
        let sum = weights.iter().map(|weight| weight.as_u64().unwrap()).sum();
        assert_eq!((profile["startValue"].as_u64(), profile["endValue"].as_u64()), (Some(0), Some(sum)));
        sum
    }

    #[test]
    fn sums_and_moments_have_the_shape_of_the_schema() {
        let mut profile = Profile::new(Of::Cpu);
        let read_at = ProfileFrame { column: 5, ..ProfileFrame::placed("read \"x\"", "a.rs", 7) };
        let stack = [ProfileFrame::plain("main"), ProfileFrame::plain("poll"), read_at];
        let number = profile.add(stack.clone(), 9_000, 2);
        profile.add([ProfileFrame::plain("main"), ProfileFrame::plain("poll")], 1_000, 1);
        assert_eq!(check(&read(&profile)), 10_000);
        for at_ns in [5, 6] {
            profile.note_moment(ProfileSample { at_ns, stack: number, ns: 4_500 });
        }
        profile.notes.push("1 sample lost".to_owned());
        let file = read(&profile);
        assert_eq!(check(&file), 9_000);
        assert_eq!(file["profiles"][0]["samples"][1], serde_json::json!([0, 1, 2]));
        assert_eq!(file["name"], "a title (1 sample lost)");
        assert_eq!(
            file["shared"]["frames"][2],
            serde_json::json!({"name": "read \"x\"", "file": "a.rs", "line": 7, "col": 5})
        );
        assert!(matches!(Profile::new(Of::Cpu).speedscope("x"), Err(FlameError::Empty)));
    }
}
