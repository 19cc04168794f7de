//! The local keyring: one key-encryption key in a private file, and the provider that seals data keys under it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::key::{ContentKey, FileKey, FileKeyLength};
use crate::keys::audit::{Audit, Entry, Operation};
use crate::keys::document::{self, CreatedAt, Version1};
use crate::keys::id::random;
use crate::keys::provider::{FILE_KEY, content_key};
use crate::keys::{Ciphertext, EncryptionContext, KeyError, KeyId, KeyProvider, SealedKey, envelope};
use crate::limits::MAX_KEYRING_BYTES;
use crate::storage::{Replace, StorageError, durable};

/// The keyring's file in its home.
const FILE: &str = "keyring.json";

/// Whether a keyring was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It was.
    Existing,
    /// It has just been made: the user should back it up.
    Created,
}

/// What restoring a keyring did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// There was none; now there is.
    Created,
    /// The same one was there already.
    Unchanged,
    /// It took the place of another one, and what that one sealed cannot be opened any more.
    Replaced,
}

/// A key-encryption key, held in memory for as long as this lives and wiped after.
pub struct LocalKeyring {
    path: PathBuf,
    kek: Box<Zeroizing<[u8; 32]>>,
    kek_id: KeyId,
    created: CreatedAt,
    audit: Audit,
}

/// The file. The key is borrowed from the buffer that was read, which is wiped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    version: Version1,
    kek_id: KeyId,
    kek: &'a str,
    created: CreatedAt,
}

impl LocalKeyring {
    /// Opens the keyring in the folder `home` and makes both where they are missing. Of several processes that make one at once, one
    /// does, and the others read what it made.
    ///
    /// # Errors
    /// [`StorageError::Insecure`] when others have access to the folder or the file; [`KeyError::Malformed`],
    /// [`KeyError::UnknownVersion`]; whatever storage reports.
    pub fn open_or_create(home: &Path) -> Result<(Self, Opened), KeyError> {
        durable::ensure_private_dir(home)?;
        let path = home.join(FILE);
        match Self::load(&path) {
            Err(KeyError::NoKeyring { .. }) => {}
            loaded => return Ok((loaded?, Opened::Existing)),
        }
        let mut kek = Box::new(Zeroizing::new([0; 32]));
        random(kek.as_mut_slice())?;
        let made = Self {
            path: path.clone(),
            kek,
            kek_id: KeyId::generate()?,
            created: CreatedAt::now(),
            audit: Audit::default(),
        };
        match durable::create_new(&path, &made.to_json(), 0o600) {
            Ok(()) => Ok((made, Opened::Created)),
            Err(StorageError::Exists { .. }) => Ok((Self::load(&path)?, Opened::Existing)),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the keyring in the folder `home`.
    ///
    /// # Errors
    /// [`KeyError::NoKeyring`] when there is none; as [`LocalKeyring::open_or_create`].
    pub fn open(home: &Path) -> Result<Self, KeyError> {
        let path = home.join(FILE);
        match durable::check_private(home) {
            Err(e) if e.is_not_found() => Err(KeyError::NoKeyring { path }),
            checked => checked.map_err(KeyError::from).and_then(|()| Self::load(&path)),
        }
    }

    /// Writes a copy of the keyring to a new file of mode 0600. Whoever has it can open every key that this keyring sealed.
    ///
    /// # Errors
    /// [`StorageError::Exists`]; whatever storage reports.
    pub fn backup(&self, to: &Path) -> Result<(), KeyError> {
        Ok(durable::create_new(to, &self.to_json(), 0o600)?)
    }

    /// Puts the copy `from` into the folder `home`.
    ///
    /// # Errors
    /// [`StorageError::Exists`] when another keyring is there and `replace` refuses; [`StorageError::Insecure`] when others have access to
    /// the copy; [`KeyError::NoKeyring`] when there is no copy; as [`LocalKeyring::open_or_create`].
    pub fn restore(home: &Path, from: &Path, replace: Replace) -> Result<Restored, KeyError> {
        let copy = Self::load(from)?;
        durable::ensure_private_dir(home)?;
        let path = home.join(FILE);
        match durable::create_new(&path, &copy.to_json(), 0o600) {
            Ok(()) => return Ok(Restored::Created),
            Err(StorageError::Exists { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        match Self::load(&path) {
            Ok(there) if there.is_same(&copy) => return Ok(Restored::Unchanged),
            // A damaged keyring is what a backup is for, but it is still not thrown away unasked.
            Ok(_) | Err(KeyError::Malformed { .. } | KeyError::UnknownVersion { .. }) => {}
            Err(e) => return Err(e),
        }
        if replace == Replace::Refuse {
            return Err(StorageError::Exists { operation: "restore the keyring to", path }.into());
        }
        durable::replace_file(&path, &copy.to_json(), 0o600)?;
        Ok(Restored::Replaced)
    }

    /// The id of the key-encryption key, as it stands in sealed keys.
    #[must_use]
    pub fn kek_id(&self) -> KeyId {
        self.kek_id
    }

    /// With every operation recorded.
    #[must_use]
    pub fn with_audit(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// Records how an operation went. What it gave is handed on only when it could be recorded.
    fn audited<T>(
        &self,
        operation: Operation,
        key_id: Option<KeyId>,
        context: &EncryptionContext,
        result: Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let key = self.kek_id.to_string();
        let (provider, failure) = (self.name(), result.as_ref().err().map(|error| (error.code(), error)));
        let entry = Entry { operation, provider, key: &key, key_id, context, source: None, request_id: None, failure };
        self.audit.record(&entry)?;
        result
    }

    fn open_envelope(&self, sealed: &SealedKey) -> Result<ContentKey, KeyError> {
        envelope::open(&self.kek, &self.kek_id.to_string(), &sealed.context.canonical(), &sealed.ciphertext)
            .and_then(|mut secret| secret.as_mut_slice().try_into().ok().map(ContentKey::from_bytes))
            .ok_or_else(|| KeyError::Unsealable { key_id: sealed.key_id.to_string() })
            .and_then(|key| sealed.opened(key))
    }

    /// The keyring's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wrap(&self, secret: &[u8], context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        let mut salt = [0; 32];
        random(&mut salt)?;
        let kek_id = self.kek_id.to_string();
        let blob = envelope::seal(&self.kek, &kek_id, &context.canonical(), &salt, secret);
        Ok(Ciphertext { key: kek_id, blob })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.kek_id == other.kek_id && bool::from(self.kek.as_slice().ct_eq(other.kek.as_slice()))
    }

    fn load(path: &Path) -> Result<Self, KeyError> {
        let json = match durable::read_private(path, MAX_KEYRING_BYTES) {
            Ok(json) => Zeroizing::new(json),
            Err(e) if e.is_not_found() => return Err(KeyError::NoKeyring { path: path.to_path_buf() }),
            Err(e) => return Err(e.into()),
        };
        let what = "the keyring";
        let damaged = |reason: String| KeyError::Malformed { what: what.into(), reason };
        document::check_version(what, &json)?;
        // Not the parser's words: they could quote the key.
        let read: Document<'_> = serde_json::from_slice(&json)
            .map_err(|e| damaged(format!("not its fields (line {}, column {})", e.line(), e.column())))?;
        // The decoder wants room for the padding's byte too.
        let mut bytes = Zeroizing::new([0; 33]);
        let mut kek = Box::new(Zeroizing::new([0; 32]));
        match (STANDARD.decode_slice(read.kek, bytes.as_mut_slice()), bytes.first_chunk::<32>()) {
            (Ok(32), Some(bytes)) => kek.copy_from_slice(bytes),
            _ => return Err(damaged("its key is not 32 bytes in base64".into())),
        }
        Ok(Self { path: path.to_path_buf(), kek, kek_id: read.kek_id, created: read.created, audit: Audit::default() })
    }

    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new([0; 44]);
        let length = STANDARD.encode_slice(self.kek.as_slice(), text.as_mut_slice()).unwrap_or_default();
        let kek = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        let document = Document { version: Version1, kek_id: self.kek_id, kek, created: self.created };
        // With room for all of it: a buffer that grows leaves copies behind.
        let mut json = Zeroizing::new(Vec::with_capacity(1024));
        serde_json::to_writer_pretty(&mut *json, &document).expect("the document consists of strings and an integer");
        json.push(b'\n');
        json
    }
}

impl KeyProvider for LocalKeyring {
    fn name(&self) -> &'static str {
        "local"
    }

    fn generate(&self, context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError> {
        let key = ContentKey::generate()?;
        let sealed = self.wrap(key.expose(), context);
        Ok((key, self.audited(Operation::Generate, None, context, sealed)?))
    }

    fn generate_sealed(&self, context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        let sealed = self.wrap(ContentKey::generate()?.expose(), context);
        self.audited(Operation::GenerateSealed, None, context, sealed)
    }

    fn seal(&self, key: &ContentKey, context: &EncryptionContext) -> Result<Ciphertext, KeyError> {
        self.audited(Operation::Seal, None, context, self.wrap(key.expose(), context))
    }

    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, KeyError> {
        let kek_id = self.kek_id.to_string();
        if sealed.provider != self.name() || sealed.key != kek_id {
            return Err(KeyError::NotMine {
                key_id: sealed.key_id.to_string(),
                provider: sealed.provider.clone(),
                key: sealed.key.clone(),
            });
        }
        self.audited(Operation::Unseal, Some(sealed.key_id), &sealed.context, self.open_envelope(sealed))
    }

    fn generate_file_key(
        &self,
        length: FileKeyLength,
        context: &EncryptionContext,
    ) -> Result<(FileKey, Ciphertext), KeyError> {
        let key = FileKey::generate(length)?;
        // The envelope's tag covers the length of what it holds.
        let sealed = self.wrap(key.expose(), context);
        Ok((key, self.audited(Operation::Generate, None, context, sealed)?))
    }

    fn unseal_file_key(&self, ciphertext: &Ciphertext, context: &EncryptionContext) -> Result<FileKey, KeyError> {
        let kek_id = self.kek_id.to_string();
        if !ciphertext.key.is_empty() && ciphertext.key != kek_id {
            return Err(KeyError::NotMine {
                key_id: FILE_KEY.into(),
                provider: self.name().into(),
                key: ciphertext.key.clone(),
            });
        }
        let opened = envelope::open(&self.kek, &kek_id, &context.canonical(), &ciphertext.blob)
            .and_then(|mut secret| FileKey::from_bytes(&mut secret).ok())
            .ok_or_else(|| KeyError::Unsealable { key_id: FILE_KEY.into() });
        self.audited(Operation::Unseal, None, context, opened)
    }

    fn adopt(&self, blob: &[u8], context: &EncryptionContext) -> Result<(ContentKey, Ciphertext), KeyError> {
        let sealed = Ciphertext { key: self.kek_id.to_string(), blob: blob.to_vec() };
        let key = content_key(&self.unseal_file_key(&sealed, context)?)?;
        Ok((key, sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::provider;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn every_operation_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let (keyring, _) = LocalKeyring::open_or_create(&dir.path().join("home")).unwrap();
        let keyring = keyring.with_audit(Audit::file(&path).unwrap());
        let context = EncryptionContext::default();
        let (key, _) = keyring.generate(&context).unwrap();
        keyring.generate_sealed(&context).unwrap();
        keyring.seal(&key, &context).unwrap();
        let (_, file) = keyring.generate_file_key(FileKeyLength::Aes128, &context).unwrap();
        keyring.adopt(&file.blob, &context).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["eventName"].as_str().unwrap().to_owned()
        };
        let names: Vec<String> = text.lines().map(name).collect();
        let wanted = ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "Encrypt", "GenerateDataKey", "Decrypt"];
        assert_eq!(names, wanted);
    }

    #[test]
    fn the_keyring_keeps_the_contract_also_after_it_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        assert!(matches!(LocalKeyring::open(&home), Err(KeyError::NoKeyring { .. })));
        assert!(!home.exists());
        let (keyring, opened) = LocalKeyring::open_or_create(&home).unwrap();
        assert_eq!(opened, Opened::Created);
        assert_eq!((mode(&home), mode(keyring.path())), (0o700, 0o600));
        provider::contract(&keyring);
        let (again, opened) = LocalKeyring::open_or_create(&home).unwrap();
        assert_eq!(opened, Opened::Existing);
        assert!(again.is_same(&keyring));
        provider::contract(&LocalKeyring::open(&home).unwrap());
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
    }

    #[test]
    fn makers_at_once_end_up_with_one_keyring() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let made: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| LocalKeyring::open_or_create(&home).unwrap())).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|(_, opened)| *opened == Opened::Created).count(), 1);
        assert!(made.iter().all(|(keyring, _)| keyring.is_same(&made[0].0)));
    }

    #[test]
    fn a_keyring_that_others_may_read_is_refused_with_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let (keyring, _) = LocalKeyring::open_or_create(&home).unwrap();
        std::fs::set_permissions(keyring.path(), PermissionsExt::from_mode(0o640)).unwrap();
        for result in [LocalKeyring::open(&home).err(), LocalKeyring::open_or_create(&home).err()] {
            assert_eq!(result.unwrap().hint().unwrap(), format!("chmod 600 {}", keyring.path().display()));
        }
        std::fs::set_permissions(keyring.path(), PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o750)).unwrap();
        for result in [LocalKeyring::open(&home).err(), LocalKeyring::open_or_create(&home).err()] {
            assert_eq!(result.unwrap().hint().unwrap(), format!("chmod 700 {}", home.display()));
        }
    }

    #[test]
    fn a_backup_opens_what_the_original_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (keyring, _) = LocalKeyring::open_or_create(&at("a")).unwrap();
        keyring.backup(&at("copy")).unwrap();
        assert_eq!(mode(&at("copy")), 0o600);
        let taken = keyring.backup(&at("copy")).unwrap_err();
        assert!(matches!(taken, KeyError::Storage(StorageError::Exists { .. })));
        assert_eq!(LocalKeyring::restore(&at("b"), &at("copy"), Replace::Refuse).unwrap(), Restored::Created);
        assert_eq!(LocalKeyring::restore(&at("b"), &at("copy"), Replace::Refuse).unwrap(), Restored::Unchanged);
        assert!(LocalKeyring::open(&at("b")).unwrap().is_same(&keyring));
        assert_eq!(std::fs::read(at("b/keyring.json")).unwrap(), std::fs::read(at("a/keyring.json")).unwrap());

        let (other, _) = LocalKeyring::open_or_create(&at("c")).unwrap();
        let refused = LocalKeyring::restore(&at("c"), &at("copy"), Replace::Refuse).unwrap_err();
        let text = format!("cannot restore the keyring to {}: it exists already", at("c/keyring.json").display());
        assert_eq!(refused.to_string(), text);
        assert!(LocalKeyring::open(&at("c")).unwrap().is_same(&other));
        assert_eq!(LocalKeyring::restore(&at("c"), &at("copy"), Replace::Allow).unwrap(), Restored::Replaced);
        assert!(LocalKeyring::open(&at("c")).unwrap().is_same(&keyring));

        std::fs::write(at("c/keyring.json"), "garbage").unwrap();
        assert!(LocalKeyring::restore(&at("c"), &at("copy"), Replace::Refuse).is_err());
        assert_eq!(LocalKeyring::restore(&at("c"), &at("copy"), Replace::Allow).unwrap(), Restored::Replaced);
        let absent = LocalKeyring::restore(&at("c"), &at("nothing"), Replace::Allow).unwrap_err();
        assert!(matches!(absent, KeyError::NoKeyring { .. }));
        std::fs::set_permissions(at("copy"), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(LocalKeyring::restore(&at("d"), &at("copy"), Replace::Allow).unwrap_err().hint().is_some());
    }

    #[test]
    fn a_damaged_keyring_is_refused_without_being_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let (keyring, _) = LocalKeyring::open_or_create(&home).unwrap();
        let good = String::from_utf8(keyring.to_json().to_vec()).unwrap();
        let kek = STANDARD.encode(keyring.kek.as_slice());
        let bad = [
            String::new(),
            good.replace("\"version\": 1", "\"version\": 2"),
            good.replace(&kek, &kek[4..]),
            good.replace(&kek, &format!("{kek}AAAA")),
            good.replace(&format!("\"{kek}\""), &format!("[\"{kek}\"]")),
            good.replace("\"kek\"", "\"kek\": \"\", \"kek\""),
            good.replace("\"kek\"", "\"more\": 1, \"kek\""),
            good.replace("\"kek\": ", &format!("\"{kek}\": ")),
            good.replace("\"version\": 1", &format!("\"version\": \"{kek}\"")),
        ];
        for bad in bad {
            std::fs::write(keyring.path(), &bad).unwrap();
            let error = LocalKeyring::open(&home).err().expect("damaged");
            let told = format!("{error} {error:?}");
            assert!(matches!(error, KeyError::Malformed { .. } | KeyError::UnknownVersion { .. }), "{told}");
            assert!(!told.contains(&kek[..8]) && !told.contains(&kek[8..16]), "{told}");
            assert_eq!(std::fs::read_to_string(keyring.path()).unwrap(), bad, "never overwritten");
        }
    }
}
