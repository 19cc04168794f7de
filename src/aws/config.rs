//! The configuration of calls to AWS: credentials, region, endpoints, retries and deadlines.
//!
//! Credentials come from the chain that every AWS tool has: environment, profile (with SSO, assumed roles and
//! `credential_process`), web identity, ECS and EKS, and the instance's metadata.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};

use crate::aws::{AwsError, block_on};
use crate::limits::{AWS_ATTEMPT_TIMEOUT, AWS_ATTEMPTS, AWS_CALL_TIMEOUT, AWS_CONNECT_TIMEOUT};

/// The configuration for calls to `region`, or without one to the region that environment, profile or the instance's
/// metadata name. It is loaded once for the process; configurations of several regions share credentials.
///
/// # Errors
/// [`AwsError::NoRegion`], [`AwsError::BadRegion`], [`AwsError::Runtime`].
pub fn load(region: Option<&str>) -> Result<SdkConfig, AwsError> {
    static LOADED: Mutex<BTreeMap<Option<String>, SdkConfig>> = Mutex::new(BTreeMap::new());
    if let Some(name) = region.filter(|name| !super::region::is_name(name)) {
        return Err(AwsError::BadRegion(name.to_owned()));
    }
    let wanted = region.map(str::to_owned);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = loaded.get(&wanted) {
        return Ok(config.clone());
    }
    let config = match (&wanted, loaded.values().next()) {
        (Some(name), Some(other)) => other.to_builder().region(Region::new(name.clone())).build(),
        _ => block_on(read(wanted.clone()))?,
    };
    if config.region().is_none() {
        return Err(AwsError::NoRegion);
    }
    loaded.insert(wanted, config.clone());
    Ok(config)
}

async fn read(region: Option<String>) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(AWS_CONNECT_TIMEOUT)
        .operation_attempt_timeout(AWS_ATTEMPT_TIMEOUT)
        .operation_timeout(AWS_CALL_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
    // Whoever has set this for all AWS tools means this one too.
    if ["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"].iter().all(|name| std::env::var_os(name).is_none()) {
        loader = loader.retry_config(RetryConfig::standard().with_max_attempts(AWS_ATTEMPTS));
    }
    if let Ok(name) = AppName::new("keyrung") {
        loader = loader.app_name(name);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}

/// The region that this client is set to, by environment or profile; the instance's metadata is not asked.
///
/// # Errors
/// [`AwsError::Runtime`].
pub fn client_region() -> Result<Option<String>, AwsError> {
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    Ok(block_on(chain.region())?.map(|region| region.to_string()))
}

/// The endpoint that the user has set for a service (`S3`, `KMS`), by `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL` or the
/// profile; None for the service's own. The KMS client finds it by itself.
#[must_use]
pub fn endpoint(config: &SdkConfig, service: &str) -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    set(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| config.endpoint_url().map(str::to_owned))
}
