//! Whether the credentials at hand may do with a KMS key what keyrung does, found out with KMS's own dry run where it has one.

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;

use crate::keys::{EncryptionContext, KeyError, KeyProvider};

use super::failure::{Failure, Subject};
use super::{AwsKms, pairs, run};

impl AwsKms {
    /// Tries the permissions that packaging and serving need, in this context. A dry run tells what would be allowed (spec
    /// KMS-017) and makes nothing; only for one of `kms:Decrypt` a key is made, for there must be one, and thrown away.
    #[must_use]
    pub fn permissions(&self, context: &EncryptionContext) -> Vec<(&'static str, Result<(), KeyError>)> {
        let generate = self.try_generate(context).map_err(|failure| *failure.error);
        let may_generate = generate.is_ok();
        let mut tried = vec![("kms:GenerateDataKey", generate)];
        if may_generate {
            tried.push(("kms:Decrypt", self.try_decrypt(context)));
        }
        tried
    }

    fn try_generate(&self, context: &EncryptionContext) -> Result<(), Failure> {
        let (client, region) = self.client(self.key())?;
        let call = client
            .generate_data_key()
            .key_id(self.key().as_str())
            .key_spec(DataKeySpec::Aes128)
            .set_encryption_context(pairs(context))
            .set_grant_tokens(self.grants())
            .dry_run(true);
        let subject = Subject { key: self.key().as_str(), region: &region, data_key: "" };
        allowed(run(call.send(), subject).map(drop))
    }

    fn try_decrypt(&self, context: &EncryptionContext) -> Result<(), KeyError> {
        let (_, sealed) = self.generate(context)?;
        let tried = || {
            let (client, region) = self.client(self.key())?;
            let call = client
                .decrypt()
                .key_id(&sealed.key)
                .ciphertext_blob(Blob::new(sealed.blob.as_slice()))
                .set_encryption_context(pairs(context))
                .set_grant_tokens(self.grants())
                .dry_run(true);
            let subject = Subject { key: self.key().as_str(), region: &region, data_key: "of the check" };
            allowed(run(call.send(), subject).map(drop))
        };
        tried().map_err(|failure: Failure| *failure.error)
    }
}

/// KMS says of a dry run that would succeed that it was one. A server that knows no dry runs just does it.
fn allowed(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.code == "DryRunOperationException" => Ok(()),
        other => other,
    }
}
