//! Which titles are this machine's, where a catalogue is shared out without a server: a stable hash of the content id
//! decides, and the array variables of the schedulers tell which part is wanted.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// One of several parts of a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    index: u32,
    /// Of how many.
    count: u32,
}

/// Why there is no such part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It is no part of so many.
    #[error("{0} is no shard: I/N, with I from 1 to N")]
    NoShard(String),
    /// A scheduler tells which part, and nobody tells of how many.
    #[error("{0} tells which shard this is, and nothing tells of how many")]
    NoCount(&'static str),
    /// A scheduler's variable is not what it should be.
    #[error("{variable} is {value:?}, which is no number from {least} on")]
    BadVariable {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// The least that it may be.
        least: u32,
    },
    /// A scheduler's task lies beyond the number of parts.
    #[error("{variable} is {value}, which is beyond shard {count} of {count}")]
    Beyond {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: u32,
        /// How many parts there are.
        count: u32,
    },
    /// The tasks of a Slurm array are not the parts in their order: some of them are missing.
    #[error("the array has {tasks} tasks from {first} to {last}, which are not all of its shards")]
    Holes {
        /// How many tasks it has.
        tasks: u32,
        /// The first.
        first: u32,
        /// The last.
        last: u32,
    },
    /// The user says how many parts there are, and a scheduler says otherwise.
    #[error("there are to be {wanted} shards, and {variable} is {count}")]
    Disagreement {
        /// How many the user wants.
        wanted: u32,
        /// The variable.
        variable: &'static str,
        /// What it holds.
        count: u32,
    },
    /// The user says how many parts there are, and nothing tells which this is.
    #[error("there are to be {0} shards, and nothing tells which this is")]
    NoIndex(u32),
}

impl Shard {
    /// Part `index`, from 1, of `count`.
    #[must_use]
    pub fn new(index: u32, count: u32) -> Option<Self> {
        (1..=count).contains(&index).then_some(Self { index, count })
    }

    /// Whether the title of this content id is in it. The same id is in the same part of as many for ever: the first 8
    /// bytes of its SHA-256, as a big-endian number, modulo the number of parts.
    #[must_use]
    pub fn holds(self, content_id: &str) -> bool {
        let hash = Sha256::digest(content_id.as_bytes());
        let number = hash.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        number % u64::from(self.count) == u64::from(self.index - 1)
    }

    /// The part that the environment tells, as a task of an array of AWS Batch, Kubernetes or Slurm, or a job of GNU
    /// parallel. `count` is how many parts the user says there are.
    ///
    /// GNU parallel sets its variable for every job, also where each has a catalogue of its own: it counts only where the
    /// user says how many parts there are.
    ///
    /// # Errors
    /// When a scheduler tells which part and nothing tells of how many, or its variables make no sense.
    pub fn detect(get: impl Fn(&str) -> Option<String>, count: Option<u32>) -> Result<Option<Self>, ShardError> {
        let number = |variable: &'static str, least: u32| match get(variable) {
            None => Ok(None),
            Some(value) => match value.parse::<u32>() {
                Ok(number) if number >= least => Ok(Some(number)),
                _ => Err(ShardError::BadVariable { variable, value, least }),
            },
        };
        // `first` is the least that the variable can be; tasks are `step` apart.
        let shard = |variable: &'static str, value: u32, (first, step): (u32, u32), count: Option<u32>| {
            let count = count.ok_or(ShardError::NoCount(variable))?;
            let index = value.saturating_sub(first) / step + 1;
            Self::new(index, count).map(Some).ok_or(ShardError::Beyond { variable, value, count })
        };
        let agreed = |variable: &'static str, told: Option<u32>| match (count, told) {
            (Some(wanted), Some(told)) if wanted != told => {
                Err(ShardError::Disagreement { wanted, variable, count: told })
            }
            (wanted, told) => Ok(wanted.or(told)),
        };
        if let Some(index) = number("AWS_BATCH_JOB_ARRAY_INDEX", 0)? {
            let size = "AWS_BATCH_JOB_ARRAY_SIZE";
            let count = agreed(size, number(size, 1)?)?;
            return shard("AWS_BATCH_JOB_ARRAY_INDEX", index, (0, 1), count);
        }
        if let Some(index) = number("JOB_COMPLETION_INDEX", 0)? {
            return shard("JOB_COMPLETION_INDEX", index, (0, 1), count);
        }
        if let Some(task) = number("SLURM_ARRAY_TASK_ID", 0)? {
            let first = number("SLURM_ARRAY_TASK_MIN", 0)?.unwrap_or(0);
            let step = number("SLURM_ARRAY_TASK_STEP", 1)?.unwrap_or(1);
            let tasks = number("SLURM_ARRAY_TASK_COUNT", 1)?;
            if let (Some(tasks), Some(last)) = (tasks, number("SLURM_ARRAY_TASK_MAX", 0)?)
                && last.saturating_sub(first) / step + 1 != tasks
            {
                return Err(ShardError::Holes { tasks, first, last });
            }
            return shard("SLURM_ARRAY_TASK_ID", task, (first, step), agreed("SLURM_ARRAY_TASK_COUNT", tasks)?);
        }
        match (number("PARALLEL_SEQ", 1)?, count) {
            (Some(job), Some(_)) => shard("PARALLEL_SEQ", job, (1, 1), count),
            (None, Some(count)) => Err(ShardError::NoIndex(count)),
            (_, None) => Ok(None),
        }
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let read = || {
            let (index, count) = text.split_once('/')?;
            Self::new(index.parse().ok()?, count.parse().ok()?)
        };
        read().ok_or_else(|| ShardError::NoShard(text.to_owned()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn detect(variables: &[(&str, &str)], count: Option<u32>) -> Result<Option<String>, String> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let found = Shard::detect(|name| variables.get(name).map(|value| (*value).to_owned()), count);
        found.map(|shard| shard.map(|shard| shard.to_string())).map_err(|error| error.to_string())
    }

    #[test]
    fn each_scheduler_is_understood() {
        let is = |variables: &[(&str, &str)], count, wanted: &str| {
            assert_eq!(detect(variables, count), Ok(Some(wanted.to_owned())), "{variables:?}");
        };
        is(&[("AWS_BATCH_JOB_ARRAY_INDEX", "0"), ("AWS_BATCH_JOB_ARRAY_SIZE", "9")], None, "1/9");
        is(&[("AWS_BATCH_JOB_ARRAY_INDEX", "3")], Some(4), "4/4");
        is(&[("JOB_COMPLETION_INDEX", "7")], Some(10), "8/10");
        // sbatch --array=10-18:4
        let slurm = |task| {
            let rest =
                [("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_STEP", "4"), ("SLURM_ARRAY_TASK_COUNT", "3")];
            [&[("SLURM_ARRAY_TASK_ID", task)], &rest[..]].concat()
        };
        is(&slurm("10"), None, "1/3");
        is(&slurm("18"), None, "3/3");
        is(&[("PARALLEL_SEQ", "2")], Some(2), "2/2");
        assert_eq!(detect(&[("PARALLEL_SEQ", "2")], None), Ok(None));
        let wrong = [
            (
                detect(&[("JOB_COMPLETION_INDEX", "7")], None),
                "JOB_COMPLETION_INDEX tells which shard this is, and nothing tells of how many",
            ),
            (detect(&[], Some(3)), "there are to be 3 shards, and nothing tells which this is"),
            (
                detect(&[("JOB_COMPLETION_INDEX", "7")], Some(7)),
                "JOB_COMPLETION_INDEX is 7, which is beyond shard 7 of 7",
            ),
            (detect(&[("PARALLEL_SEQ", "5")], Some(4)), "PARALLEL_SEQ is 5, which is beyond shard 4 of 4"),
            (detect(&slurm("10"), Some(4)), "there are to be 4 shards, and SLURM_ARRAY_TASK_COUNT is 3"),
            // sbatch --array=2,4
            (
                detect(
                    &[
                        ("SLURM_ARRAY_TASK_ID", "4"),
                        ("SLURM_ARRAY_TASK_MIN", "2"),
                        ("SLURM_ARRAY_TASK_MAX", "4"),
                        ("SLURM_ARRAY_TASK_COUNT", "2"),
                    ],
                    None,
                ),
                "the array has 2 tasks from 2 to 4, which are not all of its shards",
            ),
            (detect(&[("PARALLEL_SEQ", "0")], Some(7)), "PARALLEL_SEQ is \"0\", which is no number from 1 on"),
            (
                detect(&[("SLURM_ARRAY_TASK_ID", "x")], None),
                "SLURM_ARRAY_TASK_ID is \"x\", which is no number from 0 on",
            ),
        ];
        for (found, wanted) in wrong {
            assert_eq!(found, Err(wanted.to_owned()));
        }
    }

    #[test]
    fn shards_are_named_from_one() {
        for good in ["1/1", "3/8", "8/8"] {
            assert_eq!(good.parse::<Shard>().unwrap().to_string(), good);
        }
        for bad in ["0/4", "5/4", "1", "1/", "/2", "-1/2", "1/0", "a/b", "1/2/3"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    /// Other versions must not share a catalogue out in another way.
    #[test]
    fn a_title_stays_in_its_shard() {
        let of = |id: &str| (1..=7).find(|index| Shard::new(*index, 7).is_some_and(|shard| shard.holds(id)));
        // printf film-1 | sha256sum: its first 8 bytes, modulo 7
        assert_eq!(["film-1", "film-2", "film-3", "b"].map(of), [6, 5, 1, 1].map(Some));
    }

    proptest! {
        #[test]
        fn every_title_is_in_one_shard(id: String, count in 1..200u32) {
            let held = (1..=count).filter(|index| Shard::new(*index, count).unwrap().holds(&id)).count();
            prop_assert_eq!(held, 1);
        }
    }
}
