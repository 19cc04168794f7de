//! The exit codes, which scripts rely on.

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// A bug.
    Internal,
    /// Wrong usage, or DEST exists and `--force` was not given.
    Usage,
    /// The input was refused.
    Input,
    /// The key was refused.
    Key,
    /// Storage failed.
    Storage,
    /// `verify` found errors.
    Findings,
    /// Temporary trouble: the same command may work later.
    Temporary,
    /// Batch: some titles failed for good.
    TitlesFailed,
    /// Batch: some titles failed in a way that is worth a retry.
    TitlesToRetry,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

impl Exit {
    /// The code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Key => 4,
            Self::Storage => 5,
            Self::Findings => 6,
            Self::Temporary => 7,
            Self::TitlesFailed => 10,
            Self::TitlesToRetry => 11,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}
