//! What travels between those who submit titles, the server, and the workers. Nothing here may hold a key.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use temporalio_common::ActivityDefinition;

/// The name of every activity's type.
pub const TYPE: &str = "keyrung.package";

/// What every activity's id begins with.
const PREFIX: &str = "keyrung/";

/// The activity: package a title.
#[derive(Debug)]
pub struct Package;

impl ActivityDefinition for Package {
    type Input = Order;
    type Output = Value;

    fn name(&self) -> &str {
        TYPE
    }
}

/// A title and what it is submitted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The title, one line of a jobs file.
    pub title: Map<String, Value>,
    /// Which line.
    pub line: u64,
    /// How often it may fail in ways that may pass. Killed workers do not count.
    pub tries: u32,
}

/// A heartbeat: how far a title is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Bytes of the inputs, where they are known.
    pub total: Option<u64>,
    /// Bytes of the inputs that were looked at.
    pub scanned: u64,
    /// Bytes of segments that were written.
    pub written: u64,
    /// Segments that are complete.
    pub segments: u64,
    /// How often the title itself has failed.
    #[serde(default)]
    pub failures: u32,
}

/// What a failure tells beside its message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The exit code of a command that failed so.
    pub code: u8,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A title's id on the server: a title that is submitted again has the same, which makes submitting idempotent.
pub fn id(batch: &str, content_id: &str) -> String {
    format!("{PREFIX}{batch}/{content_id}")
}

/// The batch and the content id of a title by its id on the server.
pub fn parts(id: &str) -> (&str, &str) {
    let rest = id.strip_prefix(PREFIX).unwrap_or(id);
    rest.split_once('/').unwrap_or(("", rest))
}

/// A query for the titles of a batch, or of all.
pub fn of(batch: Option<&str>) -> String {
    let prefix = batch.map_or_else(|| PREFIX.to_owned(), |batch| format!("{PREFIX}{batch}/"));
    // A batch's name holds nothing that would have to be quoted, but who asks may not have looked at it.
    let quoted = prefix.replace('\\', "\\\\").replace('\'', "\\'");
    format!("ActivityId STARTS_WITH '{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_queries() {
        assert_eq!(id("june", "film-1"), "keyrung/june/film-1");
        assert_eq!(parts("keyrung/june/film-1"), ("june", "film-1"));
        assert_eq!(of(Some("june")), "ActivityId STARTS_WITH 'keyrung/june/'");
        assert_eq!(of(None), "ActivityId STARTS_WITH 'keyrung/'");
        assert_eq!(of(Some("a' OR 'b")), "ActivityId STARTS_WITH 'keyrung/a\\' OR \\'b/'");
    }

    /// What workers of other versions have left must be understood, and what is missing is none.
    #[test]
    fn heartbeats_of_other_versions_are_read() {
        let beat: Beat =
            serde_json::from_str(r#"{"total":null,"scanned":3,"written":2,"segments":1,"more":0}"#).unwrap();
        assert_eq!(beat, Beat { scanned: 3, written: 2, segments: 1, ..Beat::default() });
    }
}
