//! `keyrung aws policy`: prints least-privilege policies.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::aws::Arn;
use crate::aws::policy::{AtRest, Objects, Setup};
use crate::keys::{ContentId, ContextPreset, EncryptionContext};
use crate::storage::object::Location;

use super::super::error::CliError;
use super::super::output::Output;

/// Print the policies for the roles that package and serve, for the KMS key and for the bucket
///
/// Each holds the permissions that keyrung uses with these options and no others; the key can be used for the content's
/// encryption context only.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// Which one [default: all, as one JSON object]
    #[arg(value_enum)]
    which: Option<Which>,
    /// ARN of the KMS key that seals data keys
    #[arg(long, value_name = "ARN", value_parser = key_arn)]
    key: Option<Arn>,
    /// Content ids that the key may be used for; * stands for anything
    #[arg(long, default_value = "*", value_name = "PATTERN")]
    content_id: String,
    /// The context of a service instead: elastic-transcoder or mediaconvert
    #[arg(long, value_name = "NAME", conflicts_with = "content_id")]
    context_preset: Option<ContextPreset>,
    /// Where inputs are; may be given several times
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    input: Vec<Location>,
    /// Where packages are
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    out: Option<Location>,
    /// Where sealed keys are
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    key_store: Option<Location>,
    /// Encryption at rest that the bucket of --out enforces
    #[arg(long, value_enum, value_name = "s3|kms|dsse|c", hide_possible_values = true, requires = "out")]
    sse: Option<Sse>,
    /// ARN of the KMS key for --sse kms and dsse
    #[arg(long, value_name = "ARN", requires = "sse", value_parser = key_arn)]
    sse_key: Option<Arn>,
    /// ARN of the role that runs keyrung package, for the key policy
    #[arg(long, value_name = "ARN", default_value = "arn:aws:iam::ACCOUNT:role/keyrung-packager")]
    packager_role: String,
    /// ARN of the role that runs keyrung serve, for the key policy
    #[arg(long, value_name = "ARN", default_value = "arn:aws:iam::ACCOUNT:role/keyrung-key-server")]
    key_server_role: String,
}

/// Policies know a key by its own ARN only: an alias's, as a resource, means the alias, and lets nobody use the key.
fn key_arn(text: &str) -> Result<Arn, String> {
    match (text.parse::<crate::keys::kms::KmsKeyName>(), text.parse::<Arn>()) {
        (Ok(name), Ok(arn)) if name.is_key_arn() => Ok(arn),
        _ => {
            Err("a policy names a KMS key by its ARN, arn:aws:kms:REGION:ACCOUNT:key/ID, and not by an alias"
                .to_owned())
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// IAM policy of the role that packages
    Packager,
    /// IAM policy of the role that serves keys
    KeyServer,
    /// Key policy of the KMS key
    Key,
    /// Bucket policy of the bucket of --out
    Bucket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sse {
    /// SSE-S3
    S3,
    /// SSE-KMS
    Kms,
    /// DSSE-KMS
    Dsse,
    /// SSE-C
    C,
}

/// Prints them.
///
/// # Errors
/// Wrong usage.
pub fn run(args: &PolicyArgs, output: Output) -> Result<(), CliError> {
    let setup = args.setup()?;
    let key = || match &setup.key {
        Some(_) => Ok(setup.key_policy(&args.packager_role, &args.key_server_role)),
        None => Err(CliError::usage("a key policy needs --key ARN")),
    };
    let bucket =
        || setup.bucket_policy().ok_or_else(|| CliError::usage("a bucket policy needs --out s3://BUCKET/PREFIX"));
    let document = match args.which {
        Some(Which::Packager) => setup.packager(),
        Some(Which::KeyServer) => setup.key_server(),
        Some(Which::Key) => key()?,
        Some(Which::Bucket) => bucket()?,
        None => {
            let mut all = Map::new();
            all.insert("packager".to_owned(), setup.packager());
            all.insert("key_server".to_owned(), setup.key_server());
            all.extend(key().ok().map(|policy| ("key".to_owned(), policy)));
            all.extend(bucket().ok().map(|policy| ("bucket".to_owned(), policy)));
            Value::Object(all)
        }
    };
    output.json(&document);
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    output.text(&format!("{text}\n"));
    Ok(())
}

impl PolicyArgs {
    fn setup(&self) -> Result<Setup, CliError> {
        if self.key.is_none() && self.out.is_none() && self.key_store.is_none() && self.input.is_empty() {
            let error = CliError::usage("a policy of nothing");
            return Err(error.hint("name what is used: --key ARN, --input, --out and --key-store s3://BUCKET/PREFIX"));
        }
        let sse_key = || {
            let missing = || CliError::usage("a bucket policy for KMS needs --sse-key ARN");
            self.sse_key.clone().ok_or_else(missing)
        };
        let at_rest = match self.sse {
            None => None,
            Some(Sse::S3) => Some(AtRest::S3),
            Some(Sse::Kms) => Some(AtRest::Kms(sse_key()?)),
            Some(Sse::Dsse) => Some(AtRest::Dsse(sse_key()?)),
            Some(Sse::C) => Some(AtRest::Customer),
        };
        let context = match &self.context_preset {
            Some(preset) => pairs(&preset.context())?,
            None => {
                // The name of the pair is what the packager itself binds.
                let id: ContentId = "any".parse()?;
                let names = pairs(&EncryptionContext::of_content(&id))?;
                names.into_iter().map(|(name, _)| (name, self.content_id.clone())).collect()
            }
        };
        Ok(Setup {
            partition: self.key.as_ref().map_or("aws", Arn::partition).to_owned(),
            key: self.key.clone(),
            context,
            inputs: self.input.iter().map(objects).collect(),
            packages: self.out.as_ref().map(objects),
            key_store: self.key_store.as_ref().map(objects),
            at_rest,
        })
    }
}

fn objects(at: &Location) -> Objects {
    Objects { bucket: at.bucket().to_owned(), prefix: at.key().to_owned() }
}

fn pairs(context: &EncryptionContext) -> Result<Vec<(String, String)>, CliError> {
    let Value::Object(pairs) = json!(context) else {
        return Err(CliError::usage("a context that is no object"));
    };
    Ok(pairs.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned())).collect())
}
