//! Options for what goes to and comes from buckets: encryption at rest and memory.

use clap::{Args, ValueEnum};

use crate::limits;
use crate::package::input::Reader;
use crate::package::plan::Plan;
use crate::package::site::Destination;
use crate::storage::object::{BucketKey, CustomerKey, Encryption, bucket_of};

use super::error::CliError;

/// The variable that holds the key of SSE-C.
const CUSTOMER_KEY: &str = "KEYRUNG_SSE_C_KEY";

/// How what goes to and comes from buckets is handled.
#[derive(Debug, Clone, Args)]
pub struct BucketArgs {
    #[command(flatten)]
    sse: SseArgs,
    /// Memory for segments on their way to and from buckets, in MiB
    #[arg(long, default_value = "256", value_name = "MIB", value_parser = mebibytes, help_heading = "Buckets")]
    memory: u64,
}

/// How what is put into a bucket is encrypted at rest.
#[derive(Debug, Clone, Args)]
pub struct SseArgs {
    /// Encryption at rest that the bucket is asked for: SSE-S3, SSE-KMS, DSSE-KMS or SSE-C [default: as the bucket is set]
    #[arg(long, value_enum, value_name = "s3|kms|dsse|c", hide_possible_values = true, help_heading = "Buckets")]
    sse: Option<Mode>,
    /// KMS key for --sse kms and dsse [default: aws/s3]; for --sse c @FILE with the 32 bytes, base64 or hex, which
    /// KEYRUNG_SSE_C_KEY can hold instead
    #[arg(long, value_name = "KEY|@FILE", requires = "sse", help_heading = "Buckets")]
    sse_key: Option<String>,
    /// Use a bucket key with --sse kms: fewer calls of KMS
    #[arg(long, requires = "sse", help_heading = "Buckets")]
    sse_bucket_key: bool,
    /// Publish with --sse c all the same, for an archive: no player can send the key
    #[arg(long, help_heading = "Buckets")]
    allow_unplayable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// SSE-S3
    S3,
    /// SSE-KMS
    Kms,
    /// DSSE-KMS
    Dsse,
    /// SSE-C
    C,
}

fn mebibytes(text: &str) -> Result<u64, String> {
    let bytes = text.parse::<u64>().ok().and_then(|mebibytes| mebibytes.checked_mul(1 << 20));
    bytes
        .filter(|bytes| *bytes >= limits::S3_LEAST_MEMORY)
        .ok_or_else(|| format!("{} MiB is the least", limits::S3_LEAST_MEMORY >> 20))
}

impl BucketArgs {
    /// Bytes of memory.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// DEST, with the encryption that was asked for.
    ///
    /// # Errors
    /// Wrong usage: encryption of a folder, options that do not go together, a key that is none.
    pub fn applied(&self, dest: &Destination) -> Result<Destination, CliError> {
        match dest {
            Destination::Folder(_) if self.sse.sse.is_some() => {
                Err(CliError::usage("--sse is for buckets, and DEST is a folder"))
            }
            Destination::Folder(_) => Ok(dest.clone()),
            Destination::Bucket { at, .. } => {
                Ok(Destination::Bucket { at: at.clone(), encryption: self.sse.encryption()? })
            }
        }
    }
}

impl SseArgs {
    /// What the options ask for.
    ///
    /// # Errors
    /// Wrong usage: options that do not go together, a key that is none.
    pub fn encryption(&self) -> Result<Encryption, CliError> {
        self.sse.map_or(Ok(Encryption::Bucket), |mode| self.of_mode(mode))
    }

    fn of_mode(&self, mode: Mode) -> Result<Encryption, CliError> {
        if self.sse_bucket_key && mode != Mode::Kms {
            return Err(CliError::usage("--sse-bucket-key goes with --sse kms only"));
        }
        let key = || match &self.sse_key {
            Some(key) if key.starts_with('@') || key.is_empty() || key.chars().any(char::is_control) => {
                Err(CliError::usage("--sse-key takes the id, alias or ARN of a KMS key here"))
            }
            key => Ok(key.clone()),
        };
        match mode {
            Mode::S3 if self.sse_key.is_some() => {
                Err(CliError::usage("--sse s3 has no key: --sse-key is for kms, dsse and c"))
            }
            Mode::S3 => Ok(Encryption::S3),
            Mode::Kms => {
                let bucket_key = if self.sse_bucket_key { BucketKey::Use } else { BucketKey::Bucket };
                Ok(Encryption::Kms { key: key()?, bucket_key })
            }
            Mode::Dsse => Ok(Encryption::Dsse { key: key()? }),
            Mode::C if !self.allow_unplayable => {
                let error = CliError::usage("with --sse c no player could fetch the package: none can send the key");
                Err(error.hint("use --sse kms, or for an archive that is not played --allow-unplayable"))
            }
            Mode::C => self.customer_key().map(Encryption::Customer),
        }
    }

    /// Never from the command line itself: every user of the machine can read that.
    fn customer_key(&self) -> Result<CustomerKey, CliError> {
        let bytes = match self.sse_key.as_deref().map(|text| text.strip_prefix('@')) {
            Some(Some(file)) => std::fs::read(file).map_err(|e| CliError::usage(format!("{file}: {e}")))?,
            Some(None) => return Err(CliError::usage("--sse-key takes @FILE with --sse c, never the key itself")),
            None => match std::env::var(CUSTOMER_KEY) {
                Ok(text) => text.into_bytes(),
                Err(_) => {
                    let error = CliError::usage("--sse c needs a key");
                    return Err(error
                        .hint(format!("put it into a file and name it with --sse-key @FILE, or into {CUSTOMER_KEY}")));
                }
            },
        };
        let bytes = zeroize::Zeroizing::new(bytes);
        CustomerKey::read(&bytes)
            .ok_or_else(|| CliError::usage("the key of --sse c is not 32 bytes, raw, in base64 or in hexadecimal"))
    }
}

/// The region of the bucket that a job has to do with: DEST's or, where DEST is a folder, the first input's.
///
/// # Errors
/// When the bucket cannot be asked.
pub fn region(dest: &Destination, plan: &Plan) -> Result<Option<String>, CliError> {
    let of_input = || {
        plan.inputs.iter().find_map(|input| match &input.reader {
            Reader::File { input, .. } => input.region().map(str::to_owned),
            Reader::Pipe(_) => None,
        })
    };
    match dest {
        Destination::Bucket { at, .. } => Ok(bucket_of(at)?.region().map(str::to_owned)),
        Destination::Folder(_) => Ok(of_input()),
    }
}
