//! What commands that use keys share: the options that say which, and the ways to the keyring and the key store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::keys::{
    Access, Audit, Claim, ContentId, ContextPair, ContextPreset, EncryptionContext, KeyError, KeyId, KeyProvider,
    KeyStore, Keychain, LocalKeyring, Opened, ProviderName, SealedKey, home,
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
    /// Whether the key is bound to something else than its content.
    pub fn is_preset(&self) -> bool {
        self.context_preset.is_some()
    }

    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        self.context_preset.is_some() || !self.context.is_empty()
    }

    /// The context of a key for this content.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] when a pair is there twice or they are too many.
    pub fn context(&self, content_id: &ContentId) -> Result<EncryptionContext, KeyError> {
        self.over(EncryptionContext::of_content(content_id))
    }

    /// The context where `default` is what a preset takes the place of.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] when a pair is there twice or they are too many.
    pub fn over(&self, default: EncryptionContext) -> Result<EncryptionContext, KeyError> {
        let mut context = self.context_preset.map_or(default, ContextPreset::context);
        for pair in &self.context {
            context.insert(pair.clone())?;
        }
        Ok(context)
    }
}

/// Who has keys, and where what is done with them is recorded.
#[derive(Debug, Clone, Args)]
pub struct ProviderArgs {
    /// Who seals new keys: local, or aws-kms:KEY, where KEY is a KMS key's id or ARN, alias/NAME, or an alias's ARN
    #[arg(long, value_name = "PROVIDER", default_value_t)]
    key_provider: ProviderName,
    #[command(flatten)]
    use_of: UseArgs,
}

/// How sealed keys are opened.
#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// Open keys of a multi-Region KMS key through its replica: aws-kms:ARN [default: the key in the record]
    #[arg(long, value_name = "PROVIDER")]
    key_provider: Option<ProviderName>,
    #[command(flatten)]
    use_of: UseArgs,
}

/// What goes with every use of a key.
#[derive(Debug, Clone, Args)]
pub struct UseArgs {
    /// Grant token for AWS KMS, while a grant is new; may be given several times
    #[arg(long, value_name = "TOKEN")]
    grant_token: Vec<String>,
    /// Append a line of JSON to FILE for every key operation, as CloudTrail has them; - is standard error
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
}

impl UseArgs {
    /// The audit log, opened before anything is done.
    ///
    /// # Errors
    /// [`KeyError::Audit`].
    fn audit(&self) -> Result<Audit, KeyError> {
        match &self.audit {
            None => Ok(Audit::default()),
            Some(path) if path == Path::new("-") => Ok(Audit::to(std::io::stderr())),
            Some(path) => Audit::file(path),
        }
    }

    /// The ways to the providers of sealed keys; a multi-Region KMS key may be stood in for by `replica`.
    ///
    /// # Errors
    /// [`KeyError::Audit`].
    #[allow(clippy::needless_update, reason = "more fields are there with the feature aws")]
    pub fn access(&self, replica: ProviderName) -> Result<Access, KeyError> {
        Ok(Access { grant_tokens: self.grant_token.clone(), audit: self.audit()?, replica, ..Access::default() })
    }
}

impl OpenArgs {
    /// Whether a provider was named.
    pub fn names_provider(&self) -> bool {
        self.key_provider.is_some()
    }

    /// The ways to the providers of sealed keys.
    ///
    /// # Errors
    /// [`KeyError::Audit`].
    pub fn access(&self) -> Result<Access, KeyError> {
        self.use_of.access(self.key_provider.clone().unwrap_or_default())
    }
}

impl ProviderArgs {
    /// The provider of new keys, which also opens what others have sealed. A local keyring is made where there is none. Warns
    /// when key, client and the bucket, where there is one, are in different regions.
    ///
    /// # Errors
    /// When others have access to the keyring; whatever storage reports.
    pub fn open_or_create(&self, bucket: Option<&str>, output: Output) -> Result<Keychain, CliError> {
        let access = self.access()?;
        self.warn_of_regions(bucket, output)?;
        let maker = maker(self.name(), &access, output)?;
        Ok(Keychain::new(maker, access))
    }

    /// The provider by the name that was given.
    pub fn name(&self) -> &ProviderName {
        &self.key_provider
    }

    /// The ways to the providers of sealed keys.
    ///
    /// # Errors
    /// [`KeyError::Audit`].
    pub fn access(&self) -> Result<Access, KeyError> {
        self.use_of.access(self.key_provider.clone())
    }

    /// Warns when key, client and the bucket, where there is one, are in different regions.
    ///
    /// # Errors
    /// When the runtime for AWS cannot be started.
    pub fn warn_of_regions(&self, bucket: Option<&str>, output: Output) -> Result<(), CliError> {
        if let Some(warning) = self.region_warning(bucket)? {
            output.warning(&warning);
        }
        Ok(())
    }

    /// One warning that names all regions, when key, bucket and this client are not in the same.
    ///
    /// # Errors
    /// When the runtime for AWS cannot be started.
    #[cfg_attr(not(feature = "aws"), allow(clippy::unnecessary_wraps))]
    fn region_warning(&self, bucket: Option<&str>) -> Result<Option<String>, CliError> {
        #[cfg(feature = "aws")]
        {
            let key = match &self.key_provider {
                ProviderName::AwsKms(key) => key.region(),
                ProviderName::Local => None,
            };
            if key.is_none() && bucket.is_none() {
                return Ok(None);
            }
            let client =
                crate::aws::client_region().map_err(|error| CliError::new(Exit::Internal, error.to_string()))?;
            Ok(crate::aws::region::disagreement(key, bucket, client.as_deref()))
        }
        #[cfg(not(feature = "aws"))]
        {
            let _ = bucket;
            Ok(None)
        }
    }
}

/// The provider that this name means. A local keyring is made where there is none; then says how not to lose what it seals.
///
/// # Errors
/// When others have access to the keyring; whatever storage reports.
pub fn maker(name: &ProviderName, access: &Access, output: Output) -> Result<Box<dyn KeyProvider>, CliError> {
    match name {
        ProviderName::Local => {
            let (keyring, opened) = LocalKeyring::open_or_create(&home::open()?)?;
            if matches!(opened, Opened::Created) {
                output.note(&format!(
                    "a keyring was made at {}; without it no sealed key opens again: keyrung key backup FILE keeps a copy",
                    keyring.path().display(),
                ));
            }
            Ok(Box::new(keyring.with_audit(access.audit.clone())))
        }
        #[cfg(feature = "aws")]
        name => Ok(access.named(name)?),
    }
}

/// Which key store.
#[derive(Debug, Clone, Args)]
pub struct KeyStoreArgs {
    /// Folder of sealed keys, or s3://BUCKET/PREFIX [default: $KEYRUNG_HOME/keys]
    #[arg(long, value_name = "DEST")]
    key_store: Option<PathBuf>,
}

impl KeyStoreArgs {
    /// The same; where none was named, this one.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn or(&self, place: Option<&Path>) -> Self {
        Self { key_store: self.key_store.clone().or_else(|| place.map(Path::to_owned)) }
    }

    /// Whether it is in a bucket.
    #[must_use]
    pub fn is_in_bucket(&self) -> bool {
        #[cfg(feature = "aws")]
        let is =
            self.key_store.as_deref().and_then(Path::to_str).is_some_and(crate::storage::object::Location::is_meant);
        #[cfg(not(feature = "aws"))]
        let is = false;
        is
    }

    /// Opens the key store, and the provider of new keys, and makes store and local keyring where they are missing.
    ///
    /// # Errors
    /// When others have access to them; whatever storage reports.
    pub fn open_or_create(
        &self,
        provider: &ProviderArgs,
        bucket: Option<&str>,
        output: Output,
    ) -> Result<(Keychain, KeyStore), CliError> {
        let keychain = provider.open_or_create(bucket, output)?;
        // With KMS and a key store of one's own there is nothing to keep at home.
        let store = match &self.key_store {
            Some(place) => KeyStore::open(place)?,
            None => KeyStore::open(&home::key_store(&home::open()?))?,
        };
        Ok((keychain, store))
    }

    /// Opens the key store to look into it; none when it has not been made yet, be it the default one or one that was
    /// named. Nothing is made.
    ///
    /// # Errors
    /// When others have access to it; whatever storage reports.
    pub fn open_if_there(&self) -> Result<Option<KeyStore>, CliError> {
        if self.key_store.as_deref().is_some_and(is_absent) { Ok(None) } else { self.open() }
    }

    /// Opens the key store to look into it; none when the default one has not been made yet. Nothing is made.
    ///
    /// # Errors
    /// When others have access to it, or the one that was named is not there; whatever storage reports.
    pub fn open(&self) -> Result<Option<KeyStore>, CliError> {
        self.open_by(KeyStore::open)
    }

    /// The same, for a server whose viewers wait.
    ///
    /// # Errors
    /// As [`KeyStoreArgs::open`].
    #[cfg(feature = "server")]
    pub fn open_for_viewers(&self) -> Result<Option<KeyStore>, CliError> {
        self.open_by(KeyStore::open_for_viewers)
    }

    fn open_by(&self, open: fn(&Path) -> Result<KeyStore, KeyError>) -> Result<Option<KeyStore>, CliError> {
        if let Some(place) = &self.key_store {
            if is_absent(place) {
                return Err(CliError::new(Exit::Key, format!("there is no key store {}", place.display())));
            }
            return Ok(Some(open(place)?));
        }
        let place = home::resolve()?;
        if is_absent(&place) {
            return Ok(None);
        }
        durable::check_private(&place).map_err(KeyError::from)?;
        let place = home::key_store(&place);
        if is_absent(&place) { Ok(None) } else { Ok(Some(open(&place)?)) }
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
    // A prefix in a bucket is a part of names: it is never there and never absent.
    #[cfg(feature = "aws")]
    if path.to_str().is_some_and(crate::storage::object::Location::is_meant) {
        return false;
    }
    std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
