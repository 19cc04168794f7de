//! What all calls to AWS share: the runtime that they are made on, the configuration, names of resources.
//!
//! Nothing here starts before the first call: a local job has no runtime, reads no AWS file and asks no metadata service.

pub mod arn;
pub mod config;
pub mod error;
pub mod patience;
pub mod policy;
pub mod region;
pub mod runtime;

pub use arn::Arn;
pub use config::{client_region, endpoint, load};
pub use error::AwsError;
pub use patience::Patience;
pub use runtime::block_on;
