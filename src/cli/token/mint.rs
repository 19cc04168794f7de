//! `keyrung token mint`: a JSON Web Token.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::keys::{ContentId, KeyId};
use crate::server::authorizers::jwt::Algorithm;
use crate::server::authorizers::jwt::mint::{Mint, MintError, NewClaims};
use crate::server::authorizers::secret::SecretError;
use crate::server::authorizers::settings::JwtSettings;
use crate::server::authorizers::{Life, Settings};
use crate::storage::StorageError;

use super::{authorizers, refused, shown, times};

/// Make a JSON Web Token that opens the keys of contents
///
/// Prints the token. A player shows it as Authorization: Bearer TOKEN, as ?token=TOKEN, or as the cookie keyrung_token.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung token mint --config server.toml --content film --life 1h
  keyrung token mint --private-key-file ec.pem --kid 2026a --issuer https://example.com --audience keyrung --content film")]
pub struct MintArgs {
    /// The key server's configuration: its first authorizer of type jwt says issuer, audience and, for HS256, the secret
    #[arg(long, value_name = "FILE", required_unless_present_all = ["issuer", "audience"])]
    config: Option<PathBuf>,
    /// Sign with HS256 and the secret in this file
    #[arg(long, value_name = "FILE", conflicts_with = "private_key_file")]
    secret_file: Option<PathBuf>,
    /// Sign with the private key in this file (PKCS#8 PEM: Ed25519, P-256 or RSA)
    #[arg(long, value_name = "FILE", required_unless_present_any = ["config", "secret_file"])]
    private_key_file: Option<PathBuf>,
    /// PS256 instead of RS256 for an RSA key; for others the algorithm that the key has anyway
    #[arg(long, value_name = "NAME", requires = "private_key_file")]
    algorithm: Option<Algorithm>,
    /// The key's id, for the token's header [default: the configuration's, where only one key fits]
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    /// The claim iss
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// The claim aud
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
    /// The claim sub: who it is for. Rate limits and logs go by it
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Open the keys of this content; may be given several times
    #[arg(long, value_name = "ID", required_unless_present = "key_id")]
    content: Vec<ContentId>,
    /// Open this key; may be given several times. With --content, only these keys of the contents
    #[arg(long, value_name = "KEY_ID")]
    key_id: Vec<KeyId>,
    /// How long it is good, such as 30s, 10m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h")]
    life: Life,
}

/// Makes a token.
///
/// # Errors
/// When the configuration or a key cannot be read or used.
pub fn run(args: MintArgs, output: Output) -> Result<(), CliError> {
    let settings = args.config.as_ref().map(|config| {
        let found = authorizers(config)?.into_iter().find_map(|one| match one {
            Settings::Jwt(jwt) => Some(jwt),
            _ => None,
        });
        found.ok_or_else(|| CliError::usage(format!("{} has no authorizer of type jwt", config.display())))
    });
    let settings = settings.transpose()?;
    let (now, end) = times(args.life, settings.as_ref().map(|settings| settings.maximum_life))?;
    let mint = mint(&args, settings.as_ref())?;
    let of = |given: &Option<String>, configured: fn(&JwtSettings) -> &String| {
        given.clone().or_else(|| settings.as_ref().map(|settings| configured(settings).clone())).unwrap_or_default()
    };
    let claims = NewClaims {
        iss: of(&args.issuer, |settings| &settings.issuer),
        aud: of(&args.audience, |settings| &settings.audience),
        exp: end,
        iat: now,
        sub: args.subject,
        jti: Some(KeyId::generate()?.to_string()),
        contents: (!args.content.is_empty()).then_some(args.content),
        kids: (!args.key_id.is_empty()).then_some(args.key_id),
    };
    let token = mint.sign(&claims)?;
    output.json(&json!({
        "token": token, "algorithm": mint.algorithm().name(), "kid": mint.kid(), "expires": shown(end), "claims": claims,
    }));
    output.text(&format!("{token}\n"));
    Ok(())
}

/// What signs: the file that was named, or the configuration's secret.
fn mint(args: &MintArgs, settings: Option<&JwtSettings>) -> Result<Mint, CliError> {
    let mint = match (&args.secret_file, &args.private_key_file, settings) {
        (Some(file), ..) => Mint::from_secret(file)?,
        (None, Some(file), _) => Mint::from_private_key(file, args.algorithm)?,
        (None, None, settings) => {
            let keys = settings.into_iter().flat_map(|settings| &settings.key);
            let mut fitting = keys.filter(|key| key.algorithm == Algorithm::HS256);
            let key = fitting.find(|key| args.kid.is_none() || key.kid == args.kid);
            let key = key.ok_or_else(|| {
                CliError::usage("the configuration has no such secret for HS256")
                    .hint("--private-key-file names the private key of one of its public keys")
            })?;
            return Ok(Mint::from_secret(&key.file)?.with_kid(key.kid.clone()));
        }
    };
    let keys = settings.into_iter().flat_map(|settings| &settings.key);
    let mut ids = keys.filter(|key| key.algorithm == mint.algorithm()).map(|key| key.kid.clone());
    let configured = match (ids.next(), ids.next()) {
        (Some(only), None) => only,
        _ => None,
    };
    Ok(mint.with_kid(args.kid.clone().or(configured)))
}

impl From<MintError> for CliError {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Secret(error) => error.into(),
            MintError::Storage(error) => of_storage(error),
            MintError::Key { .. } => refused(error).hint("openssl genpkey -algorithm ed25519 makes one"),
            other => refused(other),
        }
    }
}

impl From<SecretError> for CliError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Storage(error) => of_storage(error),
            SecretError::Short { .. } => refused(error).hint("openssl rand -hex 32 makes one"),
            SecretError::Pem { .. } => refused(error),
        }
    }
}

/// A secret that others can read is no secret.
fn of_storage(error: StorageError) -> CliError {
    match error {
        StorageError::Insecure { .. } => CliError { hint: error.hint(), ..refused(&error) },
        other => other.into(),
    }
}
