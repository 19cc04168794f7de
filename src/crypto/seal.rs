//! What only the holder of a data key can write about it, each an HMAC under a subkey of its own: the seal of the commit
//! record, by which the holder can tell tampering from damage, and the binding of a sealed key's record to its content.

use crate::crypto::key::{BINDING_LABEL, ContentKey, RECORD_LABEL};
use hmac::Mac;

/// HMAC-SHA256 over the bytes of a commit record, under the data key's own subkey for that.
pub struct RecordSeal;

/// The record is not the one that was sealed, or not with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record's seal does not match its content under this key")]
pub struct SealMismatch;

impl RecordSeal {
    /// Length of a seal in bytes.
    pub const LEN: usize = 32;

    /// The seal of `record`.
    #[must_use]
    pub fn seal(key: &ContentKey, record: &[u8]) -> [u8; Self::LEN] {
        key.subkey(RECORD_LABEL).mac().chain_update(record).finalize().into_bytes().into()
    }

    /// Compares `seal` with the seal of `record` in constant time.
    ///
    /// # Errors
    /// [`SealMismatch`] when they differ, or `seal` is not [`Self::LEN`] bytes long.
    pub fn verify(key: &ContentKey, record: &[u8], seal: &[u8]) -> Result<(), SealMismatch> {
        key.subkey(RECORD_LABEL).mac().chain_update(record).verify_slice(seal).map_err(|_| SealMismatch)
    }
}

/// HMAC-SHA256 over the names in a sealed key's record, under the data key's own subkey for that.
pub struct KeyBinding;

/// The names are not those that were bound, or not to this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the binding does not match these names under this key")]
pub struct BindingMismatch;

impl KeyBinding {
    /// Binds `names` to `key`.
    #[must_use]
    pub fn bind(key: &ContentKey, names: &[u8]) -> [u8; 32] {
        key.subkey(BINDING_LABEL).mac().chain_update(names).finalize().into_bytes().into()
    }

    /// Compares `binding` with that of `names` in constant time.
    ///
    /// # Errors
    /// [`BindingMismatch`].
    pub fn verify(key: &ContentKey, names: &[u8], binding: &[u8]) -> Result<(), BindingMismatch> {
        key.subkey(BINDING_LABEL).mac().chain_update(names).verify_slice(binding).map_err(|_| BindingMismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hmac and hashlib: records that are out there depend on it.
    #[test]
    fn the_seal_is_what_was_promised() {
        let key = ContentKey::from_bytes(&mut { *b"0123456789abcdef" });
        assert_eq!(
            hex::encode(RecordSeal::seal(&key, b"record")),
            "e23756c2a7317d3102274104db9b89ba3be65d12dcaa72fa73689519e110a56b"
        );
    }

    /// Computed with Python's hmac and hashlib: records that are out there depend on it.
    #[test]
    fn the_binding_is_what_was_promised() {
        let key = ContentKey::from_bytes(&mut { *b"0123456789abcdef" });
        let binding = KeyBinding::bind(&key, b"id\nfilm\n");
        assert_eq!(hex::encode(binding), "8d30897cc722b1ce5172bec30ec6f1a62f3469c5c7117b90223c82c768bdfd21");
        assert_eq!(KeyBinding::verify(&key, b"id\nfilm\n", &binding), Ok(()));
        assert_eq!(KeyBinding::verify(&key, b"id\nfilm2\n", &binding), Err(BindingMismatch));
        assert_eq!(KeyBinding::verify(&key, b"id\nfilm\n", &binding[..16]), Err(BindingMismatch));
        let other = ContentKey::from_bytes(&mut [8; 16]);
        assert_eq!(KeyBinding::verify(&other, b"id\nfilm\n", &binding), Err(BindingMismatch));
    }

    #[test]
    fn a_seal_holds_for_its_record_and_key_only() {
        let key = ContentKey::from_bytes(&mut [7; 16]);
        let seal = RecordSeal::seal(&key, b"record");
        assert_eq!(RecordSeal::verify(&key, b"record", &seal), Ok(()));
        assert_eq!(RecordSeal::verify(&key, b"Record", &seal), Err(SealMismatch));
        assert_eq!(RecordSeal::verify(&ContentKey::from_bytes(&mut [8; 16]), b"record", &seal), Err(SealMismatch));
        for bit in 0..256 {
            let mut forged = seal;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordSeal::verify(&key, b"record", &forged), Err(SealMismatch), "bit {bit}");
        }
        // Neither a truncated nor a padded seal passes.
        assert_eq!(RecordSeal::verify(&key, b"record", &seal[..31]), Err(SealMismatch));
        assert_eq!(RecordSeal::verify(&key, b"record", &[]), Err(SealMismatch));
        assert_eq!(RecordSeal::verify(&key, b"record", &[&seal[..], &[0]].concat()), Err(SealMismatch));
    }
}
