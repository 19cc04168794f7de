//! Lengths of time as people write them in settings and on the command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time: a whole number and a unit, `500ms`, `30s`, `10m`, `1h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(Duration);

/// A text is not a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a length of time is a number and a unit: 500ms, 30s, 10m, 1h or 7d")]
pub struct LifeError;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Life {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Life {
    type Err = LifeError;

    fn from_str(text: &str) -> Result<Self, LifeError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| LifeError)?;
        let (_, milliseconds) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(LifeError)?;
        number.checked_mul(milliseconds).map(|all| Self(Duration::from_millis(all))).ok_or(LifeError)
    }
}

/// In the largest unit that it is a whole number of.
impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let fits = |unit: &&(&str, u64)| milliseconds != 0 && milliseconds.is_multiple_of(u128::from(unit.1));
        match UNITS.iter().rev().find(fits) {
            Some((name, each)) => write!(f, "{}{name}", milliseconds / u128::from(*each)),
            None => f.write_str("0s"),
        }
    }
}

impl<'de> Deserialize<'de> for Life {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Life {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives() {
        for (text, milliseconds) in [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1h", 3_600_000), ("0s", 0)] {
            let life: Life = text.parse().unwrap();
            assert_eq!((life.get(), life.to_string()), (Duration::from_millis(milliseconds), text.to_owned()));
        }
        assert_eq!("86400s".parse::<Life>().unwrap().to_string(), "1d");
        for text in ["", "1", "h", "-1h", "+1h", "1.5h", "1 h", "1h30m", "1H", "99999999999999999999d", "1w"] {
            assert_eq!(text.parse::<Life>(), Err(LifeError), "{text:?}");
        }
    }
}
