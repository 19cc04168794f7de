//! The manual: how keyrung is built, what it stores, what it promises, and how it is run.
//!
//! The README is for those who use the command for the first time. These pages are for those who operate it, review it or change it.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("formats.md")]
pub mod formats {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("batch.md")]
pub mod batch {}

#[doc = include_str!("players.md")]
pub mod players {}

#[doc = include_str!("tokens.md")]
pub mod tokens {}

#[doc = include_str!("server.md")]
pub mod server {}
