//! Turns the library's errors into what a person reads: one line, a hint, and an exit code.

use std::io;

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
    /// What comes of running it again.
    pub again: Again,
}

/// What comes of running a command again that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The same: something has to be changed first.
    Fails,
    /// It may work: what stood against it may pass by itself.
    MayWork,
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
        let again = if exit == Exit::Temporary { Again::MayWork } else { Again::Fails };
        Self { message: message.into(), hint: None, exit, again }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn with(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    fn again(self, again: Again) -> Self {
        Self { again, ..self }
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
        let again = match &error {
            StorageError::Locked { .. } | StorageError::Changed { .. } | StorageError::Unavailable { .. } => {
                Again::MayWork
            }
            StorageError::NoSpace { .. } => Again::MayWork,
            StorageError::Other { source, .. } => of_io(source),
            _ => Again::Fails,
        };
        Self::new(exit, error.to_string()).with(hint).again(again)
    }
}

/// A disk or a network file system that fails may have recovered; what is missing or not allowed stays so.
fn of_io(error: &io::Error) -> Again {
    let lasting = matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename
    );
    if error.raw_os_error().is_some() && !lasting { Again::MayWork } else { Again::Fails }
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
        Self::new(exit, error.to_string()).with(hint)
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
        Self::new(Exit::Input, error.to_string()).with(hint.map(str::to_owned))
    }
}

impl From<PackageError> for CliError {
    fn from(error: PackageError) -> Self {
        let message = error.to_string();
        match error {
            PackageError::Usage { hint, .. } => Self::usage(message).with(hint),
            PackageError::Claimed { hint, .. } => Self::usage(message).hint(hint),
            PackageError::Damaged { .. } => Self::new(Exit::Storage, message)
                .hint("remove it, and the same command makes it again; --force replaces it, with a new key"),
            PackageError::Input { source, .. } => Self { message, ..source.into() },
            PackageError::Ladder(error) => error.into(),
            PackageError::Read { source, .. } => Self::new(Exit::Input, message).again(of_io(&source)),
            PackageError::Changed { .. } => Self::new(Exit::Input, message).again(Again::MayWork),
            PackageError::Decrypt { .. } | PackageError::Strict { .. } => Self::new(Exit::Input, message),
            PackageError::Key(error) => error.into(),
            PackageError::Storage(error) => error.into(),
            PackageError::Write { source, .. } => Self::new(Exit::Storage, message).again(of_io(&source)),
            PackageError::Interrupted => Self::new(Exit::Interrupted, message),
            PackageError::Internal(_) => {
                Self::new(Exit::Internal, message).hint("this is a bug in keyrung; please report it with the input")
            }
        }
    }
}
