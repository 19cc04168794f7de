//! What an object store says, sorted by what the reader can do about it.

use std::error::Error as _;
use std::path::Path;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::aws::AwsError;
use crate::storage::StorageError;

/// Sorts an error of a store. `path` names the object.
pub(super) fn sort(operation: &'static str, path: &Path, error: &Error) -> StorageError {
    let path = path.to_path_buf();
    let text = chain(error);
    let code = tag(&text, "Code");
    let reason = match (code, tag(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => last(error),
    };
    let refused = |hint: Option<&str>| StorageError::Refused {
        operation,
        path: path.clone(),
        reason: one_line(&reason),
        hint: hint.map(str::to_owned),
    };
    let unauthenticated = |hint: &'static str| StorageError::Unauthenticated {
        operation,
        path: path.clone(),
        reason: one_line(&reason),
        hint,
    };
    // Before what is denied: S3 says 403 of most of these too.
    if let Some(hint) = code.and_then(of_credentials) {
        return unauthenticated(hint);
    }
    match error {
        Error::NotFound { .. } if code == Some("NoSuchBucket") => refused(Some("create the bucket, or mend its name")),
        Error::NotFound { .. } => StorageError::NotFound { operation, path },
        Error::AlreadyExists { .. } => StorageError::Exists { operation, path },
        Error::Precondition { .. } => StorageError::Changed { path },
        Error::PermissionDenied { .. } => refused(Some(
            "keyrung aws policy prints the permissions that are needed; a bucket made since April 2026 also refuses SSE-C",
        )),
        Error::Unauthenticated { .. } => {
            unauthenticated("aws configure, aws sso login, or AWS_PROFILE gives credentials")
        }
        _ if text.contains("Received redirect") || text.contains("status code: 301") => {
            refused(Some("the bucket is in another region: set AWS_REGION to it"))
        }
        _ if is_temporary(&text) || http(error).is_some() => {
            StorageError::Unavailable { operation, path, reason: one_line(&reason) }
        }
        _ => refused(None),
    }
}

/// What to do about a code that tells of whoever asks, and not of what is asked for.
fn of_credentials(code: &str) -> Option<&'static str> {
    match code {
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => Some("renew the credentials: aws sso login"),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
            Some("these are not the credentials of any account there: aws configure, or AWS_PROFILE, gives others")
        }
        "RequestTimeTooSkewed" => Some("set the clock of this machine: the store takes 15 minutes of difference"),
        _ => None,
    }
}

/// What went wrong before the store was asked.
pub(super) fn before(operation: &'static str, path: &Path, error: &AwsError) -> StorageError {
    StorageError::Refused {
        operation,
        path: path.to_path_buf(),
        reason: error.to_string(),
        hint: error.hint().map(str::to_owned),
    }
}

/// Whether a put may have been done or not, in a way in which the client does not try it again by itself.
pub(super) fn is_unclear(error: &Error) -> bool {
    use HttpErrorKind::{Decode, Interrupted, Timeout, Unknown};
    matches!(http(error), Some(Timeout | Interrupted | Unknown | Decode))
}

/// Whether an answer may have broken off in a way after which the client does not ask again by itself: a refusal's body,
/// for one, is a request's error that it gives back.
pub(super) fn is_broken_off(error: &Error) -> bool {
    use HttpErrorKind::{Decode, Interrupted, Request, Unknown};
    matches!(http(error), Some(Unknown | Decode | Request | Interrupted))
}

/// Whether the store asked for patience or broke down, to the end of all retries.
fn is_temporary(text: &str) -> bool {
    ["status code: 5", "status code: 429", "status code: 408", "SlowDown", "InternalError", "RequestTimeout"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The transport's error, where it is one.
fn http(error: &Error) -> Option<HttpErrorKind> {
    let mut at = error.source();
    while let Some(error) = at {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        at = error.source();
    }
    None
}

/// The text of an error and all that are behind it.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        text.push('\n');
        text.push_str(&error.to_string());
        at = error.source();
    }
    text
}

/// The text of the first cause.
fn last(error: &Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        text = error.to_string();
        at = error.source();
    }
    text
}

/// The text of an element in the answer that an error quotes.
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    (!value.is_empty()).then_some(value)
}

/// A stranger's text on one line, and not a long one.
fn one_line(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
