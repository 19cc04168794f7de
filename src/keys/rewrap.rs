//! Sealing a stored key anew: under another wrapping key, another provider or another context. The data key stays the same,
//! and so does everything that was encrypted under it.

use crate::keys::document::CreatedAt;
use crate::keys::{EncryptionContext, KeyError, KeyProvider, SealedKey};

/// How a key was sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrapped {
    /// The provider did it: the key was never here in clear.
    Inside,
    /// The key was opened and sealed again in this process.
    Here,
}

/// `sealed`, which `from` can open, under the wrapping key of `to` and under `context`. Key id, content id and binding stay.
/// A key that nobody has seen is opened to be bound when `context` would not name its content any more.
///
/// # Errors
/// As [`KeyProvider::reseal`], [`KeyProvider::unseal`] and [`KeyProvider::seal`].
pub fn rewrap(
    sealed: &SealedKey,
    from: &dyn KeyProvider,
    to: &dyn KeyProvider,
    context: EncryptionContext,
) -> Result<(SealedKey, Rewrapped), KeyError> {
    let mut new = sealed.clone();
    new.provider = to.name().to_owned();
    new.context = context;
    new.created = CreatedAt::now();
    let is_bound = new.binding.is_some() || new.context_names_content();
    let inside = if is_bound { to.reseal(sealed, &new.context)? } else { None };
    let (ciphertext, how) = match inside {
        Some(ciphertext) => (ciphertext, Rewrapped::Inside),
        None => {
            let key = from.unseal(sealed)?;
            let ciphertext = to.seal(&key, &new.context)?;
            new = new.bound(&key);
            (ciphertext, Rewrapped::Here)
        }
    };
    new.key = ciphertext.key;
    new.ciphertext = ciphertext.blob;
    Ok((new, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{ContextPreset, KeyStore, LocalKeyring};

    #[test]
    fn a_key_keeps_its_names_and_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (keyring, _) = LocalKeyring::open_or_create(&dir.path().join("home")).unwrap();
        let (other, _) = LocalKeyring::open_or_create(&dir.path().join("other")).unwrap();
        let store = KeyStore::open(&dir.path().join("keys")).unwrap();
        let context = EncryptionContext::of_content(&"film".parse().unwrap());
        let sealed = keyring.generate_sealed(&context).unwrap();
        let old = SealedKey::new("film".parse().unwrap(), "local", context, sealed).unwrap();
        store.put(&old).unwrap();
        let preset = ContextPreset::MediaConvert.context();
        let (new, how) = rewrap(&old, &keyring, &other, preset.clone()).unwrap();
        assert_eq!(how, Rewrapped::Here);
        assert_eq!((new.key_id, &new.content_id, &new.context), (old.key_id, &old.content_id, &preset));
        assert_eq!(new.key, other.kek_id().to_string());
        assert_eq!(other.unseal(&new).unwrap().expose(), keyring.unseal(&old).unwrap().expose());
        store.reseal(&old, &new).unwrap();
        assert_eq!(store.get(&old.key_id).unwrap(), new);
        assert!(store.reseal(&old, &new).is_err(), "the old record is there no more");
        let mut moved = new.clone();
        moved.content_id = "film-2".parse().unwrap();
        assert!(matches!(other.unseal(&moved), Err(KeyError::Unbound { .. })));
        assert!(store.reseal(&new, &moved).is_err(), "another content's key");
    }
}
