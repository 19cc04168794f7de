//! The audit log: every key operation as one line of JSON, in the shape of AWS CloudTrail's records. Never key material.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::keys::{EncryptionContext, KeyError, KeyId};

/// What was done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A data key was made.
    Generate,
    /// A data key was made that nobody has seen.
    GenerateSealed,
    /// A given data key was sealed.
    Seal,
    /// A sealed key was opened.
    Unseal,
    /// A sealed key was sealed under another key or context without being seen.
    Reseal,
    /// An opened key was written out.
    Export,
}

impl Operation {
    /// The name of the operation in CloudTrail.
    fn event(self) -> &'static str {
        match self {
            Self::Generate => "GenerateDataKey",
            Self::GenerateSealed => "GenerateDataKeyWithoutPlaintext",
            Self::Seal => "Encrypt",
            Self::Unseal => "Decrypt",
            Self::Reseal => "ReEncrypt",
            Self::Export => "ExportKey",
        }
    }
}

/// One operation on a key.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What was done.
    pub operation: Operation,
    /// By which provider.
    pub provider: &'a str,
    /// The wrapping key: its ARN, or as it was named when the provider never said.
    pub key: &'a str,
    /// The data key's id, where it has one yet.
    pub key_id: Option<KeyId>,
    /// The encryption context.
    pub context: &'a EncryptionContext,
    /// The context and wrapping key that a resealed key had before.
    pub source: Option<(&'a str, &'a EncryptionContext)>,
    /// The provider's id of the call.
    pub request_id: Option<&'a str>,
    /// How it went: why not, and the provider's code for it where it gave one.
    pub failure: Option<(&'a str, &'a KeyError)>,
}

/// The line, with CloudTrail's names and in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    event_version: &'static str,
    event_time: String,
    event_source: &'a str,
    event_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_region: Option<&'a str>,
    user_agent: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    request_parameters: Parameters<'a>,
    #[serde(rename = "requestID")]
    request_id: Option<&'a str>,
    resources: Vec<Resource<'a>>,
    additional_event_data: More<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parameters<'a> {
    #[serde(rename_all = "camelCase")]
    Plain { key_id: &'a str, encryption_context: &'a EncryptionContext },
    #[serde(rename_all = "camelCase")]
    Reseal {
        source_key_id: &'a str,
        source_encryption_context: &'a EncryptionContext,
        destination_key_id: &'a str,
        destination_encryption_context: &'a EncryptionContext,
    },
}

#[derive(Serialize)]
struct Resource<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct More<'a> {
    operation: Operation,
    outcome: &'static str,
    provider: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_key_id: Option<KeyId>,
}

impl<'a> Line<'a> {
    fn new(entry: &Entry<'a>) -> Self {
        let kms = entry.provider == "aws-kms";
        let arns = [Some(entry.key), entry.source.map(|(key, _)| key)];
        let resources = arns.into_iter().flatten().filter(|arn| arn.starts_with("arn:"));
        Self {
            event_version: "1.11",
            event_time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            event_source: if kms { "kms.amazonaws.com" } else { entry.provider },
            event_name: entry.operation.event(),
            aws_region: if kms { entry.key.split(':').nth(3) } else { None },
            user_agent: concat!("keyrung/", env!("CARGO_PKG_VERSION")),
            error_code: entry.failure.map(|(code, _)| code),
            error_message: entry.failure.map(|(_, error)| error.to_string()),
            request_parameters: match entry.source {
                None => Parameters::Plain { key_id: entry.key, encryption_context: entry.context },
                Some((key, context)) => Parameters::Reseal {
                    source_key_id: key,
                    source_encryption_context: context,
                    destination_key_id: entry.key,
                    destination_encryption_context: entry.context,
                },
            },
            request_id: entry.request_id,
            resources: resources.map(|arn| Resource { arn, kind: "AWS::KMS::Key" }).collect(),
            additional_event_data: More {
                operation: entry.operation,
                outcome: if entry.failure.is_some() { "failure" } else { "success" },
                provider: entry.provider,
                data_key_id: entry.key_id,
            },
        }
    }
}

/// Where the lines go. A clone writes to the same place.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Mutex<dyn Write + Send>>>);

impl Audit {
    /// Appends to a file, which is made with mode 0600 where it is missing. Several processes may append to one: each line is
    /// one write at the file's end.
    ///
    /// # Errors
    /// [`KeyError::Audit`].
    pub fn file(path: &Path) -> Result<Self, KeyError> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file: File = opened.map_err(|e| KeyError::Audit(format!("{}: {e}", path.display())))?;
        Ok(Self::to(file))
    }

    /// Appends to any writer, one write a line.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(writer))))
    }

    /// Records an operation. Its result must not be used when this fails: nothing happens to a key unseen.
    ///
    /// # Errors
    /// [`KeyError::Audit`].
    pub fn record(&self, entry: &Entry<'_>) -> Result<(), KeyError> {
        let Some(writer) = &self.0 else { return Ok(()) };
        let failed = |e: io::Error| KeyError::Audit(e.to_string());
        let mut line = serde_json::to_vec(&Line::new(entry)).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&line).and_then(|()| writer.flush()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/k";

    fn context(content_id: &str) -> EncryptionContext {
        EncryptionContext::of_content(&content_id.parse().unwrap())
    }

    fn entry(context: &EncryptionContext) -> Entry<'_> {
        Entry {
            operation: Operation::Unseal,
            provider: "aws-kms",
            key: ARN,
            key_id: Some("3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f".parse().unwrap()),
            context,
            source: None,
            request_id: Some("r-1"),
            failure: None,
        }
    }

    fn written(entries: &[Entry<'_>]) -> Vec<serde_json::Value> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        for entry in entries {
            Audit::file(&path).unwrap().record(entry).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_a_record_as_cloudtrail_has_it() {
        let (film, other) = (context("film"), context("other"));
        let failure = KeyError::Unsealable { key_id: "K".into() };
        let failed = Entry { failure: Some(("InvalidCiphertextException", &failure)), ..entry(&film) };
        let reseal = Entry {
            operation: Operation::Reseal,
            source: Some((ARN, &other)),
            key: "alias/b",
            request_id: None,
            ..entry(&film)
        };
        let local =
            Entry { operation: Operation::Generate, provider: "local", key: "KEK", key_id: None, ..entry(&film) };
        let lines = written(&[entry(&film), failed, reseal, local]);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0]["eventName"], "Decrypt");
        assert_eq!(lines[0]["eventSource"], "kms.amazonaws.com");
        assert_eq!(lines[0]["awsRegion"], "eu-west-1");
        assert_eq!(lines[0]["requestParameters"]["keyId"], ARN);
        assert_eq!(lines[0]["requestParameters"]["encryptionContext"]["content-id"], "film");
        assert_eq!(lines[0]["requestID"], "r-1");
        assert_eq!(lines[0]["resources"][0]["ARN"], ARN);
        assert_eq!(lines[0]["additionalEventData"]["outcome"], "success");
        assert_eq!(lines[0]["additionalEventData"]["dataKeyId"], "3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f");
        assert!(lines[0].get("errorCode").is_none());
        assert_eq!(lines[0]["eventTime"].as_str().map(str::len), Some("2026-01-31T23:59:59Z".len()));
        assert_eq!(lines[1]["errorCode"], "InvalidCiphertextException");
        assert_eq!(lines[1]["errorMessage"], failure.to_string());
        assert_eq!(lines[1]["additionalEventData"]["outcome"], "failure");
        let parameters = &lines[2]["requestParameters"];
        assert_eq!(parameters["sourceEncryptionContext"]["content-id"], "other");
        assert_eq!(parameters["destinationEncryptionContext"]["content-id"], "film");
        assert_eq!((&parameters["sourceKeyId"], &parameters["destinationKeyId"]), (&ARN.into(), &"alias/b".into()));
        assert_eq!(lines[3]["eventSource"], "local");
        assert_eq!(lines[3]["resources"], serde_json::json!([]));
        assert!(lines[3].get("awsRegion").is_none());
    }

    #[test]
    fn what_cannot_be_recorded_fails() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = Audit::to(full).record(&entry(&context("film"))).unwrap_err();
        assert!(matches!(error, KeyError::Audit(_)), "{error}");
        assert!(matches!(Audit::file(Path::new("/nowhere/audit")), Err(KeyError::Audit(_))));
        Audit::default().record(&entry(&context("film"))).unwrap();
    }
}
