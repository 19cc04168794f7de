//! The keys that the key server hands out: out of a key store, opened by whoever sealed each.

use std::sync::OnceLock;

use crate::crypto::key::ContentKey;
use crate::keys::{Access, KeyError, KeyId, KeyStore, SealedKey};
use crate::server::vault::{Open, Trouble};

use super::error::CliError;
use super::key_access::{KeyStoreArgs, OpenArgs};

/// A key store, and the ways to the providers. Nothing in it is secret: keys are opened one at a time, as they are asked for.
pub struct ServedKeys {
    args: KeyStoreArgs,
    store: OnceLock<KeyStore>,
    access: Access,
}

impl ServedKeys {
    /// Opens the key store. The default one may be missing: it is there as soon as a first key was made.
    ///
    /// # Errors
    /// When others have access to it, or the one that was named is not there; whatever storage reports.
    pub fn open(args: &KeyStoreArgs, open: &OpenArgs) -> Result<Self, CliError> {
        #[cfg_attr(not(feature = "aws"), allow(unused_mut))]
        let mut access = open.access()?;
        #[cfg(feature = "aws")]
        {
            access.patience = crate::aws::Patience::Viewer;
        }
        let keys = Self { args: args.clone(), store: OnceLock::new(), access };
        keys.find_store()?;
        Ok(keys)
    }

    fn find_store(&self) -> Result<Option<&KeyStore>, CliError> {
        if let Some(store) = self.store.get() {
            return Ok(Some(store));
        }
        Ok(self.args.open_for_viewers()?.map(|store| self.store.get_or_init(|| store)))
    }
}

impl Open for ServedKeys {
    fn sealed(&self, key_id: &KeyId) -> Result<Option<SealedKey>, Trouble> {
        let store = self.find_store().map_err(|error| Trouble::passing(error.message))?;
        match store.map(|store| store.get(key_id)) {
            None | Some(Err(KeyError::NotFound { .. })) => Ok(None),
            Some(Ok(sealed)) => Ok(Some(sealed)),
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, Trouble> {
        Ok(self.access.unseal(sealed)?)
    }
}
