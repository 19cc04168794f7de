//! Which provider has a key: the one that seals new keys is chosen, the one that opens a sealed key is named in its record.

use std::fmt;
use std::str::FromStr;

use crate::crypto::key::{ContentKey, FileKey, FileKeyLength};
#[cfg(feature = "aws")]
use crate::keys::kms::{AwsKms, KmsKeyName};
use crate::keys::{Audit, Ciphertext, EncryptionContext, KeyError, KeyProvider, LocalKeyring, SealedKey, home};

/// A provider as it is named on the command line: `local`, `aws-kms:KEY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProviderName {
    /// The local keyring.
    #[default]
    Local,
    /// A key of AWS KMS.
    #[cfg(feature = "aws")]
    AwsKms(KmsKeyName),
}

impl FromStr for ProviderName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text == "local" {
            return Ok(Self::Local);
        }
        #[cfg(feature = "aws")]
        if let Some(key) = text.strip_prefix("aws-kms:") {
            return Ok(Self::AwsKms(key.parse()?));
        }
        #[cfg(not(feature = "aws"))]
        if text.starts_with("aws-kms:") {
            return Err(KeyError::Invalid {
                wanted: "in this build, which is without the feature aws",
                given: text.into(),
            });
        }
        Err(KeyError::Invalid { wanted: "a key provider: local, aws-kms:KEY", given: text.into() })
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            #[cfg(feature = "aws")]
            Self::AwsKms(key) => write!(f, "aws-kms:{key}"),
        }
    }
}

/// What it takes to reach providers. Nothing is opened or asked before a key needs it.
#[derive(Clone, Default)]
pub struct Access {
    /// Grant tokens for calls to AWS KMS (spec KMS-012).
    pub grant_tokens: Vec<String>,
    /// Where operations are recorded.
    pub audit: Audit,
    /// A KMS key in another region that may stand in for the one in a record (spec KMS-013).
    pub replica: ProviderName,
    /// Who waits for calls to AWS.
    #[cfg(feature = "aws")]
    pub patience: crate::aws::Patience,
}

impl Access {
    /// The provider that this name means. The local keyring must be there.
    ///
    /// # Errors
    /// [`KeyError::NoKeyring`]; [`KeyError::Invalid`]; whatever the keyring's file is refused for.
    pub fn named(&self, name: &ProviderName) -> Result<Box<dyn KeyProvider>, KeyError> {
        self.named_in(name, None)
    }

    /// The same; a KMS key whose name has no region is looked for in this one (spec MCV-04).
    ///
    /// # Errors
    /// As [`Access::named`]; [`KeyError::Invalid`] when that is no region.
    pub fn named_in(&self, name: &ProviderName, region: Option<&str>) -> Result<Box<dyn KeyProvider>, KeyError> {
        #[cfg(not(feature = "aws"))]
        let _ = region;
        match name {
            ProviderName::Local => {
                let keyring = LocalKeyring::open(&home::resolve()?)?;
                Ok(Box::new(keyring.with_audit(self.audit.clone())))
            }
            #[cfg(feature = "aws")]
            ProviderName::AwsKms(key) => {
                let mut kms = AwsKms::new(key.clone(), self.grant_tokens.clone())?;
                if let Some(region) = region {
                    let config = crate::aws::load(Some(region))
                        .map_err(|_| KeyError::Invalid { wanted: "a region of AWS", given: region.to_owned() })?;
                    kms = kms.with_config(config);
                }
                Ok(Box::new(kms.with_patience(self.patience).with_audit(self.audit.clone())))
            }
        }
    }

    /// The provider that can open `sealed`: the one that its record names.
    ///
    /// # Errors
    /// [`KeyError::NotMine`] when this build knows no such provider; as [`Access::named`].
    pub fn provider_of(&self, sealed: &SealedKey) -> Result<Box<dyn KeyProvider>, KeyError> {
        let name = match sealed.provider.as_str() {
            "local" => ProviderName::Local,
            #[cfg(feature = "aws")]
            "aws-kms" => match (&self.replica, sealed.key.parse::<KmsKeyName>()) {
                (ProviderName::AwsKms(replica), Ok(key)) if replica.is_replica_of(&key) => self.replica.clone(),
                (_, Ok(key)) => ProviderName::AwsKms(key),
                (_, Err(_)) => return Err(not_mine(sealed)),
            },
            _ => return Err(not_mine(sealed)),
        };
        self.named(&name)
    }

    /// Opens a sealed key through the provider that its record names.
    ///
    /// # Errors
    /// As [`Access::provider_of`] and [`KeyProvider::unseal`].
    pub fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, KeyError> {
        self.provider_of(sealed)?.unseal(sealed)
    }
}

fn not_mine(sealed: &SealedKey) -> KeyError {
    KeyError::NotMine { key_id: sealed.key_id.to_string(), provider: sealed.provider.clone(), key: sealed.key.clone() }
}

/// Seals with one provider, and opens sealed keys with whichever sealed them.
pub struct Keychain {
    maker: Box<dyn KeyProvider>,
    access: Access,
}

impl Keychain {
    /// A keychain whose new keys `maker` seals.
    #[must_use]
    pub fn new(maker: Box<dyn KeyProvider>, access: Access) -> Self {
        Self { maker, access }
    }
}

impl KeyProvider for Keychain {
    fn name(&self) -> &'static str {
        self.maker.name()
    }

    fn generate(&self, context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError> {
        self.maker.generate(context)
    }

    fn generate_sealed(&self, context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        self.maker.generate_sealed(context)
    }

    fn seal(&self, key: &ContentKey, context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        self.maker.seal(key, context)
    }

    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, KeyError> {
        if sealed.provider == self.maker.name() { self.maker.unseal(sealed) } else { self.access.unseal(sealed) }
    }

    fn reseal(&self, sealed: &SealedKey, context: &EncryptionContext) -> Result<Option<Ciphertext>, KeyError> {
        self.maker.reseal(sealed, context)
    }

    fn generate_file_key(
        &self,
        length: FileKeyLength,
        context: &EncryptionContext,
    ) -> Result<(FileKey, Ciphertext), KeyError> {
        self.maker.generate_file_key(length, context)
    }

    fn unseal_file_key(&self, ciphertext: &Ciphertext, context: &EncryptionContext) -> Result<FileKey, KeyError> {
        self.maker.unseal_file_key(ciphertext, context)
    }

    fn adopt(&self, blob: &[u8], context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError> {
        self.maker.adopt(blob, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keychain_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let (keyring, _) = LocalKeyring::open_or_create(&dir.path().join("home")).unwrap();
        crate::keys::provider::contract(&Keychain::new(Box::new(keyring), Access::default()));
    }

    #[test]
    fn providers_are_named_as_they_are_written() {
        let reread = |name: &str| name.parse::<ProviderName>().unwrap().to_string();
        assert_eq!(reread("local"), "local");
        #[cfg(feature = "aws")]
        for good in ["aws-kms:arn:aws:kms:eu-west-1:111122223333:key/1", "aws-kms:alias/films"] {
            assert_eq!(reread(good), good);
        }
        for bad in ["", "Local", "aws-kms", "aws-kms:", "aws-kms:a b", "vault:x", "local:"] {
            assert!(bad.parse::<ProviderName>().is_err(), "{bad:?}");
        }
    }
}
