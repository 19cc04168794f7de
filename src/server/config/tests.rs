use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn of(file: &str, environment: &[(&str, &str)], flags: &Flags) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(File { text: file, folder: Path::new("/etc/keyrung") }), environment, flags)
}

fn file(text: &str) -> Result<Config, String> {
    of(text, &[], &Flags::default()).map_err(|error| error.to_string())
}

/// A configuration in which everything is set.
const WHOLE: &str = r#"
listen = "192.0.2.1:443"
metrics_listen = "[::1]:9484"
key_store = "keys"
trusted_proxies = ["10.0.0.0/8", "2001:db8::/32"]
trusted_header = "forwarded"
allowed_origins = ["https://player.example", "http://localhost:3000"]
[tls]
certificate = "cert.pem"
key = "/run/key.pem"
client_ca = "ca.pem"
[limits]
connections = 10
connections_per_client = 0
header_timeout = "5s"
idle_timeout = "1m"
request_timeout = "500ms"
head_bytes = 8192
head_fields = 30
uri_bytes = 4000
streams = 10
client_rate = 0
client_burst = 0
subject_rate = 1
subject_burst = 5
[keys]
max_age = "0s"
life = "1h"
negative_life = "1s"
stale_for = "1d"
wait = "3s"
capacity = 5
calls = 4
[audit]
file = "-"
[origin]
same_site = "none"
[shutdown]
delay = "0s"
deadline = "30s"
[[authorizer]]
type = "signed"
secret = [{ file = "secret" }]
"#;

/// Names of all values in a table, as settings have them.
fn names(table: &toml::Table, before: &str, out: &mut BTreeSet<String>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => names(inner, &format!("{before}{name}."), out),
            _ => drop(out.insert(format!("{before}{name}"))),
        }
    }
}

#[test]
fn the_table_has_exactly_the_settings() {
    let mut set = BTreeSet::new();
    names(&value(&file(WHOLE).unwrap()), "", &mut set);
    let listed: BTreeSet<String> = all_settings().iter().map(|setting| setting.name.to_owned()).collect();
    assert_eq!(set, listed);
}

#[test]
fn what_is_printed_reads_back_as_the_same() {
    for config in [Config::default(), file(WHOLE).unwrap()] {
        let printed = print(&config);
        let read = of(&printed, &[], &Flags::default()).unwrap_or_else(|error| panic!("{error} in\n{printed}"));
        assert_eq!(read, config, "{printed}");
        for setting in all_settings() {
            assert!(printed.contains(setting.help) && printed.contains(&variable(setting.name)), "{}", setting.name);
        }
    }
}

#[test]
fn paths_of_the_file_begin_at_its_folder() {
    let config = file(WHOLE).unwrap();
    let tls = config.tls.unwrap();
    assert_eq!(tls.certificate, Path::new("/etc/keyrung/cert.pem"));
    assert_eq!(tls.key, Path::new("/run/key.pem"));
    assert_eq!(config.key_store.unwrap(), Path::new("/etc/keyrung/keys"));
    assert_eq!(config.audit.file.unwrap(), Path::new("-"));
    assert!(print(&file(WHOLE).unwrap()).contains("/etc/keyrung/secret"));
    assert_eq!(file("key_store = \"s3://b/p\"").unwrap().key_store.unwrap(), Path::new("s3://b/p"));
    let variable = [("KEYRUNG_SERVE_KEY_STORE", "keys")];
    assert_eq!(of("", &variable, &Flags::default()).unwrap().key_store.unwrap(), Path::new("keys"));
}

#[test]
fn flags_stand_above_the_environment_and_that_above_the_file() {
    let text = "listen = \"127.0.0.1:1\"\n[limits]\nconnections = 1\nstreams = 7\n";
    let environment =
        [("KEYRUNG_SERVE_LISTEN", "127.0.0.1:2"), ("KEYRUNG_SERVE_LIMITS_CONNECTIONS", "2"), ("PATH", "x")];
    let mut flags = Flags::default();
    flags.set("listen", "127.0.0.1:3");
    let config = of(text, &environment, &flags).unwrap();
    assert_eq!((config.listen.port(), config.limits.connections, config.limits.streams), (3, 2, 7));
}

#[test]
fn every_kind_of_variable() {
    let config = of(
        "",
        &[
            ("KEYRUNG_SERVE_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.0/24,"),
            ("KEYRUNG_SERVE_ALLOWED_ORIGINS", "https://player.example"),
            ("KEYRUNG_SERVE_TLS_KEY", "key.pem"),
            ("KEYRUNG_SERVE_TLS_CERTIFICATE", "cert.pem"),
            ("KEYRUNG_SERVE_KEYS_LIFE", "90s"),
            ("KEYRUNG_SERVE_AUTHORIZER", "[{ type = \"signed\", secret = [{ file = \"secret\" }] }]"),
        ],
        &Flags::default(),
    )
    .unwrap();
    assert_eq!((config.trusted_proxies.len(), config.allowed_origins.len()), (2, 1));
    assert_eq!(config.tls.unwrap().key, Path::new("key.pem"));
    assert_eq!(config.keys.life.as_secs(), 90);
    assert_eq!(config.authorizer.len(), 1);
    let wrong = |name: &str, value: &str| of("", &[(name, value)], &Flags::default()).unwrap_err().to_string();
    for (name, value) in [
        ("KEYRUNG_SERVE_LISTN", "127.0.0.1:1"),
        ("KEYRUNG_SERVE_LIMITS_CONNECTIONS", "many"),
        ("KEYRUNG_SERVE_LISTEN", "localhost"),
        ("KEYRUNG_SERVE_TRUSTED_PROXIES", "10.0.0.0"),
        ("KEYRUNG_SERVE_AUTHORIZER", "[{ type = \"open\" }]"),
        ("KEYRUNG_SERVE_KEYS_LIFE", "long"),
    ] {
        assert!(wrong(name, value).contains(name), "{name}: {}", wrong(name, value));
    }
    assert!(wrong("KEYRUNG_SERVE_TLS_KEY", "key.pem").contains("certificate"), "one without the other");
}

#[test]
fn what_is_wrong_in_the_file_has_a_line() {
    for (text, line, word) in [
        ("\n\nlisn = 1", 3, "lisn"),
        ("listen = \"localhost\"", 1, "address"),
        ("[limits]\nconnections = -1", 2, "-1"),
        ("[limits]\nconnections = \"x\"", 2, "string"),
        ("[limits\n", 1, ""),
        ("[keys]\n\nlife = \"1 fortnight\"", 3, "length of time"),
        ("allowed_origins = [\"*\"]", 1, "origin"),
        ("trusted_proxies = [\"example.com\"]", 1, ""),
        ("[[authorizer]]\ntype = \"open\"", 1, "open"),
        ("[[authorizer]]\ntype = \"signed\"\nsecret = [{ file = \"x\" }]\nopen = true", 1, "open"),
    ] {
        let error = file(text).unwrap_err();
        assert!(error.starts_with(&format!("line {line}")) || text.contains("authorizer"), "{error}");
        assert!(error.contains(word) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn settings_that_do_not_go_together() {
    for (text, word) in [
        ("metrics_listen = \"0.0.0.0:9484\"", "loopback"),
        ("trusted_proxies = [\"0.0.0.0/0\"]", "everybody"),
        ("trusted_proxies = [\"::/0\"]", "everybody"),
        ("[limits]\nconnections = 0", "1 at least"),
        ("[limits]\nhead_bytes = 100", "8192"),
        ("[limits]\nuri_bytes = 99999", "uri_bytes"),
        ("[limits]\nheader_timeout = \"0s\"", "header_timeout"),
        ("[limits]\nclient_burst = 0", "client_burst"),
        ("[tls]\ncertificate = \"x\"", "key"),
    ] {
        let error = file(text).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}
