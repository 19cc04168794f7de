//! The settings of `keyrung serve`: the sample, what is printed, what is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::common::{Check, World, repository, tool};
use super::package::path_text;
use super::refusals::refuse;

/// A file that only its owner can read.
pub fn secret(path: &Path, text: &str) {
    fs::write(path, text).expect("a secret");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("its mode");
}

fn world(name: &str) -> World {
    let mut world = World::new(name);
    world.run(&["key", "generate", "--content-id", "film"]).expect(0).expect("a key");
    world.environment.push(("KEYRUNG_SERVE_KEY_STORE", "home/keys".to_owned()));
    world
}

#[test]
fn the_sample_can_be_used() -> Check {
    let world = world("serve-sample");
    let sample = fs::read_to_string(repository("samples/serve/keyrung-serve.toml")).expect("the sample");
    let file = world.folder.join("serve.toml");
    fs::write(&file, &sample).expect("a copy");
    let arguments = ["serve", "--config", "serve.toml", "--check-config"];
    // Its secret is not there yet.
    let run = refuse(&world, &arguments, 2)?;
    check!(run.stderr.contains("url-secret"), "{}", run.stderr);
    secret(&world.folder.join("url-secret"), "0123456789abcdef0123456789abcdef0123456789abcdef\n");
    world.run(&arguments).expect(0)?;
    let json = world.run(&["--json", "serve", "--config", "serve.toml", "--check-config"]).expect(0)?.json()?;
    check!(json["config"] == "good", "{json}");

    // What stands in it as a comment can be used too.
    let pem = |name: &str| path_text(&world.folder.join(name)).to_owned();
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let names = ["-subj", "/CN=keys.example", "-addext", "subjectAltName=DNS:keys.example"];
    let files = ["-keyout", &pem("privkey.pem"), "-out", &pem("fullchain.pem")];
    tool("openssl", &[&request[..], &names, &files].concat()).expect(0)?;
    fs::copy(world.folder.join("fullchain.pem"), world.folder.join("clients.pem")).expect("roots");
    let whole: Vec<String> = sample
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| is_name(key)) => {
                rest.replace("/etc/keyrung/tls/", "").replace("/var/log/keyrung/", "")
            }
            _ => line.to_owned(),
        })
        .collect();
    let whole = whole.join("\n");
    check!(whole.contains("\n[tls]\n") && whole.contains("\ntype = \"jwt\"\n"), "{whole}");
    fs::write(&file, whole).expect("the whole sample");
    world.run(&arguments).expect(0)?;
    Ok(())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn what_is_printed_can_be_read_again() -> Check {
    let mut world = world("serve-print");
    let printed = world.run(&["serve", "--print-config"]).expect(0)?.text();
    check!(printed.contains("listen = \"127.0.0.1:8484\""), "{printed}");
    check!(printed.contains("key_store = \"home/keys\""), "{printed}");
    fs::write(world.folder.join("printed.toml"), &printed).expect("a file");
    world.environment.clear();
    let again = world.run(&["serve", "--config", "printed.toml", "--print-config"]).expect(0)?.text();
    let store = path_text(&world.folder.join("home/keys")).to_owned();
    check!(again == printed.replace("home/keys", &store) || again == printed, "{again}");
    let flags =
        ["--json", "serve", "--listen", "127.0.0.1:1", "--allowed-origin", "https://a.example", "--print-config"];
    let json = world.run(&flags).expect(0)?.json()?;
    check!(json["listen"] == "127.0.0.1:1" && json["allowed_origins"][0] == "https://a.example", "{json}");
    Ok(())
}

#[test]
fn settings_that_cannot_be_used() -> Check {
    let mut world = world("serve-settings");
    let write = |text: &str| fs::write(world.folder.join("serve.toml"), text).expect("a file");
    let arguments = ["serve", "--config", "serve.toml", "--check-config"];
    for (text, word) in [
        ("listen = 1\n", "line 1"),
        ("\n[limits]\nconections = 3\n", "line 3"),
        ("[[authorizer]]\ntype = \"signed\"\nsecret = [{ file = \"none\" }]\n", "none"),
        ("", "nothing to serve"),
        ("metrics_listen = \"0.0.0.0:1\"\n", "loopback"),
    ] {
        write(text);
        let run = refuse(&world, &arguments, 2)?;
        check!(run.stderr.contains(word), "{text:?}: {}", run.stderr);
    }
    // Others can read the secret.
    fs::write(world.folder.join("open"), "0123456789abcdef0123456789abcdef0123456789abcdef\n").expect("a secret");
    fs::set_permissions(world.folder.join("open"), Permissions::from_mode(0o644)).expect("its mode");
    write("[[authorizer]]\ntype = \"signed\"\nsecret = [{ file = \"open\" }]\n");
    let run = refuse(&world, &arguments, 2)?;
    check!(run.stderr.contains("open") && !run.stderr.contains("0123456789"), "{}", run.stderr);
    refuse(&world, &["serve", "--config", "missing.toml", "--check-config"], 2)?;
    world.environment.push(("KEYRUNG_SERVE_LIMITS_CONECTIONS", "3".to_owned()));
    let run = refuse(&world, &["serve", "--print-config"], 2)?;
    check!(run.stderr.contains("KEYRUNG_SERVE_LIMITS_CONECTIONS"), "{}", run.stderr);
    Ok(())
}

#[test]
fn the_unit_is_one_for_systemd() -> Check {
    let world = World::new("serve-unit");
    let unit = fs::read_to_string(repository("samples/serve/keyrung-serve.service")).expect("the unit");
    for setting in ["NoNewPrivileges=yes", "ProtectSystem=strict", "MemoryDenyWriteExecute=yes", "LimitCORE=0"] {
        check!(unit.lines().any(|line| line == setting), "{setting} is not in it");
    }
    let file = world.folder.join("keyrung-serve.service");
    fs::write(&file, unit.replace("/usr/local/bin/keyrung", env!("CARGO_BIN_EXE_keyrung"))).expect("a copy");
    let run = tool("systemd-analyze", &["verify", "--man=no", path_text(&file)]);
    check!(run.code == Some(0) && !run.stderr.contains("keyrung-serve.service:"), "{}", run.stderr);
    // What it leaves open, of 100: less than systemd's own services as a rule.
    let security = ["security", "--offline=yes", "--threshold=20", "--no-pager"];
    tool("systemd-analyze", &[&security[..], &[path_text(&file)]].concat()).expect(0)?;
    Ok(())
}

#[test]
fn the_container_is_nobodys() {
    let text = fs::read_to_string(repository("samples/serve/Containerfile")).expect("the file");
    let stages = text.lines().filter(|line| line.starts_with("FROM ")).count();
    assert!(stages == 2 && text.lines().any(|line| line == "USER 65532:65532"), "{text}");
    // What is not of the sources does not go to the builder.
    let ignored = fs::read_to_string(repository(".dockerignore")).expect("the file");
    let untracked = fs::read_to_string(repository(".gitignore")).expect("the file");
    for path in untracked.lines().filter(|line| line.starts_with('/') && *line != "/fuzz/Cargo.lock").chain([".git"]) {
        assert!(ignored.lines().any(|line| line == path), "{path} goes to the builder");
    }
}
