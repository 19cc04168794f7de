//! Keys and ciphers: the data key, the IVs derived from it, AES-128-CBC of one stream and of many in lock-step, whole files
//! in CBC, CTR and GCM, and the checksums of what was made. Pure functions of bytes; the only thing asked of the system is
//! randomness.

pub mod cbc;
pub mod digest;
pub mod file;
pub mod iv;
pub mod key;
pub mod lanes;
pub mod seal;
