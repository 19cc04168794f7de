//! Turns the library's errors into what a person reads: one line, a hint, and an exit code.

use crate::keys::KeyError;
use crate::ladder::LadderError;
use crate::package::PackageError;
use crate::storage::StorageError;

use super::exit::Exit;

/// Why a command failed.
#[derive(Debug)]
pub struct CliError {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How the command ends.
    pub exit: Exit,
}

impl CliError {
    /// Wrong usage.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure of this kind.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<StorageError> for CliError {
    fn from(error: StorageError) -> Self {
        let exit = match error {
            StorageError::Exists { .. } | StorageError::Foreign { .. } | StorageError::Unusable { .. } => Exit::Usage,
            StorageError::Locked { .. } | StorageError::Changed { .. } | StorageError::Unavailable { .. } => {
                Exit::Temporary
            }
            _ => Exit::Storage,
        };
        let hint = match &error {
            StorageError::Exists { .. } => {
                Some("--force replaces a package; the old one stays whole until the new one is".to_owned())
            }
            other => other.hint(),
        };
        Self { message: error.to_string(), hint, exit }
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        let hint = match &error {
            KeyError::NotFound { what: "key", .. } => {
                Some("keyrung key list shows what a key store holds; --key-store names another".to_owned())
            }
            other => other.hint(),
        };
        let exit = match error {
            KeyError::Storage(StorageError::Insecure { .. }) => Exit::Key,
            KeyError::Storage(error) => return error.into(),
            KeyError::Unavailable { .. } => Exit::Temporary,
            KeyError::Invalid { .. } => Exit::Usage,
            KeyError::Audit(_) => Exit::Storage,
            _ => Exit::Key,
        };
        Self { message: error.to_string(), hint, exit }
    }
}

impl From<LadderError> for CliError {
    fn from(error: LadderError) -> Self {
        let hint = match &error {
            LadderError::NotAlignable { .. } => Some(
                "encode all renditions with key frames at the same times (x264: -g N -keyint_min N -sc_threshold 0), \
                 or cut each on its own with --align off",
            ),
            LadderError::NothingPlayable { .. } => Some("re-encode the video to H.264 and the audio to AAC"),
            LadderError::NoSuchAudio { .. } => Some("keyrung inspect INPUT lists the streams"),
            LadderError::NoSuchProgram { .. } => Some("keyrung inspect INPUT lists the programs"),
            LadderError::NoKeyFrame { .. } => Some("a rendition must hold an IDR picture with its SPS and PPS"),
            _ => None,
        };
        Self { message: error.to_string(), hint: hint.map(str::to_owned), exit: Exit::Input }
    }
}

impl From<PackageError> for CliError {
    fn from(error: PackageError) -> Self {
        let message = error.to_string();
        match error {
            PackageError::Usage { hint, .. } => Self { message, hint, exit: Exit::Usage },
            PackageError::Claimed { hint, .. } => Self { message, hint: Some(hint), exit: Exit::Usage },
            PackageError::Input { source, .. } => Self { message, ..source.into() },
            PackageError::Ladder(error) => error.into(),
            PackageError::Read { .. }
            | PackageError::Decrypt { .. }
            | PackageError::Changed { .. }
            | PackageError::Strict { .. } => Self::new(Exit::Input, message),
            PackageError::Key(error) => error.into(),
            PackageError::Storage(error) => error.into(),
            PackageError::Write { .. } => Self::new(Exit::Storage, message),
            PackageError::Interrupted => Self::new(Exit::Interrupted, message),
            PackageError::Internal(_) => {
                Self::new(Exit::Internal, message).hint("this is a bug in keyrung; please report it with the input")
            }
        }
    }
}
