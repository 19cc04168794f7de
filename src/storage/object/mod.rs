//! Amazon S3, and stores that speak as it does: inputs, packages and key stores whose names begin with `s3://`.
//!
//! Calls are made on the one runtime of [`crate::aws`]; whoever calls a method here waits for it in a thread of its own.

mod check;
mod client;
mod credentials;
mod documents;
mod encryption;
mod error;
mod location;
mod reader;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

pub use check::{Tried, check};
pub use client::{Bucket, Head, Landed, Listed, bucket_of};
pub use documents::ObjectDocuments;
pub use encryption::{BucketKey, CustomerKey, Encryption};
pub use location::{Location, NotALocation};
pub use reader::{Blocks, ObjectReader};
pub use sweep::{Held, Stale, stale};
pub use upload::{FirstRun, ObjectFile, Upload, generation_name, is_generation};
