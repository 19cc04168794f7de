//! Why a package was not made, sorted by what the caller should do about it.

use std::path::PathBuf;

use thiserror::Error;

use crate::keys::KeyError;
use crate::ladder::LadderError;
use crate::storage::StorageError;

/// Why a package was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The inputs, taken together, do not make sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// An input was refused.
    #[error("{input}: {source}")]
    Input {
        /// The input's name.
        input: String,
        /// Why.
        source: LadderError,
    },
    /// The inputs do not make one ladder.
    #[error("{0}")]
    Ladder(#[from] LadderError),
    /// An input cannot be read.
    #[error("{input}: {source}")]
    Read {
        /// The input's name.
        input: String,
        /// Why.
        source: std::io::Error,
    },
    /// An encrypted input is not what it should be.
    #[error("{input}: {source}")]
    Decrypt {
        /// The input's name.
        input: String,
        /// Why.
        source: crate::crypto::file::FileCipherError,
    },
    /// An input changed while it was read.
    #[error("{input} changed while it was read")]
    Changed {
        /// The input's name.
        input: String,
    },
    /// `--strict`, and an input is damaged.
    #[error("{input}: {what}, and --strict was given")]
    Strict {
        /// The input's name.
        input: String,
        /// The first damage and its place.
        what: String,
    },
    /// The key was refused.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// Storage failed.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// A file of the package could not be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content id or DEST is claimed in a way that does not allow this run.
    #[error("{message}")]
    Claimed {
        /// What stands against it.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The package is there, and some of it is missing.
    #[error("the package at {dest} is damaged: {what}")]
    Damaged {
        /// DEST.
        dest: String,
        /// What is wrong first.
        what: String,
    },
    /// The user stopped the run.
    #[error("interrupted; nothing was published")]
    Interrupted,
    /// A bug.
    #[error("internal failure: {0}")]
    Internal(String),
}
