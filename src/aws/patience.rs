//! How long whoever asks AWS for something can wait for it.

use std::time::Duration;

use crate::limits;

/// For whom a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Patience {
    /// A job, which would be lost: it waits out a burst of throttling.
    #[default]
    Job,
    /// A viewer, who is gone in a few seconds. The call must end soon after, or calls that nobody waits for pile up.
    Viewer,
}

impl Patience {
    /// Attempts of a call, where `set` are what a job would make.
    #[must_use]
    pub fn attempts(self, set: u32) -> u32 {
        match self {
            Self::Job => set,
            Self::Viewer => set.min(limits::AWS_VIEWER_ATTEMPTS),
        }
    }

    /// How long one attempt may take, where a job would wait for `set`.
    #[must_use]
    pub fn attempt(self, set: Duration) -> Duration {
        match self {
            Self::Job => set,
            Self::Viewer => set.min(limits::AWS_VIEWER_ATTEMPT_TIMEOUT),
        }
    }

    /// How long a call may take with all its attempts, where a job would wait for `set`.
    #[must_use]
    pub fn call(self, set: Duration) -> Duration {
        match self {
            Self::Job => set,
            Self::Viewer => set.min(limits::AWS_VIEWER_CALL_TIMEOUT),
        }
    }
}
