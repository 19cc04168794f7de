//! Lengths of time as settings have them: a number and a unit ([`Life`]).

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

use crate::server::authorizers::Life;

/// The longest that is taken: ten years. Longer ones are slips, and no sum of them overflows.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    match format!("{}ms", duration.as_millis()).parse::<Life>() {
        Ok(life) => serializer.collect_str(&life),
        Err(_) => serializer.serialize_str("0s"),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = Life::deserialize(deserializer)?.get();
    if duration > LONGEST { Err(de::Error::custom("a length of time is ten years at most")) } else { Ok(duration) }
}
