//! One ladder, from inputs to commit record.

pub mod build;
mod claim;
pub mod conductor;
pub mod decrypt;
pub mod engine;
pub mod error;
pub mod input;
pub mod job;
pub mod outcome;
pub mod pipe;
pub mod plan;
pub mod progress;
pub mod published;
pub mod queue;
pub mod record;
pub mod sink;
pub mod site;
pub mod stdin;
pub mod uri;

pub use error::PackageError;
