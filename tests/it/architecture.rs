//! The rules of the house: who may import whom, where there is no I/O, how long a file may be. They are read off the
//! sources, and each is shown to be able to fail.

use std::fs;
use std::path::{Path, PathBuf};

use super::common::{Check, repository};

/// Each room and the rooms that it may import, besides itself and `time` and `limits`. `cli` may import all.
const ROOMS: [(&str, &[&str]); 17] = [
    ("time", &[]),
    ("limits", &[]),
    ("ts", &[]),
    ("es", &["ts"]),
    ("crypto", &[]),
    ("playlist", &[]),
    ("aws", &[]),
    ("storage", &["aws"]),
    ("ladder", &["ts", "es"]),
    ("segment", &["ts", "es", "ladder"]),
    ("keys", &["crypto", "storage", "aws"]),
    ("package", &["ts", "es", "crypto", "playlist", "storage", "ladder", "segment", "keys"]),
    // A verifier that shares the writer's code shares its bugs.
    ("verify", &["ts", "es", "crypto", "playlist", "storage", "keys"]),
    ("server", &["keys", "crypto", "storage", "playlist"]),
    ("batch", &["package", "storage", "keys"]),
    ("manual", &[]),
    ("cli", &[]),
];

/// Rooms without I/O, clocks, printing and `async`.
const PURE: [&str; 8] = ["time", "limits", "ts", "es", "crypto", "playlist", "ladder", "segment"];

const LONGEST: usize = 600;

/// A source file: where it is below `src/`, and its text.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.to_owned() }
    }

    /// The room it belongs to; None for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<String> {
        let first = self.path.components().next()?.as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        (!matches!(room.as_str(), "lib" | "main")).then_some(room)
    }

    /// How many `super` lead from the file's own module to the crate's root.
    fn depth(&self) -> usize {
        let parts = self.path.components().count();
        if self.path.ends_with("mod.rs") { parts - 1 } else { parts }
    }

    fn paths(&self) -> Vec<Vec<String>> {
        paths(&code(&self.text))
    }

    /// The rooms that it imports.
    fn imports(&self) -> Vec<String> {
        let from_root = |path: Vec<String>| {
            let supers = path.iter().take_while(|part| *part == "super").count();
            match path.first().map(String::as_str) {
                Some("crate") => path.get(1).cloned(),
                Some("super") if supers >= self.depth() => path.get(supers).cloned(),
                _ => None,
            }
        };
        let known = |name: &String| ROOMS.iter().any(|room| room.0 == name);
        self.paths().into_iter().filter_map(from_root).filter(known).collect()
    }
}

/// The text without comments and what strings and characters hold.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |place: usize| chars.get(place).copied().unwrap_or('\0');
    let (mut out, mut n) = (String::new(), 0);
    while n < chars.len() {
        match (at(n), at(n + 1)) {
            ('/', '/') => n += chars[n..].iter().take_while(|c| **c != '\n').count(),
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(n), at(n + 1)) {
                        ('/', '*') => (depth, n) = (depth + 1, n + 2),
                        ('*', '/') => (depth, n) = (depth - 1, n + 2),
                        _ => n += 1,
                    }
                    if depth == 0 || n >= chars.len() {
                        break;
                    }
                }
            }
            ('r', '"' | '#') if !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') || out.ends_with('b') => {
                let hashes = chars[n + 1..].iter().take_while(|c| **c == '#').count();
                n += 1 + hashes;
                if at(n) == '"' {
                    n += 1;
                    while n < chars.len() && !(at(n) == '"' && (1..=hashes).all(|k| at(n + k) == '#')) {
                        n += 1;
                    }
                    n += 1 + hashes;
                }
                out.push(' ');
            }
            ('"', _) => {
                n += 1;
                while n < chars.len() && at(n) != '"' {
                    n += if at(n) == '\\' { 2 } else { 1 };
                }
                n += 1;
                out.push(' ');
            }
            ('\'', '\\') => {
                n += 3;
                while n < chars.len() && at(n) != '\'' {
                    n += 1;
                }
                n += 1;
            }
            ('\'', _) if at(n + 2) == '\'' => n += 3,
            (c, _) => {
                out.push(c);
                n += 1;
            }
        }
    }
    out
}

/// Every path in the code, groups spelled out: `a::{b, c::d}` is `a::b` and `a::c::d`. A macro's name keeps its `!`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let len = match c {
            _ if word > 0 => word + usize::from(rest[word..].starts_with('!') && !rest[word..].starts_with("!=")),
            ':' if rest.starts_with("::") => 2,
            _ => c.len_utf8(),
        };
        if !c.is_whitespace() {
            tokens.push(&rest[..len]);
        }
        rest = &rest[len..];
    }
    let (mut out, mut place) = (Vec::new(), 0);
    while place < tokens.len() {
        read_path(&tokens, &mut place, &[], &mut out);
    }
    out
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Reads one path at `place`, or passes over one token that begins none.
fn read_path(tokens: &[&str], place: &mut usize, before: &[String], out: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    if !tokens.get(*place).is_some_and(|token| is_word(token)) {
        *place += 1;
        return;
    }
    loop {
        match tokens.get(*place) {
            Some(token) if is_word(token) || *token == "*" => {
                path.push((*token).to_owned());
                *place += 1;
            }
            Some(&"{") => {
                *place += 1;
                while tokens.get(*place).is_some_and(|token| *token != "}") {
                    read_path(tokens, place, &path, out);
                }
                *place += 1;
                return;
            }
            _ => break, // a::<B>
        }
        if tokens.get(*place) != Some(&"::") {
            break;
        }
        *place += 1;
    }
    out.push(path);
}

/// A rule: what is wrong with a file, if anything.
type Rule = fn(&Source) -> Check;

const RULES: [Rule; 5] = [imports, pure, prints, exits, short];

fn imports(source: &Source) -> Check {
    let Some(room) = source.room() else { return Ok(()) };
    let allowed = ROOMS.iter().find(|known| known.0 == room);
    check!(allowed.is_some(), "the room {room} is not in the table of architecture.md");
    for import in source.imports() {
        let fits = room == import
            || room == "cli"
            || matches!(import.as_str(), "time" | "limits")
            || allowed.is_some_and(|allowed| allowed.1.contains(&import.as_str()));
        check!(fits, "{room} may not import {import}");
    }
    Ok(())
}

fn pure(source: &Source) -> Check {
    if !source.room().is_some_and(|room| PURE.contains(&room.as_str())) {
        return Ok(());
    }
    for path in source.paths() {
        check!(path != ["async"], "async in a room without I/O");
        for pair in path.windows(2) {
            let pair = (pair[0].as_str(), pair[1].as_str());
            let wrong = matches!(pair, ("std", "fs" | "net" | "env" | "process") | ("SystemTime" | "Instant", "now"));
            check!(!wrong, "{}::{} in a room without I/O", pair.0, pair.1);
        }
    }
    Ok(())
}

fn prints(source: &Source) -> Check {
    // A test may print what only it reads.
    if source.room().is_none_or(|room| room == "cli") || source.path.ends_with("tests.rs") {
        return Ok(());
    }
    for path in source.paths() {
        let print = path.iter().find(|part| matches!(part.as_str(), "println!" | "eprintln!" | "print!" | "eprint!"));
        check!(print.is_none(), "{print:?} outside cli");
    }
    Ok(())
}

fn exits(source: &Source) -> Check {
    if source.room().is_some_and(|room| room == "cli") {
        return Ok(());
    }
    let exits = source.paths().iter().any(|path| path.windows(2).any(|pair| pair == ["process", "exit"]));
    check!(!exits, "std::process::exit outside cli");
    Ok(())
}

fn short(source: &Source) -> Check {
    let lines = source.text.lines().count();
    check!(lines <= LONGEST, "{lines} lines; the most is {LONGEST}");
    Ok(())
}

fn unsafe_is_forbidden(manifest: &str) -> Check {
    let lints = manifest.split("\n[").find(|table| table.starts_with("lints.rust]")).unwrap_or_default();
    let forbids = lints.lines().any(|line| line.replace(' ', "").starts_with("unsafe_code=\"forbid\""));
    check!(forbids, "Cargo.toml does not forbid unsafe code");
    Ok(())
}

fn rust_files(folder: &Path, below: &Path, out: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("a folder that can be read").path()) {
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, below, out);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            out.push(Source { path: path.strip_prefix(below).expect("a file below it").to_owned(), text });
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut out = Vec::new();
    for folder in folders {
        let folder = repository(folder);
        rust_files(&folder, &folder, &mut out);
    }
    assert!(!out.is_empty(), "no sources in {folders:?}");
    out
}

fn all(sources: &[Source], rules: &[Rule]) {
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|source| rules.iter().map(move |rule| (source, rule(source))))
        .filter_map(|(source, outcome)| Some(format!("{}: {}", source.path.display(), outcome.err()?)))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_source_keeps_the_rules() {
    let sources = sources(&["src"]);
    assert!(sources.iter().filter(|source| !source.imports().is_empty()).count() > 50, "imports are not recognised");
    all(&sources, &RULES);
}

#[test]
fn no_other_file_is_too_long() {
    all(&sources(&["tests", "benches", "fuzz"]), &[short]);
}

#[test]
fn the_manifest_forbids_unsafe_code() {
    unsafe_is_forbidden(&fs::read_to_string(repository("Cargo.toml")).expect("the manifest")).expect("forbidden");
}

fn fails(rule: Rule, path: &str, text: &str) {
    assert!(rule(&Source::new(path, text)).is_err(), "{path} passes: {text}");
}

fn passes(rule: Rule, path: &str, text: &str) {
    rule(&Source::new(path, text)).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
}

#[test]
fn the_import_rule_can_fail() {
    fails(imports, "ts/packet.rs", "use crate::es::Codec;");
    fails(imports, "es/mod.rs", "use crate::{time::Span, ladder::Grid};");
    fails(imports, "ladder/grid.rs", "use crate::{\n    ts::Pid,\n    segment::{Cutter, Segment},\n};");
    fails(imports, "server/route.rs", "fn x() -> crate::package::Job { todo() }");
    fails(imports, "verify/segment.rs", "use crate::segment::Segment;");
    fails(imports, "package/job.rs", "use crate::cli::Output;");
    fails(imports, "crypto/key.rs", "use super::super::keys::Sealed;");
    fails(imports, "time.rs", "use super::ts::Pid;");
    fails(imports, "segment/cutter/tests.rs", "let pid = crate::package::plan();");
    fails(imports, "aws/config.rs", "use crate::storage::Documents;");
    fails(imports, "package/job.rs", "use crate::aws::load;");
    fails(imports, "attic/mod.rs", "");
    passes(imports, "segment/cutter.rs", "use crate::ladder::Grid;\nuse crate::limits;\nuse super::window::Keep;");
    passes(imports, "keys/store.rs", "use crate::{crypto::key::ContentKey, storage::Staging};");
    passes(imports, "cli/package.rs", "use crate::package::Job;");
    passes(imports, "lib.rs", "pub mod cli; use crate::cli::run;");
    passes(imports, "ts/packet.rs", "// use crate::es::Codec;\n/* crate::es */ const A: &str = \"crate::es\";");
    passes(imports, "ts/packet.rs", "/// [`crate::ladder::Grid`]\nuse crate::ts::pid::Pid; // crate::cli");
    passes(imports, "es/h264/tests.rs", "use super::super::sei::Captions;");
}

#[test]
fn the_rule_of_rooms_without_io_can_fail() {
    for text in [
        "pub async fn f() {}",
        "use std::fs;",
        "use std::{fmt, net::TcpStream};",
        "fn f() { std::fs::read(p) }",
        "let t = std::time::SystemTime::now();",
        "use std::time::Instant;\nlet t = Instant::now();",
    ] {
        fails(pure, "segment/cutter.rs", text);
        passes(pure, "package/job.rs", text);
    }
    passes(
        pure,
        "ts/sync.rs",
        "use std::fmt; // std::fs\nlet asynchronous = \"async\"; let c = '\"'; let now = Instant90::now;",
    );
}

#[test]
fn the_other_rules_can_fail() {
    for text in ["println!(\"x\");", "std::eprintln!(\"x\");", "eprint !(\"x\"); print!(\"y\")"] {
        fails(prints, "ladder/grid.rs", text);
        fails(prints, "server/mod.rs", text);
        passes(prints, "cli/output.rs", text);
    }
    passes(prints, "server/mod.rs", "// println!\nwrite!(out, \"println!\")");
    for text in ["std::process::exit(1)", "use std::process::{self, exit};", "process::exit(2)"] {
        fails(exits, "package/job.rs", text);
        fails(exits, "main.rs", text);
        passes(exits, "cli/exit.rs", text);
    }
    fails(short, "ts/packet.rs", &"\n".repeat(LONGEST + 1));
    passes(short, "ts/packet.rs", &"\n".repeat(LONGEST));
    assert!(unsafe_is_forbidden("[lints.rust]\nunsafe_code = \"deny\"\n").is_err());
    assert!(unsafe_is_forbidden("[lints.clippy]\nunsafe_code = \"forbid\"\n").is_err());
    assert!(unsafe_is_forbidden("[package]\n\n[lints.rust]\nunsafe_code = \"forbid\"\n").is_ok());
}

#[test]
fn sources_are_read_right() {
    assert_eq!(code("a /* b /* c */ d */ e // f\n'x' '\\'' b\"\\\"g\" r#\"h\"i\"# 'l: loop"), "a  e \n  b    'l: loop");
    let read = |text: &str| paths(text).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(read("use a::{b, c::{d, e}, f::*};"), ["use", "a::b", "a::c::d", "a::c::e", "a::f::*"]);
    assert_eq!(read("x != y; m!(z::<u8>::n)"), ["x", "y", "m!", "z", "u8", "n"]);
}
