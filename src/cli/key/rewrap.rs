//! `keyrung key rewrap`: the same keys, sealed anew.

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::key_access::{ContextArgs, KeyStoreArgs, UseArgs, maker};
use crate::cli::output::Output;
use crate::keys::rewrap::{Rewrapped, rewrap};
use crate::keys::{Access, KeyError, KeyId, KeyProvider, KeyStore, ProviderName, SealedKey};
use crate::storage::StorageError;

/// Seal keys anew: under another wrapping key, provider or context
///
/// Packages stay as they are: the data keys do not change. From one key of AWS KMS to another in the same region, or to another
/// context, KMS does it itself (ReEncrypt), and the data key is never here in clear. Killed at any moment, the same command
/// completes it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung key rewrap KEY_ID --key-provider aws-kms:alias/films
  keyrung key rewrap --all --key-provider aws-kms:arn:aws:kms:eu-west-1:111122223333:key/1234
  keyrung key rewrap KEY_ID --context-preset mediaconvert")]
pub struct RewrapArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID", required_unless_present = "all", conflicts_with = "all")]
    key_id: Option<KeyId>,
    /// All keys of the key store
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    context: ContextArgs,
    /// Who seals them: local, or aws-kms:KEY [default: who has sealed each]
    #[arg(long, value_name = "PROVIDER")]
    key_provider: Option<ProviderName>,
    #[command(flatten)]
    use_of: UseArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

/// Seals keys anew. With `--all` it goes on after a key that fails, and ends as the first of them does.
///
/// # Errors
/// When there is no such key, or a provider refuses; whatever the key store reports.
pub fn run(args: &RewrapArgs, output: Output) -> Result<(), CliError> {
    // A replica opens what it is to seal: the region of the recorded key may be what was lost.
    let access = args.use_of.access(args.key_provider.clone().unwrap_or_default())?;
    let (one_key, to) = (args.key_id.as_ref(), args.key_provider.as_ref());
    // Before a keyring is made for it, the key has to be there.
    let found = one_key.map(|id| args.key_store.find(id)).transpose()?;
    let to = to.map(|name| maker(name, &access, output)).transpose()?;
    let work = Work { context: &args.context, to: to.as_deref(), access: &access };
    if let Some((store, key)) = found {
        let (new, how) = work.seal_anew(&store, &key.key_id)?;
        output.json(&new);
        output.text(&line(&new, how));
        return Ok(());
    }
    let store = args.key_store.open()?;
    let ids = store.as_ref().map(KeyStore::list).transpose()?.unwrap_or_default();
    let (mut done, mut told, mut failed, mut first) = (Vec::new(), Vec::new(), Vec::new(), None);
    for (store, id) in store.iter().flat_map(|store| ids.iter().map(move |id| (store, id))) {
        match work.seal_anew(store, id) {
            Ok((new, how)) => {
                told.push(line(&new, how));
                done.push(new.key_id);
            }
            Err(error) => {
                let error = CliError::from(error);
                output.warning(&format!("{id}: {}", error.message));
                failed.push(id.to_string());
                first.get_or_insert(error);
            }
        }
    }
    match first {
        None => {
            output.json(&json!({ "rewrapped": done }));
            output.text(&told.concat());
            Ok(())
        }
        Some(error) => {
            told.iter().for_each(|line| output.note(line.trim_end()));
            let message = format!("{} of {} keys were not sealed anew: {}", failed.len(), ids.len(), failed.join(" "));
            Err(CliError { message, ..error })
        }
    }
}

/// How often someone else may write the record between being read and being written here.
const TRIES: u32 = 3;

/// What is to be done with each key.
struct Work<'a> {
    context: &'a ContextArgs,
    /// None: each under what it is sealed under.
    to: Option<&'a dyn KeyProvider>,
    access: &'a Access,
}

impl Work<'_> {
    fn seal_anew(&self, store: &KeyStore, id: &KeyId) -> Result<(SealedKey, Rewrapped), KeyError> {
        for _ in 1..TRIES {
            match self.attempt(store, id) {
                Err(KeyError::Storage(StorageError::Changed { .. })) => {}
                done => return done,
            }
        }
        self.attempt(store, id)
    }

    fn attempt(&self, store: &KeyStore, id: &KeyId) -> Result<(SealedKey, Rewrapped), KeyError> {
        let old = store.get(id)?;
        let context =
            if self.context.is_given() { self.context.context(&old.content_id)? } else { old.context.clone() };
        let from = self.access.provider_of(&old)?;
        let (new, how) = rewrap(&old, from.as_ref(), self.to.unwrap_or(from.as_ref()), context)?;
        store.reseal(&old, &new)?;
        Ok((new, how))
    }
}

/// What was done, for people.
fn line(key: &SealedKey, how: Rewrapped) -> String {
    let how = match how {
        Rewrapped::Inside => "re-encrypted by its provider",
        Rewrapped::Here => "opened and sealed again",
    };
    format!("{} {how}: {} {}\n", key.key_id, key.provider, key.key)
}
