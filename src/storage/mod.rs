//! Durable storage: the write ritual, small named documents, and the publishing of whole folders and groups of objects.
//!
//! Nothing in here knows what a key is. [`documents::Documents`] is the joint behind which an object store takes its place;
//! [`staging::Staging`] builds a folder out of sight and puts it in place in one step.

pub mod budget;
pub mod documents;
pub mod durable;
pub mod error;
pub mod large;
#[cfg(feature = "aws")]
pub mod object;
mod occupied;
mod private;
pub mod staging;
mod tree;

pub use budget::{Budget, Permit};
pub use documents::{Documents, LocalDocuments};
pub use durable::Durability;
pub use error::StorageError;
pub use large::LargeFile;
pub use staging::{Replace, Staging, full_name};
