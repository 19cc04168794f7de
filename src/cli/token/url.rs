//! `keyrung token url`: a signed URL, or a signed cookie.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::keys::ContentId;
use crate::server::authorizers::path::PathPattern;
use crate::server::authorizers::secret::Secret;
use crate::server::authorizers::signed::{PARAMETER, Signer, Terms, network_of};
use crate::server::authorizers::{Life, Settings};
use ipnet::IpNet;

use super::{authorizers, shown, times};

/// Sign a URL, or make a signed cookie
///
/// Prints the URL with its signature. The host is not part of what is signed. A URL that ends in /* stands for all beneath it: what
/// is printed is the parameter, which fits any of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung token url https://keys.example.com/v1/keys/3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f --secret-file url.secret
  keyrung token url 'https://video.example.com/film/*' --config server.toml --life 4h --cookie")]
pub struct UrlArgs {
    /// The URL, or only its path
    #[arg(value_name = "URL")]
    url: String,
    /// The key server's configuration: the first secret of its first authorizer of type signed is taken
    #[arg(long, value_name = "FILE", required_unless_present = "secret_file")]
    config: Option<PathBuf>,
    /// Sign with the secret in this file
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    secret_file: Option<PathBuf>,
    /// The secret's id in the server's configuration
    #[arg(long, value_name = "ID", default_value = "1", conflicts_with = "config")]
    secret_id: String,
    /// How long it is good, such as 30s, 10m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h")]
    life: Life,
    /// Open the keys of this content alone; needed where the path is neither a key's nor a package's
    #[arg(long, value_name = "ID")]
    content: Option<ContentId>,
    /// Good only from this network: a CIDR, or an address, which stands for its /24 or, of IPv6, its /56
    #[arg(long, value_name = "CIDR", value_parser = network)]
    client_network: Option<IpNet>,
    /// Print the value of a Set-Cookie field instead
    #[arg(long)]
    cookie: bool,
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(network_of);
    address.or_else(|_| text.parse()).map_err(|_| "a network is 203.0.113.0/24, 2001:db8::/56 or an address".into())
}

/// Signs.
///
/// # Errors
/// When the configuration or the secret cannot be read or used, or the signature would open nothing.
pub fn run(args: UrlArgs, output: Output) -> Result<(), CliError> {
    let target = Target::parse(&args.url)?;
    let (signer, cookie, maximum) = signer(&args)?;
    let (_, expires) = times(args.life, maximum)?;
    let terms = Terms { path: target.path, expires, content: args.content, network: args.client_network };
    if !terms.opens_something() {
        return Err(CliError::usage(format!("a signature for {} alone opens nothing", terms.path))
            .hint("--content says whose keys it opens"));
    }
    let value = signer.sign(&terms);
    let parameter = format!("{PARAMETER}={value}");
    // Where a browser sends the cookie: beneath the path that it is for, so that cookies of several packages do not meet.
    let (PathPattern::Exact(path) | PathPattern::Beneath(path)) = &terms.path;
    let secure = if target.before_path.starts_with("http:") { "" } else { "; Secure" };
    let seconds = args.life.get().as_secs();
    let set_cookie = format!("{cookie}={value}; Path={path}; Max-Age={seconds}{secure}; HttpOnly; SameSite=Lax");
    let url = match &terms.path {
        PathPattern::Exact(path) => {
            let query = target.query.map_or_else(String::new, |query| format!("{query}&"));
            Some(format!("{}{path}?{query}{parameter}", target.before_path))
        }
        PathPattern::Beneath(_) => None,
    };
    output.json(&json!({
        "url": url, "parameter": parameter, "set_cookie": set_cookie, "path": terms.path.to_string(),
        "content_id": terms.content, "client_network": terms.network.map(|network| network.trunc().to_string()),
        "expires": shown(expires),
    }));
    let text = if args.cookie { set_cookie } else { url.unwrap_or(parameter) };
    output.text(&format!("{text}\n"));
    Ok(())
}

/// The secret, the cookie's name, and the longest life that the server takes.
fn signer(args: &UrlArgs) -> Result<(Signer, String, Option<Life>), CliError> {
    let (file, id, cookie, maximum) = match (&args.secret_file, &args.config) {
        (Some(file), _) => (file.clone(), args.secret_id.clone(), PARAMETER.to_owned(), None),
        (None, Some(config)) => {
            let signed = authorizers(config)?.into_iter().find_map(|one| match one {
                Settings::Signed(signed) => Some(signed),
                _ => None,
            });
            let none =
                || CliError::usage(format!("{} has no authorizer of type signed with a secret", config.display()));
            let signed = signed.ok_or_else(none)?;
            let secret = signed.secret.into_iter().next().ok_or_else(none)?;
            (secret.file, secret.id, signed.cookie, Some(signed.maximum_life))
        }
        // The arguments need one of them.
        (None, None) => return Err(CliError::usage("--secret-file or --config is needed")),
    };
    let signer = Signer::new(id, Secret::read(&file)?).map_err(|error| CliError::usage(error.to_string()))?;
    Ok((signer, cookie, maximum))
}

/// A URL taken apart without changing a byte: what is signed has to be what the player sends.
struct Target<'a> {
    /// Scheme and authority; nothing of a path alone.
    before_path: &'a str,
    path: PathPattern,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Result<Self, CliError> {
        let wrong = |what: &str| CliError::usage(format!("{url:?} {what}"));
        let (before_path, rest) = match url.split_once("://") {
            Some((scheme, rest)) if matches!(scheme, "http" | "https") => {
                let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                url.split_at(scheme.len() + 3 + host)
            }
            _ if url.starts_with('/') => ("", url),
            _ => return Err(wrong("is neither an http or https URL nor a path that begins with /")),
        };
        if !before_path.is_ascii() || before_path.contains(['@', ' ', '\\', '"']) || before_path.ends_with("//") {
            return Err(wrong("has no plain host"));
        }
        if rest.contains('#') {
            return Err(wrong("has a fragment, which is never sent"));
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        if query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(PARAMETER))) {
            return Err(wrong("is signed already"));
        }
        let path = path.parse().map_err(|error| wrong(&format!("cannot be signed: {error}")))?;
        if matches!(path, PathPattern::Beneath(_)) && query.is_some() {
            return Err(wrong("has a query after the *"));
        }
        Ok(Self { before_path, path, query: query.filter(|query| !query.is_empty()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<(&str, String, Option<&str>)> {
        let target = Target::parse(url).ok()?;
        Some((target.before_path, target.path.to_string(), target.query))
    }

    #[test]
    fn urls_are_taken_apart_unchanged() {
        assert_eq!(
            parsed("https://a.example:8443/f/x.m3u8"),
            Some(("https://a.example:8443", "/f/x.m3u8".into(), None))
        );
        assert_eq!(parsed("http://[::1]:80/f?a=b&c"), Some(("http://[::1]:80", "/f".into(), Some("a=b&c"))));
        assert_eq!(parsed("/f/*"), Some(("", "/f/*".into(), None)));
        assert_eq!(parsed("/f%20g/"), Some(("", "/f%20g/".into(), None)));
        for bad in [
            "",
            "f",
            "ftp://a/f",
            "https://",
            "https:///f",
            "https://a",
            "https://u@a/f",
            "https://a/f#x",
            "https://a/f/../g",
            "https://a//f",
            "https://a/f g",
            "https://a/f?kr-signed=x",
            "https://a/f/*?x",
            "javascript:alert(1)",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_stands_for_its_network() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.0/24"),
            ("203.0.113.7/32", "203.0.113.7/32"),
            ("2001:db8:1:2ff::7", "2001:db8:1:200::/56"),
            ("2001:db8::/48", "2001:db8::/48"),
        ] {
            assert_eq!(network(text).unwrap().trunc().to_string(), expected);
        }
        assert!(network("203.0.113").is_err());
    }
}
