//! Identities in JSON: as their texts.

use serde::{Deserialize, Deserializer, Serializer};
use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

/// Writes a value as its text.
pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads a value from its text; what is no such text is the default, as a field that is missing.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr + Default,
    D: Deserializer<'de>,
{
    let text = Cow::<str>::deserialize(deserializer)?;
    Ok(text.parse().unwrap_or_default())
}
