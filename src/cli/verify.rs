//! `keyrung verify`: proves a package right.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use zeroize::Zeroizing;

use crate::crypto::key::ContentKey;
use crate::keys::{Access, KeyError, KeyId, KeyStore, home};
use crate::storage::durable;
use crate::verify::fetch::Requests;
use crate::verify::http::Reach;
use crate::verify::keys::KeySource;
use crate::verify::{Options, Profile, Report, Sample, Severity, VerifyError, Watch, html, rule, verify};

use super::args::Global;
use super::error::CliError;
use super::exit::Exit;
use super::key_access::{KeyStoreArgs, OpenArgs};
use super::output::{Output, Volume};
use super::progress::Shown;
use super::signal;
use super::table::{self, Side, Table};

/// Prove a ladder right: playlists, keys, every segment
///
/// TARGET is any HLS package, keyrung's or another's: a folder, a playlist, a single segment, an S3 prefix, or the URL of a playlist. Every
/// segment is fetched, decrypted and demultiplexed, and compared with what the playlists say. Each finding has a code, a
/// place, a meaning, a way to mend it, and the clause that it comes from.
///
/// Keys are taken from --key-file or --key-hex-env, else from the key store, else from the key's URI.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung verify film
  keyrung verify https://cdn.example/film/master.m3u8 --header 'Authorization: Bearer TOKEN'
  keyrung verify film --key-file film.key --profile apple --html report.html
  keyrung verify film --json | jq '.findings[] | select(.severity == \"error\") | .code'
  keyrung verify film --sample 1/20

Exit codes: 0 no errors (there may be warnings), 6 errors were found, 3 no such target, 4 no such key, 7 the server does \
not answer.")]
pub struct VerifyArgs {
    /// Folder, playlist, segment, s3:// name, or http(s) URL
    #[arg(value_name = "TARGET", required_unless_present = "list_rules")]
    target: Option<String>,
    /// Whose rules: the standard's and what players need, or Apple's authoring specification on top
    #[arg(long, value_enum, default_value_t, value_name = "rfc|apple", hide_possible_values = true)]
    profile: ProfileArg,
    /// Look at part N of T equal parts of the segments only
    #[arg(long, value_name = "N/T", value_parser = sample)]
    sample: Option<Sample>,
    /// Write a page with the verdict, the findings and pictures of the ladder
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Send this header to the target's server, to the key servers that a local or S3 playlist names, and to --key-origin;
    /// may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Send this cookie likewise
    #[arg(long, value_name = "NAME=VALUE")]
    cookie: Vec<String>,
    /// Another server that --header and --cookie may be sent to: scheme, host and port of its URLs
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    key_origin: Vec<String>,
    /// The key: a file of 16 raw bytes
    #[arg(long, value_name = "FILE", conflicts_with = "key_hex_env")]
    key_file: Option<PathBuf>,
    /// The key: 32 hexadecimal digits in this environment variable
    #[arg(long, value_name = "VARIABLE")]
    key_hex_env: Option<String>,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
    /// Ask loopback, private and link-local addresses too
    #[arg(long)]
    allow_private: bool,
    /// The longest that one request may take, its body included
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Segments that are read at the same time [default: all cores for a folder, 8 for a URL]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// List every rule: id, severity under rfc and apple, source, meaning, and how to mend what breaks it
    #[arg(long)]
    list_rules: bool,
}

/// Whose rules.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ProfileArg {
    /// RFC 8216 and its successor
    #[default]
    Rfc,
    /// Apple's authoring specification on top
    Apple,
}

fn sample(text: &str) -> Result<Sample, String> {
    let parsed =
        text.split_once('/').and_then(|(part, of)| Some(Sample { part: part.parse().ok()?, of: of.parse().ok()? }));
    parsed.filter(|sample| sample.part <= sample.of).ok_or_else(|| "a sample is N/T, with N from 1 to T".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let (name, value) = (name.trim(), value.trim());
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) || value.chars().any(char::is_control) {
        return Err("a header is NAME: VALUE".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn origin(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("an origin is http:// or https:// and a host".to_owned());
    }
    Ok(url.origin().ascii_serialization())
}

/// Runs the command.
///
/// # Errors
/// When the target, the key or the page's file is not to be had; findings are no errors of the command.
pub fn run(args: &VerifyArgs, global: &Global) -> Result<Exit, CliError> {
    let output = global.output();
    let Some(target) = args.target.as_deref().filter(|_| !args.list_rules) else {
        list_rules(output);
        return Ok(Exit::Done);
    };
    let cancel = signal::cancel_flag()?;
    let progress = Shown::new(global);
    let given = args.given_key()?;
    let store = Store::open(args, output)?;
    let lookup = |id: &KeyId| store.find(id);
    let remote = target.contains("://");
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = Options {
        profile: match args.profile {
            ProfileArg::Rfc => Profile::Rfc,
            ProfileArg::Apple => Profile::Apple,
        },
        sample: args.sample,
        requests: Requests {
            headers: args.headers(),
            trusted: args.key_origin.clone(),
            reach: if args.allow_private { Reach::Private } else { Reach::Public },
            timeout: Duration::from_secs(args.timeout),
        },
        keys: KeySource { given, store: &lookup },
        jobs: args
            .jobs
            .unwrap_or(if remote { NonZeroUsize::new(8).unwrap_or(cores) } else { cores })
            .min(NonZeroUsize::new(64).unwrap_or(cores)),
        cancel: &cancel,
    };
    let report = verify(target, options, &progress);
    progress.finish();
    let report = report?;
    if let Some(path) = &args.html {
        let page = html::page(&report);
        fs::write(path, page).map_err(|error| CliError::new(Exit::Storage, format!("{}: {error}", path.display())))?;
    }
    output.text(&text(&report, output.volume()));
    output.json(&report.json());
    Ok(if report.passes() { Exit::Done } else { Exit::Findings })
}

impl VerifyArgs {
    fn headers(&self) -> Vec<(String, String)> {
        let mut headers = self.header.clone();
        if !self.cookie.is_empty() {
            headers.push(("Cookie".to_owned(), self.cookie.join("; ")));
        }
        headers
    }

    fn given_key(&self) -> Result<Option<ContentKey>, CliError> {
        let mut key = Zeroizing::new([0; ContentKey::LEN]);
        if let Some(path) = &self.key_file {
            let refuse = |what: &str| CliError::new(Exit::Key, format!("{}: {what}", path.display()));
            let bytes = Zeroizing::new(fs::read(path).map_err(|error| refuse(&error.to_string()))?);
            if bytes.len() != key.len() {
                return Err(refuse("a key file is 16 raw bytes"));
            }
            key.copy_from_slice(&bytes);
        } else if let Some(name) = &self.key_hex_env {
            let refuse = |what: &str| CliError::new(Exit::Key, format!("the variable {name} {what}"));
            let text = Zeroizing::new(std::env::var(name).map_err(|_| refuse("is not set"))?);
            hex::decode_to_slice(text.trim(), key.as_mut_slice())
                .map_err(|_| refuse("does not hold 32 hexadecimal digits"))?;
        } else {
            return Ok(None);
        }
        Ok(Some(ContentKey::from_bytes(&mut key)))
    }
}

/// The key store and the keyring, as far as there are any.
struct Store {
    store: Option<KeyStore>,
    access: Access,
    output: Output,
}

impl Store {
    fn open(args: &VerifyArgs, output: Output) -> Result<Self, CliError> {
        let store = args.key_store.open()?;
        // A keyring that others can read is refused.
        if let Some(home) = home::resolve().ok().filter(|home| home.exists()) {
            durable::check_private(&home).map_err(KeyError::from)?;
        }
        Ok(Self { store, access: args.open.access()?, output })
    }

    /// A key that cannot be opened is as good as none: the report says that it was not had.
    fn find(&self, id: &KeyId) -> Option<ContentKey> {
        match self.store.as_ref()?.get(id).and_then(|sealed| self.access.unseal(&sealed)) {
            Ok(key) => Some(key),
            Err(KeyError::NotFound { .. }) => None,
            Err(error) => {
                self.output.warning(&format!("key {id} of the key store was not had: {error}"));
                None
            }
        }
    }
}

impl Watch for Shown {
    fn total(&self, bytes: Option<u64>) {
        crate::package::progress::Progress::total(self, bytes);
    }

    fn read(&self, bytes: u64) {
        crate::package::progress::Progress::written(self, bytes);
    }

    fn segment(&self) {
        crate::package::progress::Progress::segment(self);
    }
}

impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        let exit = match error {
            VerifyError::Target(_) => Exit::Input,
            VerifyError::Unavailable(_) => Exit::Temporary,
            VerifyError::Interrupted => Exit::Interrupted,
        };
        let message = error.to_string();
        let error = Self::new(exit, message.clone());
        if message.ends_with("not a public address") {
            error.hint("--allow-private lets private addresses in")
        } else {
            error
        }
    }
}

fn list_rules(output: Output) {
    let rules = rule::all();
    let severity = |severity: Option<Severity>| severity.map_or("-".to_owned(), |severity| severity.to_string());
    let mut text = String::new();
    for rule in &rules {
        text += &format!("{}  rfc: {}, apple: {}  [{}]\n", rule.id, severity(rule.rfc), rule.apple, rule.source);
        text += &format!("    {}\n    mend: {}\n", rule.meaning, rule.mend);
    }
    text += &format!(
        "{} rules. R = RFC 8216, B = its successor (rfc8216bis), A = Apple's HLS authoring specification.\n",
        rules.len()
    );
    output.text(&text);
    output.json(&json!({ "rules": rules }));
}

fn text(report: &Report, volume: Volume) -> String {
    let mut out = String::new();
    let mut explained = std::collections::BTreeSet::new();
    let shown = |severity: Severity| match volume {
        Volume::Quiet => severity == Severity::Error,
        _ => true,
    };
    for finding in report.findings.sorted().into_iter().filter(|finding| shown(finding.severity)) {
        let seen = if finding.seen.is_empty() { String::new() } else { format!(": {}", finding.seen) };
        out += &format!("{:7}  {}  {}{seen}\n", finding.severity.to_string(), finding.rule.id, finding.place);
        // Each rule is explained once; notes when there is room for more.
        let explain = finding.severity > Severity::Note || volume == Volume::Verbose;
        if explain && explained.insert(finding.rule.id) {
            out += &format!(
                "         {}\n         mend: {} [{}]\n",
                finding.rule.meaning, finding.rule.mend, finding.rule.source
            );
        }
    }
    for (rule, resource, count) in report.findings.more() {
        out += &format!("         {rule}  {resource}: {count} more\n");
    }
    if volume != Volume::Quiet {
        out += &renditions(report);
    }
    let count = |severity| report.findings.count(severity);
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (checked, all) = report.segments;
    out += &format!(
        "{}: {}, {}, {}; {checked} of {} and {} looked at, {} decoded, in {:.2} s\n",
        if report.passes() { "pass" } else { "fail" },
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning"),
        plural(count(Severity::Note), "note"),
        plural(all, "segment"),
        table::bytes(report.bytes),
        report.understood,
        report.elapsed.as_secs_f64(),
    );
    out
}

fn renditions(report: &Report) -> String {
    let columns = ["playlist", "peak", "declared", "average", "declared", "segments", "seconds"];
    let mut table = Table::new(&columns.map(|name| (name, if name == "playlist" { Side::Left } else { Side::Right })));
    let rate = |rate: Option<u64>| rate.map_or("-".to_owned(), table::bit_rate);
    for one in &report.renditions {
        table.row(vec![
            one.playlist.clone(),
            rate(one.measured_peak),
            rate(one.bandwidth),
            rate(one.measured_average),
            rate(one.average_bandwidth),
            one.segments.len().to_string(),
            format!("{:.3}", one.duration),
        ]);
    }
    table.render()
}
