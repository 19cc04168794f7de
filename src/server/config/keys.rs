//! Every setting by name, with what it is for: the environment, `--print-config` and the manual go by this table.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in TOML, tables parted by a full stop.
    pub name: &'static str,
    /// How text becomes its value.
    pub kind: Kind,
    /// What it is for, in one line.
    pub help: &'static str,
}

/// How the text of an environment variable is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it stands.
    Text,
    /// A whole number.
    Number,
    /// The name of a file or folder.
    Path,
    /// Texts, parted by commas.
    List,
    /// A TOML value.
    Toml,
}

/// The variable that sets a setting: `KEYRUNG_SERVE_` and its name in capitals, `_` for every full stop.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "_").to_ascii_uppercase())
}

/// What the names of all variables begin with.
pub(super) const PREFIX: &str = "KEYRUNG_SERVE_";

/// All of them, in the order in which they are printed: those of a table follow each other.
#[must_use]
pub fn all() -> &'static [Setting] {
    SETTINGS
}

const fn setting(name: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { name, kind, help }
}

const SETTINGS: &[Setting] = &[
    setting("listen", Kind::Text, "Address and port that players ask. Without an authorizer: loopback only."),
    setting("metrics_listen", Kind::Text, "Loopback address and port of /metrics, /livez and /readyz."),
    setting("key_store", Kind::Path, "Folder of sealed keys, or s3://BUCKET/PREFIX. Default: $KEYRUNG_HOME/keys."),
    setting("trusted_proxies", Kind::List, "Networks of proxies that are believed when they name the client."),
    setting("trusted_header", Kind::Text, "The field they name it in: x-forwarded-for or forwarded."),
    setting("allowed_origins", Kind::List, "Origins whose pages may read answers, such as https://example.com."),
    setting("authorizer", Kind::Toml, "Who may have what: an array of tables, tried in order."),
    setting("tls.certificate", Kind::Path, "PEM file of the certificate and those between it and the root."),
    setting("tls.key", Kind::Path, "PEM file of its private key."),
    setting("tls.client_ca", Kind::Path, "PEM file of the roots of client certificates."),
    setting("limits.connections", Kind::Number, "Connections open at once; more wait."),
    setting("limits.connections_per_client", Kind::Number, "Connections of one address or IPv6 /64; 0: no limit."),
    setting("limits.header_timeout", Kind::Text, "Time for a request's head, and for rest between two."),
    setting("limits.idle_timeout", Kind::Text, "Time that a connection may pass without a request or a byte taken."),
    setting("limits.request_timeout", Kind::Text, "Time until a request is answered."),
    setting("limits.head_bytes", Kind::Number, "Bytes of a request's head, 8192 at least."),
    setting("limits.head_fields", Kind::Number, "Fields of a request's head."),
    setting("limits.uri_bytes", Kind::Number, "Bytes of a request's path and query."),
    setting("limits.streams", Kind::Number, "HTTP/2 streams of one connection at once."),
    setting("limits.client_rate", Kind::Number, "Requests for keys a second of one address or IPv6 /64; 0: no limit."),
    setting("limits.client_burst", Kind::Number, "As many may come at once."),
    setting("limits.subject_rate", Kind::Number, "Requests for keys a second of one token's subject; 0: no limit."),
    setting("limits.subject_burst", Kind::Number, "As many may come at once."),
    setting("keys.max_age", Kind::Text, "How long a player may keep a key, at most; 0s: not at all."),
    setting("keys.life", Kind::Text, "How long an opened key is kept."),
    setting("keys.negative_life", Kind::Text, "How long it is remembered that a key is not there."),
    setting("keys.stale_for", Kind::Text, "How long after that life a key serves on while its provider is down."),
    setting("keys.wait", Kind::Text, "How long a request waits for a key to be opened."),
    setting("keys.capacity", Kind::Number, "Keys kept at once."),
    setting("keys.calls", Kind::Number, "Calls to the key store at once, and to providers."),
    setting("audit.file", Kind::Path, "File that each decision is added to as a line of JSON; - is standard error."),
    setting("origin.same_site", Kind::Text, "SameSite of cookies that viewers ask for: lax, strict or none."),
    setting("shutdown.delay", Kind::Text, "How long it goes on after /readyz has begun to say 503."),
    setting("shutdown.deadline", Kind::Text, "How long requests in flight may take after that."),
];
