//! The one joint for key wrapping: whoever seals and unseals data keys implements [`KeyProvider`].

use crate::crypto::key::{ContentKey, FileKey, FileKeyLength};
use crate::keys::{EncryptionContext, KeyError, SealedKey};
use zeroize::Zeroizing;

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

    /// A new data key that nobody sees, sealed under `context`. A provider that can make one only in this process forgets it
    /// at once.
    ///
    /// # Errors
    /// As [`KeyProvider::generate`].
    fn generate_sealed(&self, context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        Ok(self.generate(context)?.1)
    }

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

    /// Seals a sealed key anew, under this provider's wrapping key and `context`, without the plaintext ever being here. None
    /// where this provider cannot do that with what sealed it; then it has to be unsealed and sealed.
    ///
    /// # Errors
    /// As [`KeyProvider::unseal`].
    fn reseal(&self, sealed: &SealedKey, context: &EncryptionContext) -> Result<Option<Ciphertext>, KeyError> {
        let _ = (sealed, context);
        Ok(None)
    }

    /// A new key for a whole file, sealed under `context`.
    ///
    /// # Errors
    /// As [`KeyProvider::generate`].
    fn generate_file_key(
        &self,
        length: FileKeyLength,
        context: &EncryptionContext,
    ) -> Result<(FileKey, Ciphertext), KeyError>;

    /// Opens the sealed key of a whole file. It travels without a record: where [`Ciphertext::key`] is empty, the wrapping key is not
    /// known, and the provider tries the one that it has at hand.
    ///
    /// # Errors
    /// [`KeyError::NotMine`] when the ciphertext names another wrapping key, [`KeyError::Unsealable`] when it was changed, the
    /// context is another, or what it holds has no length of an AES key. Both have [`FILE_KEY`] in the place of a key id; as
    /// [`KeyProvider::generate`].
    fn unseal_file_key(&self, ciphertext: &Ciphertext, context: &EncryptionContext) -> Result<FileKey, KeyError>;

    /// Opens the sealed key of a package that travelled without a record, and tells what to record of it. A provider that
    /// cannot tell which wrapping key it was seals it again.
    ///
    /// # Errors
    /// As [`KeyProvider::unseal_file_key`]; [`KeyError::Malformed`] when it is no key of 128 bits.
    fn adopt(&self, blob: &[u8], context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError> {
        let unnamed = Ciphertext { key: String::new(), blob: blob.to_vec() };
        let key = content_key(&self.unseal_file_key(&unnamed, context)?)?;
        let sealed = self.seal(&key, context)?;
        Ok((key, sealed))
    }
}

/// A file's key as a package's, which has 128 bits (spec ETR-02).
pub(super) fn content_key(key: &FileKey) -> Result<ContentKey, KeyError> {
    let Ok(own) = <&[u8; ContentKey::LEN]>::try_from(key.expose()) else {
        let reason = format!("it holds {} bits, and segments of HLS take a key of 128", key.length());
        return Err(KeyError::Malformed { what: "the sealed key".into(), reason });
    };
    let mut bytes = Zeroizing::new(*own);
    Ok(ContentKey::from_bytes(&mut bytes))
}

/// Stands for the id of a file's key, which has none, in errors.
pub const FILE_KEY: &str = "of the file";

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

    let unseen = record(provider.generate_sealed(&context).unwrap());
    assert!(provider.unseal(&unseen).unwrap().expose() != key.expose());
    let mut more_context = context.clone();
    more_context.insert("more=1".parse().unwrap()).unwrap();
    if let Some(resealed) = provider.reseal(&record(sealed.clone()), &more_context).unwrap() {
        let mut moved = record(resealed);
        assert!(matches!(provider.unseal(&moved), Err(KeyError::Unsealable { .. })));
        moved.context = more_context;
        assert_eq!(provider.unseal(&moved).unwrap().expose(), key.expose());
    }

    // A context without the content id: only the binding tells whose key it is.
    let bare = EncryptionContext::default();
    let (key_of_bare, sealed_bare) = provider.generate(&bare).unwrap();
    let unbound = SealedKey::new(content_id.clone(), provider.name(), bare, sealed_bare).unwrap();
    assert!(matches!(provider.unseal(&unbound), Err(KeyError::Unbound { .. })));
    let bound = unbound.bound(&key_of_bare);
    assert_eq!(provider.unseal(&bound).unwrap().expose(), key_of_bare.expose());
    let mut moved = bound.clone();
    moved.content_id = "film-2".parse().unwrap();
    assert!(matches!(provider.unseal(&moved), Err(KeyError::Unbound { .. })));

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

    for length in [FileKeyLength::Aes128, FileKeyLength::Aes192, FileKeyLength::Aes256] {
        let (key, sealed) = provider.generate_file_key(length, &context).unwrap();
        let (other, _) = provider.generate_file_key(length, &context).unwrap();
        assert_eq!(key.expose().len(), length.bytes());
        assert!(key.expose() != other.expose());
        assert!(!sealed.blob.windows(16).any(|bytes| bytes == &key.expose()[..16]));
        assert!(provider.unseal_file_key(&sealed, &context).unwrap().expose() == key.expose());
        let unnamed = Ciphertext { key: String::new(), blob: sealed.blob.clone() };
        assert!(provider.unseal_file_key(&unnamed, &context).unwrap().expose() == key.expose());

        let refused = |change: &dyn Fn(&mut Ciphertext, &mut EncryptionContext)| {
            let (mut sealed, mut context) = (sealed.clone(), context.clone());
            change(&mut sealed, &mut context);
            provider.unseal_file_key(&sealed, &context).err().expect("a changed key must not open")
        };
        let unsealable = |change: &dyn Fn(&mut Ciphertext, &mut EncryptionContext)| {
            let error = refused(change);
            assert!(matches!(error, KeyError::Unsealable { .. }), "{error}");
        };
        unsealable(&|_, context| *context = EncryptionContext::default());
        unsealable(&|_, context| context.insert("more=1".parse().unwrap()).unwrap());
        unsealable(&|sealed, _| sealed.blob.clear());
        unsealable(&|sealed, _| sealed.blob.push(0));
        // Cut by as much as a shorter key would be: the length is bound.
        unsealable(&|sealed, _| sealed.blob.truncate(sealed.blob.len() - 8));
        unsealable(&|sealed, _| {
            let last = sealed.blob.len() - 1;
            sealed.blob[last] ^= 1;
        });
        let error = refused(&|sealed, _| sealed.key = "another".into());
        assert!(matches!(error, KeyError::NotMine { .. }), "{error}");

        match provider.adopt(&sealed.blob, &context) {
            Ok((adopted, again)) => {
                assert!(length == FileKeyLength::Aes128 && adopted.expose().as_slice() == key.expose());
                assert!(provider.unseal(&record(again)).unwrap().expose() == adopted.expose());
            }
            Err(error) => {
                assert!(length != FileKeyLength::Aes128 && matches!(error, KeyError::Malformed { .. }), "{error}");
            }
        }
        let other = provider.adopt(&sealed.blob, &EncryptionContext::default()).err().unwrap();
        assert!(matches!(other, KeyError::Unsealable { .. }), "{other}");
    }
}
