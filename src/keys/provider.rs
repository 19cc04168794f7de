//! The one joint for key wrapping: whoever seals and unseals data keys implements [`KeyProvider`].

use crate::crypto::key::ContentKey;
use crate::keys::{EncryptionContext, KeyError, SealedKey};

/// What a provider has made of a data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertext {
    /// The provider's name of the wrapping key, precise enough to unseal later: never an alias (spec KMS-006).
    pub key: String,
    /// The sealed key.
    pub blob: Vec<u8>,
}

/// Seals data keys and unseals them. May block on the network; calls may come from several threads.
pub trait KeyProvider: Send + Sync {
    /// The provider's name, as it stands in sealed keys.
    fn name(&self) -> &'static str;

    /// A new data key, sealed under `context`.
    ///
    /// # Errors
    /// [`KeyError::Denied`], [`KeyError::Unavailable`], [`KeyError::Random`].
    fn generate(&self, context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError>;

    /// Seals a given key under `context`.
    ///
    /// # Errors
    /// As [`KeyProvider::generate`].
    fn seal(&self, key: &ContentKey, context: &EncryptionContext) -> Result<Ciphertext, KeyError>;

    /// Opens a sealed key, under the context in it.
    ///
    /// # Errors
    /// [`KeyError::NotMine`] when another provider or wrapping key sealed it, [`KeyError::Unsealable`] when it was changed;
    /// as [`KeyProvider::generate`].
    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, KeyError>;
}

/// What every provider must do; each implementation's tests run it.
#[cfg(test)]
pub(crate) fn contract(provider: &dyn KeyProvider) {
    use crate::keys::ContentId;

    let content_id: ContentId = "film-1".parse().unwrap();
    let context = EncryptionContext::of_content(&content_id);
    let record = |sealed| SealedKey::new(content_id.clone(), provider.name(), context.clone(), sealed).unwrap();

    let (key, sealed) = provider.generate(&context).unwrap();
    let (other, _) = provider.generate(&context).unwrap();
    assert!(key.expose() != other.expose() && key.expose() != &[0; 16]);
    assert!(!sealed.blob.windows(16).any(|bytes| bytes == key.expose()));
    let again = provider.seal(&key, &context).unwrap();
    assert_ne!(sealed.blob, again.blob);
    for sealed in [sealed.clone(), again] {
        assert_eq!(provider.unseal(&record(sealed)).unwrap().expose(), key.expose());
    }

    let refused = |change: &dyn Fn(&mut SealedKey)| {
        let mut changed = record(sealed.clone());
        change(&mut changed);
        provider.unseal(&changed).err().expect("a changed record must not open")
    };
    let unsealable = |change: &dyn Fn(&mut SealedKey)| {
        let error = refused(change);
        assert!(matches!(error, KeyError::Unsealable { .. }), "{error}");
    };
    unsealable(&|k| k.context = EncryptionContext::default());
    unsealable(&|k| k.context = EncryptionContext::of_content(&"film-2".parse().unwrap()));
    unsealable(&|k| k.context.insert("more=1".parse().unwrap()).unwrap());
    unsealable(&|k| k.ciphertext.clear());
    unsealable(&|k| k.ciphertext.push(0));
    let error = refused(&|k| k.provider = "another".into());
    assert!(matches!(error, KeyError::NotMine { .. }), "{error}");
    let error = refused(&|k| k.key = "another".into());
    assert!(matches!(error, KeyError::NotMine { .. }), "{error}");
}
