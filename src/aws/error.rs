//! What can go wrong before a service is asked.

/// AWS cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwsError {
    /// Neither the resource's name, the environment nor the profile says which region.
    #[error("no AWS region is known")]
    NoRegion,
    /// The system gives no threads or no event queue.
    #[error("the runtime for calls to AWS cannot be started: {0}")]
    Runtime(String),
    /// A region's name is not one.
    #[error("{0:?} is not the name of an AWS region")]
    BadRegion(String),
}

impl AwsError {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRegion => Some("set AWS_REGION, or name the key by its ARN, which holds the region"),
            _ => None,
        }
    }
}
