//! `keyrung aws check`: tries the permissions for real.

use clap::Args;
use serde_json::json;

use crate::keys::kms::AwsKms;
use crate::keys::{ContentId, EncryptionContext, KeyId, ProviderName};
use crate::storage::StorageError;
use crate::storage::object::{Encryption, Location, check};

use super::super::bucket_args::SseArgs;
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::output::Output;
use super::super::table::{Side, Table};

/// Try the permissions for real and say what is missing
///
/// The KMS key is asked with dry runs; below each prefix an object of its own is put, read, looked for and removed. Nothing else
/// is touched. Exit code 4 when the key, 5 when a bucket refuses something that packaging needs.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The KMS key: aws-kms:KEY
    #[arg(long, value_name = "PROVIDER")]
    key_provider: Option<ProviderName>,
    /// The content id in the encryption context
    #[arg(long, value_name = "ID", default_value = "keyrung-check")]
    content_id: ContentId,
    /// Where packages are
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    out: Option<Location>,
    /// Where sealed keys are
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    key_store: Option<Location>,
    #[command(flatten)]
    sse: SseArgs,
}

/// One permission, and what was found.
struct Found {
    what: String,
    on: String,
    missing: Option<CliError>,
    /// Whether packaging needs it.
    needed: bool,
}

/// Tries them.
///
/// # Errors
/// When something that is needed is missing, or nothing was named.
pub fn run(args: &CheckArgs, output: Output) -> Result<(), CliError> {
    let mut found = Vec::new();
    match &args.key_provider {
        None => {}
        Some(ProviderName::Local) => return Err(CliError::usage("--key-provider local needs no permission of AWS's")),
        Some(ProviderName::AwsKms(key)) => {
            let provider = AwsKms::new(key.clone(), Vec::new())?;
            for (what, outcome) in provider.permissions(&EncryptionContext::of_content(&args.content_id)) {
                let missing = outcome.err().map(CliError::from);
                found.push(Found { what: what.to_owned(), on: key.to_string(), missing, needed: true });
            }
        }
    }
    let encryption = args.sse.encryption()?;
    for (at, encryption) in [(&args.out, &encryption), (&args.key_store, &Encryption::Bucket)] {
        let Some(at) = at else { continue };
        // Nobody else's object can have this name.
        let token = KeyId::generate()?.to_string();
        for tried in check(at, encryption, &token)? {
            let needed = !tried.what.starts_with("s3:DeleteObject");
            let missing = tried.outcome.err().map(|error: StorageError| CliError::from(error));
            found.push(Found { what: tried.what.to_owned(), on: tried.on, missing, needed });
        }
    }
    if found.is_empty() {
        let error = CliError::usage("nothing to check");
        return Err(
            error.hint("name what is used: --key-provider aws-kms:KEY, --out and --key-store s3://BUCKET/PREFIX")
        );
    }
    tell(&found, output);
    let worst = found.into_iter().filter(|one| one.needed).filter_map(|one| Some((one.what, one.missing?))).next();
    match worst {
        None => Ok(()),
        Some((what, error)) => {
            let exit = if error.exit == Exit::Usage { Exit::Storage } else { error.exit };
            let verdict = if exit == Exit::Temporary { "could not be tried" } else { "is missing" };
            Err(CliError { message: format!("{what} {verdict}: {}", error.message), exit, ..error })
        }
    }
}

fn tell(found: &[Found], output: Output) {
    let mut table = Table::new(&[("permission", Side::Left), ("on", Side::Left), ("", Side::Left)]);
    for one in found {
        let state = one.missing.as_ref().map_or("ok", |error| error.message.as_str());
        table.row(vec![one.what.clone(), one.on.clone(), state.to_owned()]);
    }
    output.text(&table.render());
    // With a failure the error is the one document.
    if found.iter().all(|one| one.missing.is_none() || !one.needed) {
        let all = found.iter().map(|one| json!({ "permission": one.what, "on": one.on, "ok": one.missing.is_none() }));
        output.json(&json!({ "permissions": all.collect::<Vec<_>>() }));
    }
}
