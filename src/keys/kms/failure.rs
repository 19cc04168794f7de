//! What KMS's errors mean here, and which are worth another attempt (spec KER-01 to KER-10).

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::config::interceptors::InterceptorContext;
use aws_sdk_kms::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::operation::encrypt::EncryptError;
use aws_sdk_kms::operation::generate_data_key::GenerateDataKeyError;
use aws_sdk_kms::operation::generate_data_key_without_plaintext::GenerateDataKeyWithoutPlaintextError;
use aws_sdk_kms::operation::re_encrypt::ReEncryptError;

use crate::keys::{KeyError, Refusal};

/// The provider's name, as it stands in sealed keys.
pub(super) const PROVIDER: &str = "aws-kms";

/// Codes of which KMS says "you can retry the request", whatever their HTTP status (KER-01, KER-02, KER-10).
const RETRY: [&str; 6] = [
    "ThrottlingException",
    "Throttling",
    "KMSInternalException",
    "DependencyTimeoutException",
    "KeyUnavailableException",
    "InternalFailure",
];

/// Codes that stay however often one asks, whatever their HTTP status (KER-03 to KER-09). The SDK would take the last for throttling.
const FINAL: [&str; 10] = [
    "DisabledException",
    "KMSInvalidStateException",
    "NotFoundException",
    "InvalidCiphertextException",
    "IncorrectKeyException",
    "InvalidKeyUsageException",
    "InvalidGrantTokenException",
    "UnsupportedOperationException",
    "AccessDeniedException",
    "LimitExceededException",
];

/// What is known of a call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// KMS's code, or what stands for it where KMS was not reached.
    pub code: String,
    /// KMS's id of the call.
    pub request_id: Option<String>,
    /// What it means.
    pub error: Box<KeyError>,
}

/// Of what a call was about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The wrapping key as it was named.
    pub key: &'a str,
    /// The region that was asked.
    pub region: &'a str,
    /// The data key, in errors about it.
    pub data_key: &'a str,
}

/// What the failure of a call means.
pub(super) fn failure<E>(error: &SdkError<E>, subject: Subject<'_>) -> Failure
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    SdkError<E>: RequestId,
{
    let request_id = error.request_id().map(str::to_owned);
    let unavailable = |code: &str, reason: String| Failure {
        code: code.to_owned(),
        request_id: request_id.clone(),
        error: Box::new(KeyError::Unavailable { provider: PROVIDER, reason }),
    };
    match error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or("UnknownError");
            let words = line(answer.err().message().unwrap_or("no reason was given"));
            let server = answer.raw().status().is_server_error();
            Failure { code: line(code), error: Box::new(meaning(code, words, server, subject)), request_id }
        }
        SdkError::TimeoutError(_) => unavailable("TimeoutError", format!("no answer in time from {}", subject.region)),
        SdkError::ResponseError(_) => unavailable("ResponseError", "its answer was cut short or garbled".to_owned()),
        SdkError::DispatchFailure(failed) if failed.is_timeout() => {
            unavailable("TimeoutError", format!("no answer in time from {}", subject.region))
        }
        other => match credentials(other) {
            Some(reason) => Failure {
                code: "CredentialsError".to_owned(),
                error: Box::new(refused(subject, Refusal::Credentials(reason))),
                request_id,
            },
            None => unavailable("DispatchFailure", causes(other)),
        },
    }
}

/// What an answer of KMS means.
fn meaning(code: &str, words: String, server: bool, subject: Subject<'_>) -> KeyError {
    let refusal = match code {
        "DisabledException" => Refusal::Disabled,
        "KMSInvalidStateException" if words.contains("pending deletion") || words.contains("PendingDeletion") => {
            Refusal::PendingDeletion
        }
        "KMSInvalidStateException" => Refusal::State(words),
        "NotFoundException" => Refusal::Missing { region: subject.region.to_owned() },
        "IncorrectKeyException" => Refusal::WrongKey,
        "InvalidKeyUsageException" | "UnsupportedOperationException" => Refusal::NotSymmetric,
        "InvalidGrantTokenException" => Refusal::GrantToken,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Refusal::Credentials(words),
        "InvalidCiphertextException" => return KeyError::Unsealable { key_id: subject.data_key.to_owned() },
        "AccessDeniedException" => {
            return KeyError::Denied { provider: PROVIDER, key: subject.key.to_owned(), reason: words };
        }
        _ if RETRY.contains(&code) || (server && !FINAL.contains(&code)) => {
            return KeyError::Unavailable { provider: PROVIDER, reason: format!("{}: {words}", line(code)) };
        }
        _ => Refusal::Other(format!("{}: {words}", line(code))),
    };
    refused(subject, refusal)
}

/// A refusal to use the subject's wrapping key.
pub(super) fn refused(subject: Subject<'_>, refusal: Refusal) -> KeyError {
    KeyError::Refused { provider: PROVIDER, key: subject.key.to_owned(), refusal }
}

/// Why there are no credentials, when that is what failed.
fn credentials(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<CredentialsError>() {
            // The causes name profile and provider; none of them quotes a secret.
            return Some(causes(found));
        }
        at = error.source();
    }
    None
}

/// An error and what caused it, on one line.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        at = cause.source();
    }
    line(&text)
}

/// A text of KMS's on one line, and not a long one.
fn line(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Tells the SDK which of KMS's errors to try again: by code, not by HTTP status alone.
#[derive(Debug)]
pub(super) struct KmsRetry;

impl ClassifyRetry for KmsRetry {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(failed)) = context.output_or_error() else { return RetryAction::NoActionIndicated };
        let Some(error) = failed.as_operation_error() else { return RetryAction::NoActionIndicated };
        let code = None
            .or_else(|| error.downcast_ref::<GenerateDataKeyError>().map(ProvideErrorMetadata::code))
            .or_else(|| error.downcast_ref::<DecryptError>().map(ProvideErrorMetadata::code))
            .or_else(|| error.downcast_ref::<EncryptError>().map(ProvideErrorMetadata::code))
            .or_else(|| error.downcast_ref::<ReEncryptError>().map(ProvideErrorMetadata::code))
            .or_else(|| error.downcast_ref::<GenerateDataKeyWithoutPlaintextError>().map(ProvideErrorMetadata::code))
            .flatten();
        match code {
            Some(code) if FINAL.contains(&code) => RetryAction::RetryForbidden,
            Some("ThrottlingException" | "Throttling") => RetryAction::throttling_error(),
            Some(code) if RETRY.contains(&code) => RetryAction::server_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "KMS error codes"
    }
}
