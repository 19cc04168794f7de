//! AWS's chain of credentials for `object_store`, which by itself knows neither profiles nor SSO nor credential processes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

/// Credentials are asked for again this long before they expire: longer than a request with all its retries may take, which
/// go on with the credentials that it began with.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long credentials without an expiry are kept.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// Credentials from the chain, kept until they are about to expire.
#[derive(Debug)]
pub(super) struct Chain {
    provider: SharedCredentialsProvider,
    last: Mutex<Option<(Arc<AwsCredential>, SystemTime)>>,
}

impl Chain {
    pub(super) fn new(provider: SharedCredentialsProvider) -> Self {
        Self { provider, last: Mutex::new(None) }
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // Held while the chain is asked: of many requests at once one asks.
        let mut last = self.last.lock().await;
        let now = SystemTime::now();
        if let Some((credential, until)) = last.as_ref()
            && now < *until
        {
            return Ok(Arc::clone(credential));
        }
        let found = self
            .provider
            .provide_credentials()
            .await
            .map_err(|error| object_store::Error::Unauthenticated { path: String::new(), source: Box::new(error) })?;
        let until = found.expiry().map_or(now + KEPT, |expiry| expiry.checked_sub(MARGIN).unwrap_or(now));
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        *last = Some((Arc::clone(&credential), until));
        Ok(credential)
    }
}
