//! What commands that use keys share: the options that say which, and the ways to the keyring and the key store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::keys::{
    Claim, ContentId, ContextPair, ContextPreset, EncryptionContext, KeyError, KeyId, KeyStore, LocalKeyring, Opened,
    SealedKey, home,
};
use crate::storage::durable;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;

/// What a new key is bound to.
#[derive(Debug, Clone, Args)]
pub struct ContextArgs {
    /// Bind the key to K=V too (encryption context); may be given several times
    #[arg(long, value_name = "K=V")]
    context: Vec<ContextPair>,
    /// Bind the key to what a service binds its keys to instead: elastic-transcoder or mediaconvert
    #[arg(long, value_name = "NAME", conflicts_with = "context")]
    context_preset: Option<ContextPreset>,
}

impl ContextArgs {
    /// The context of a key for this content.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] when a pair is there twice or they are too many.
    pub fn context(&self, content_id: &ContentId) -> Result<EncryptionContext, KeyError> {
        let mut context = match self.context_preset {
            Some(preset) => preset.context(),
            None => EncryptionContext::of_content(content_id),
        };
        for pair in &self.context {
            context.insert(pair.clone())?;
        }
        Ok(context)
    }
}

/// Which key store.
#[derive(Debug, Clone, Args)]
pub struct KeyStoreArgs {
    /// Folder of sealed keys [default: $KEYRUNG_HOME/keys]
    #[arg(long, value_name = "DEST")]
    key_store: Option<PathBuf>,
}

impl KeyStoreArgs {
    /// Opens the local keyring and the key store and makes them where they are missing. The first time, says how not to
    /// lose the catalogue.
    ///
    /// # Errors
    /// When others have access to them; whatever storage reports.
    pub fn open_or_create(&self, output: Output) -> Result<(LocalKeyring, KeyStore), CliError> {
        let place = home::open()?;
        let (keyring, opened) = LocalKeyring::open_or_create(&place)?;
        if matches!(opened, Opened::Created) {
            output.note(&format!(
                "a keyring was made at {}; without it no sealed key opens again: keyrung key backup FILE keeps a copy",
                keyring.path().display(),
            ));
        }
        let store = KeyStore::open(self.key_store.as_ref().unwrap_or(&home::key_store(&place)))?;
        Ok((keyring, store))
    }

    /// Opens the key store to look into it; none when the default one has not been made yet. Nothing is made.
    ///
    /// # Errors
    /// When others have access to it, or the one that was named is not there; whatever storage reports.
    pub fn open(&self) -> Result<Option<KeyStore>, CliError> {
        if let Some(place) = &self.key_store {
            if is_absent(place) {
                return Err(CliError::new(Exit::Key, format!("there is no key store {}", place.display())));
            }
            return Ok(Some(KeyStore::open(place)?));
        }
        let place = home::resolve()?;
        if is_absent(&place) {
            return Ok(None);
        }
        durable::check_private(&place).map_err(KeyError::from)?;
        let place = home::key_store(&place);
        if is_absent(&place) { Ok(None) } else { Ok(Some(KeyStore::open(&place)?)) }
    }

    /// Opens the key store and takes a key out of it.
    ///
    /// # Errors
    /// [`KeyError::NotFound`]; as [`KeyStoreArgs::open`].
    pub fn find(&self, id: &KeyId) -> Result<(KeyStore, SealedKey), CliError> {
        let Some(store) = self.open()? else {
            let place = home::key_store(&home::resolve()?).display().to_string();
            return Err(KeyError::NotFound { what: "key", id: id.to_string(), place }.into());
        };
        let key = store.get(id)?;
        Ok((store, key))
    }
}

/// The claim under which a package was, or is to be, made with this key.
///
/// # Errors
/// Whatever the key store reports.
pub fn claim_of(store: &KeyStore, key: &SealedKey) -> Result<Option<Claim>, KeyError> {
    Ok(store.claim_read(&key.content_id)?.filter(|claim| claim.key.key_id == key.key_id))
}

/// Text of a stored document on one line: what it holds must not move the cursor.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn is_absent(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
