//! The documents in which Elastic Transcoder and MediaConvert take the protection of a whole file: mode, IV and sealed key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::crypto::file::{FileIv, FileIvError, FileMode, FileModeError, FileScheme, GcmIv};
use crate::keys::wrapped::{KeyMd5, KeyMd5Error, WrappedKey, WrappedKeyError};
use crate::keys::{ContextPreset, KeyError};

/// Which service a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Service {
    /// AWS Elemental MediaConvert: `DecryptionSettings` of an input (spec MCV-01).
    #[default]
    MediaConvert,
    /// Amazon Elastic Transcoder: `Encryption` of an input or output (spec ETR-12).
    ElasticTranscoder,
}

impl Service {
    /// The encryption context that the service gives with every key (spec KMS-009, KMS-010).
    #[must_use]
    pub fn context(self) -> ContextPreset {
        match self {
            Self::MediaConvert => ContextPreset::MediaConvert,
            Self::ElasticTranscoder => ContextPreset::ElasticTranscoder,
        }
    }

    /// How long a random IV for GCM is to be.
    #[must_use]
    pub fn gcm_iv(self) -> GcmIv {
        match self {
            Self::MediaConvert => GcmIv::Short,
            Self::ElasticTranscoder => GcmIv::Long,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MediaConvert => "mediaconvert",
            Self::ElasticTranscoder => "elastic-transcoder",
        })
    }
}

impl FromStr for Service {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "mediaconvert" => Ok(Self::MediaConvert),
            "elastic-transcoder" => Ok(Self::ElasticTranscoder),
            _ => Err(KeyError::Invalid { wanted: "mediaconvert or elastic-transcoder", given: text.into() }),
        }
    }
}

/// How a whole file is protected, but for who can open its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProtection {
    /// Mode and IV.
    pub scheme: FileScheme,
    /// The sealed key.
    pub key: WrappedKey,
    /// The checksum that came with it.
    pub md5: Option<KeyMd5>,
    /// The AWS region of the wrapping key, where it was told (spec MCV-04).
    pub region: Option<String>,
    /// The service whose encryption context the key has.
    pub service: Service,
}

/// Why a document was refused. No message holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON, or not one of these documents.
    #[error("that is neither MediaConvert's DecryptionSettings nor Elastic Transcoder's Encryption: {0}")]
    Unknown(String),
    /// It leaves decryption to Amazon S3 (spec ETR-14).
    #[error("its mode is {0}: Amazon S3 decrypts such objects itself, and nobody else can")]
    ServerSide(String),
    /// It has another mode.
    #[error(transparent)]
    Mode(#[from] FileModeError),
    /// Its IV is not one.
    #[error("its InitializationVector: {0}")]
    Iv(IvTextError),
    /// Its sealed key is not one.
    #[error("its key: {0}")]
    Key(WrappedKeyError),
    /// Its checksum is not one.
    #[error("its KeyMd5: {0}")]
    Md5(KeyMd5Error),
    /// Elastic Transcoder takes IVs of 16 bytes only.
    #[error("Elastic Transcoder takes an IV of 16 bytes, and this has 12")]
    ShortIv,
}

/// Why a text is no IV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IvTextError {
    /// It is neither base64 nor hexadecimal.
    #[error("an IV is written in base64 or as 32 or 24 hex digits")]
    Text,
    /// It is the base64 of hexadecimal digits (spec MCV-03).
    #[error("that is base64 of hex digits; the services want base64 of the bytes themselves")]
    HexInBase64,
    /// It has a length that no mode has.
    #[error(transparent)]
    Iv(#[from] FileIvError),
}

/// Reads an IV: base64, as the services take it, or 32 or 24 hexadecimal digits.
///
/// # Errors
/// [`IvTextError`].
pub fn parse_iv(text: &str) -> Result<FileIv, IvTextError> {
    let text = text.trim();
    if matches!(text.len(), 24 | 32)
        && let Ok(bytes) = hex::decode(text)
    {
        return Ok(FileIv::from_bytes(&bytes)?);
    }
    let bytes = STANDARD.decode(text).map_err(|_| IvTextError::Text)?;
    if matches!(bytes.len(), 24 | 32) && bytes.iter().all(u8::is_ascii_hexdigit) {
        return Err(IvTextError::HexInBase64);
    }
    Ok(FileIv::from_bytes(&bytes)?)
}

/// Writes an IV as the services take it.
#[must_use]
pub fn iv_text(iv: &FileIv) -> String {
    STANDARD.encode(iv.bytes())
}

/// MediaConvert's `DecryptionSettings`, as jobs in the SDKs, the CLI and the console have it; the REST interface begins its names
/// with a small letter.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DecryptionSettings {
    #[serde(alias = "decryptionMode")]
    decryption_mode: String,
    #[serde(alias = "encryptedDecryptionKey")]
    encrypted_decryption_key: String,
    #[serde(alias = "initializationVector")]
    initialization_vector: String,
    #[serde(alias = "kmsKeyRegion", default, skip_serializing_if = "Option::is_none")]
    kms_key_region: Option<String>,
}

/// Elastic Transcoder's `Encryption`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Encryption {
    mode: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    key_md5: String,
    #[serde(default)]
    initialization_vector: String,
}

/// How deep a document may lie in what it comes with: an input, or our own result.
const DEPTH: usize = 3;

impl FileProtection {
    /// Reads either service's document, alone or in the object that has it as `DecryptionSettings`, `Encryption` or `document`.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn from_json(json: &[u8]) -> Result<Self, DocumentError> {
        // Not the parser's words: they could quote a key.
        let unknown = |e: serde_json::Error| {
            DocumentError::Unknown(format!("not JSON (line {}, column {})", e.line(), e.column()))
        };
        Self::find(serde_json::from_slice(json).map_err(unknown)?, DEPTH)
    }

    fn find(value: Value, depth: usize) -> Result<Self, DocumentError> {
        let Value::Object(mut fields) = value else {
            return Err(DocumentError::Unknown("not an object".into()));
        };
        let fits = |_| DocumentError::Unknown("its fields are not those, or not all of them are strings".into());
        if fields.contains_key("DecryptionMode") || fields.contains_key("decryptionMode") {
            return Self::from_mediaconvert(serde_json::from_value(fields.into()).map_err(fits)?);
        }
        if fields.contains_key("Mode") {
            return Self::from_elastic_transcoder(serde_json::from_value(fields.into()).map_err(fits)?);
        }
        for name in ["DecryptionSettings", "decryptionSettings", "Encryption", "document"] {
            match fields.remove(name) {
                Some(inner) if depth > 0 => return Self::find(inner, depth - 1),
                _ => {}
            }
        }
        Err(DocumentError::Unknown("it has neither DecryptionMode nor Mode".into()))
    }

    fn from_mediaconvert(settings: DecryptionSettings) -> Result<Self, DocumentError> {
        let scheme = scheme(&settings.decryption_mode, &settings.initialization_vector)?;
        let key = settings.encrypted_decryption_key.parse().map_err(DocumentError::Key)?;
        let region = settings.kms_key_region.filter(|region| !region.is_empty());
        Ok(Self { scheme, key, md5: None, region, service: Service::MediaConvert })
    }

    fn from_elastic_transcoder(encryption: Encryption) -> Result<Self, DocumentError> {
        if matches!(encryption.mode.as_str(), "s3" | "S3" | "s3-aws-kms" | "S3-AWS-KMS") {
            return Err(DocumentError::ServerSide(encryption.mode));
        }
        let scheme = scheme(&encryption.mode, &encryption.initialization_vector)?;
        let key = encryption.key.parse().map_err(DocumentError::Key)?;
        let md5 = match encryption.key_md5.as_str() {
            "" => None,
            text => Some(text.parse().map_err(DocumentError::Md5)?),
        };
        Ok(Self { scheme, key, md5, region: None, service: Service::ElasticTranscoder })
    }

    /// The document for [`FileProtection::service`].
    ///
    /// # Errors
    /// [`DocumentError::ShortIv`].
    pub fn to_document(&self) -> Result<impl Serialize + use<>, DocumentError> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Document {
            MediaConvert(DecryptionSettings),
            ElasticTranscoder(Encryption),
        }
        let initialization_vector = iv_text(self.scheme.iv());
        let mode = self.scheme.mode();
        match self.service {
            Service::MediaConvert => Ok(Document::MediaConvert(DecryptionSettings {
                decryption_mode: match mode {
                    FileMode::Cbc => "AES_CBC".into(),
                    FileMode::Ctr => "AES_CTR".into(),
                    FileMode::Gcm => "AES_GCM".into(),
                },
                encrypted_decryption_key: self.key.to_string(),
                initialization_vector,
                kms_key_region: self.region.clone(),
            })),
            Service::ElasticTranscoder if matches!(self.scheme.iv(), FileIv::Short(_)) => Err(DocumentError::ShortIv),
            Service::ElasticTranscoder => Ok(Document::ElasticTranscoder(Encryption {
                mode: match mode {
                    FileMode::Cbc => "aes-cbc-pkcs7".into(),
                    FileMode::Ctr => "aes-ctr".into(),
                    FileMode::Gcm => "aes-gcm".into(),
                },
                key: self.key.to_string(),
                key_md5: self.key.md5().to_string(),
                initialization_vector,
            })),
        }
    }
}

fn scheme(mode: &str, iv: &str) -> Result<FileScheme, DocumentError> {
    let iv = parse_iv(iv).map_err(DocumentError::Iv)?;
    FileScheme::new(mode.parse()?, iv).map_err(|error| DocumentError::Iv(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(mode: FileMode, iv: &[u8], service: Service) -> FileProtection {
        FileProtection {
            scheme: FileScheme::new(mode, FileIv::from_bytes(iv).unwrap()).unwrap(),
            key: WrappedKey::from_bytes(&[0xab; 60]).unwrap(),
            md5: None,
            region: None,
            service,
        }
    }

    fn json(protection: &FileProtection) -> String {
        serde_json::to_string(&protection.to_document().unwrap()).unwrap()
    }

    /// Field names and modes as the API references of both services have them.
    #[test]
    fn the_documents_are_the_services_own() {
        let key = STANDARD.encode([0xab; 60]);
        let mut settings = protection(FileMode::Ctr, &[1; 16], Service::MediaConvert);
        let expected = format!(
            r#"{{"DecryptionMode":"AES_CTR","EncryptedDecryptionKey":"{key}","InitializationVector":"AQEBAQEBAQEBAQEBAQEBAQ=="}}"#
        );
        assert_eq!(json(&settings), expected);
        settings.region = Some("eu-west-1".into());
        assert_eq!(json(&settings), expected.replace('}', r#","KmsKeyRegion":"eu-west-1"}"#));
        let encryption = protection(FileMode::Cbc, &[1; 16], Service::ElasticTranscoder);
        let md5 = encryption.key.md5();
        assert_eq!(
            json(&encryption),
            format!(
                r#"{{"Mode":"aes-cbc-pkcs7","Key":"{key}","KeyMd5":"{md5}","InitializationVector":"AQEBAQEBAQEBAQEBAQEBAQ=="}}"#
            )
        );
        let short = protection(FileMode::Gcm, &[1; 12], Service::ElasticTranscoder);
        assert_eq!(short.to_document().err(), Some(DocumentError::ShortIv));
    }

    #[test]
    fn what_is_written_is_read_wherever_it_stands() {
        for service in [Service::MediaConvert, Service::ElasticTranscoder] {
            for mode in [FileMode::Cbc, FileMode::Ctr, FileMode::Gcm] {
                let mut wanted = protection(mode, &[7; 16], service);
                let text = json(&wanted);
                wanted.md5 = (service == Service::ElasticTranscoder).then(|| wanted.key.md5());
                let name = if service == Service::MediaConvert { "DecryptionSettings" } else { "Encryption" };
                for text in [
                    text.clone(),
                    format!(r#"{{"{name}":{text},"Key":"films/a.mp4"}}"#),
                    format!(r#"{{"output":"a","document":{text}}}"#),
                ] {
                    assert_eq!(FileProtection::from_json(text.as_bytes()), Ok(wanted.clone()), "{text}");
                }
            }
        }
        let rest = json(&protection(FileMode::Gcm, &[7; 12], Service::MediaConvert))
            .replace("\"D", "\"d")
            .replace("\"E", "\"e")
            .replace("\"I", "\"i");
        assert_eq!(FileProtection::from_json(rest.as_bytes()).unwrap().scheme.iv().bytes(), [7; 12]);
    }

    #[test]
    fn other_documents_are_refused_without_being_quoted() {
        let good = json(&protection(FileMode::Ctr, &[1; 16], Service::MediaConvert));
        let key = STANDARD.encode([0xab; 60]);
        let plain = STANDARD.encode([7; 16]);
        for (bad, why) in [
            (String::new(), "not JSON"),
            ("[]".into(), "not an object"),
            ("{}".into(), "neither DecryptionMode nor Mode"),
            (good.replace("AES_CTR", "AES_XTS"), "a mode is"),
            (good.replace(&key, &plain), "plaintext key"),
            (good.replace(&key, ""), "0 bytes only"),
            (good.replace("AQEB", "A"), "InitializationVector"),
            (good.replace('}', r#","More":"1"}"#), "its fields"),
            (good.replace("AES_CTR", "AES_CBC").replace("AQEBAQEBAQEBAQEBAQEBAQ==", "AQEBAQEBAQEBAQEB"), "CBC"),
            (r#"{"Mode":"s3-aws-kms"}"#.into(), "Amazon S3"),
            (r#"{"document":{"document":{"document":{"document":{"Mode":"s3"}}}}}"#.into(), "neither"),
        ] {
            let error = FileProtection::from_json(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains(&plain), "{bad}: {error}");
        }
    }

    #[test]
    fn ivs_are_read_in_base64_and_hex() {
        let long = [0xf0; 16];
        for text in [hex::encode(long), hex::encode_upper(long), STANDARD.encode(long)] {
            assert_eq!(parse_iv(&text), Ok(FileIv::Long(long)));
        }
        let short = [0xf0; 12];
        for text in [hex::encode(short), STANDARD.encode(short)] {
            assert_eq!(parse_iv(&text), Ok(FileIv::Short(short)));
        }
        // Spec MCV-03: what the guide's `echo -n | base64` makes of digits.
        assert_eq!(parse_iv(&STANDARD.encode(hex::encode(long))), Err(IvTextError::HexInBase64));
        assert_eq!(parse_iv(&STANDARD.encode(hex::encode(short))), Err(IvTextError::HexInBase64));
        assert_eq!(parse_iv("?"), Err(IvTextError::Text));
        assert_eq!(parse_iv("AAAA"), Err(IvTextError::Iv(FileIvError::Length { bytes: 3 })));
    }

    proptest::proptest! {
        #[test]
        fn random_documents_never_panic(text: String, bytes: Vec<u8>) {
            let _ = (FileProtection::from_json(text.as_bytes()), FileProtection::from_json(&bytes), parse_iv(&text));
        }
    }
}
