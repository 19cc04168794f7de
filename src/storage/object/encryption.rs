//! Encryption at rest, which the object store does (spec S3-001 to S3-007). It has nothing to do with the segments' own
//! encryption: whoever may read an object gets it decrypted.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use zeroize::Zeroizing;

/// How the object store encrypts what is put.
#[derive(Clone, Default)]
pub enum Encryption {
    /// As the bucket is set.
    #[default]
    Bucket,
    /// SSE-S3, under the store's own key.
    S3,
    /// SSE-KMS.
    Kms {
        /// The KMS key; none for the account's `aws/s3`.
        key: Option<String>,
        /// Whether S3 keeps a key of the bucket's, for fewer calls of KMS (spec S3-004).
        bucket_key: BucketKey,
    },
    /// DSSE-KMS, two layers.
    Dsse {
        /// The KMS key; none for the account's `aws/s3`.
        key: Option<String>,
    },
    /// SSE-C, under a key that every reader must send (spec S3-007).
    Customer(CustomerKey),
}

/// Whether SSE-KMS uses a bucket key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BucketKey {
    /// As the bucket is set.
    #[default]
    Bucket,
    /// It does.
    Use,
}

/// The 256-bit key of SSE-C. It cannot be printed, and is wiped when dropped.
#[derive(Clone)]
pub struct CustomerKey(Zeroizing<String>);

impl CustomerKey {
    /// Takes 32 raw bytes, or their base64 or hexadecimal form with white space around.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == 32 {
            return Some(Self(Zeroizing::new(STANDARD.encode(bytes))));
        }
        let text = std::str::from_utf8(bytes).ok()?.trim();
        let raw = match text.len() {
            64 => Zeroizing::new(hex::decode(text).ok()?),
            _ => Zeroizing::new(STANDARD.decode(text).ok()?),
        };
        (raw.len() == 32).then(|| Self(Zeroizing::new(STANDARD.encode(&*raw))))
    }
}

impl Encryption {
    /// The name of the mode, as the options have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::S3 => "s3",
            Self::Kms { .. } => "kms",
            Self::Dsse { .. } => "dsse",
            Self::Customer(_) => "c",
        }
    }

    /// A client that asks for this encryption.
    pub(super) fn apply(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        let set = |builder: AmazonS3Builder, name: &str, value: &str| match name.parse::<AmazonS3ConfigKey>() {
            Ok(name) => builder.with_config(name, value),
            Err(_) => builder, // a test reads the headers that are sent
        };
        let mode = |builder, mode: &str| set(builder, "aws_server_side_encryption", mode);
        let key = |builder, key: &Option<String>| match key {
            Some(key) => set(builder, "aws_sse_kms_key_id", key),
            None => builder,
        };
        match self {
            Self::Bucket => builder,
            Self::S3 => mode(builder, "AES256"),
            Self::Kms { key: id, bucket_key } => {
                let builder = key(mode(builder, "aws:kms"), id);
                if *bucket_key == BucketKey::Use { builder.with_bucket_key(true) } else { builder }
            }
            Self::Dsse { key: id } => key(mode(builder, "aws:kms:dsse"), id),
            Self::Customer(key) => builder.with_ssec_encryption(key.0.as_str()),
        }
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_key_comes_in_three_forms() {
        let raw = [7_u8; 32];
        let forms = [raw.to_vec(), STANDARD.encode(raw).into_bytes(), format!("{}\n", hex::encode(raw)).into_bytes()];
        for form in forms {
            assert_eq!(*CustomerKey::read(&form).unwrap().0, STANDARD.encode(raw));
        }
        for bad in [&b""[..], &[0; 31], &[0; 33], b"zz", STANDARD.encode([0; 16]).as_bytes(), &[b'g'; 64]] {
            assert!(CustomerKey::read(bad).is_none());
        }
        let debug = format!("{:?}", Encryption::Customer(CustomerKey::read(&raw).unwrap()));
        assert_eq!(debug, "c");
    }
}
