//! Killed at any moment: nothing half-published is ever visible, the same command succeeds after it and makes the bytes that
//! an undisturbed run makes under the same claim, and nothing else is left. strace does the killing.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::common::{Check, every, repository, started};
use super::disk::{Ground, Tree, claims, complete, record, tree};
use super::package::{self, Package, path_text};
use super::table;

/// How DEST is before the run, and what the package is to survive.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// `--durability`.
    pub durability: &'static str,
    /// Whether an old package is replaced.
    pub force: bool,
}

/// All manners.
pub const MANNERS: [Manner; 4] = [
    Manner { durability: "process", force: false },
    Manner { durability: "power", force: false },
    Manner { durability: "process", force: true },
    Manner { durability: "power", force: true },
];

impl Manner {
    /// The command: one worker, so that every run makes the same calls.
    pub fn arguments(self) -> Vec<&'static str> {
        let mut arguments = vec!["--json", "package", "in.ts", "--out", "out", "--segment-duration", "2"];
        arguments.extend(["--durability", self.durability, "--threads", "1", "-q"]);
        if self.force {
            arguments.push("--force");
        }
        arguments
    }

    /// The ground that it starts from.
    pub fn ground(self, name: &str) -> Check<Ground> {
        let without = Manner { force: false, ..self };
        if self.force { Ground::after(name, &without.arguments()) } else { Ok(Ground::new(name)) }
    }
}

/// Calls that change what is on disk, or make a name for it. Those marked are not on every machine.
const CALLS: [&str; 9] = [
    "openat",
    "write,pwrite64",
    "?mkdir,mkdirat",
    "?rename,renameat,renameat2",
    "fsync,fdatasync",
    "?unlink,unlinkat,?rmdir",
    "?link,linkat",
    "?fchmod,fchmodat,ftruncate",
    "flock",
];

fn reference() -> Check<Arc<Package>> {
    let plain = table::all().into_iter().find(|fixture| fixture.name == "plain.ts").ok_or("plain.ts")?;
    package::of(&plain, 2)
}

/// What is visible at DEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// What was there before: nothing, or the old package.
    Before,
    /// The new package.
    New,
}

/// DEST is what it was, or a whole new package; never anything else.
pub fn seen(ground: &Ground) -> Check<(Seen, Tree)> {
    let (before, now) = (ground.kept()?, tree(&ground.out())?);
    if now == before {
        // Neither may it be an empty folder where nothing was.
        check!(!before.is_empty() || !ground.out().exists(), "DEST is an empty folder");
        return Ok((Seen::Before, now));
    }
    complete(&ground.out()).map_err(|text| format!("half a package is visible: {text}"))?;
    Ok((Seen::New, now))
}

fn only_claim(ground: &Ground) -> Check<Option<Value>> {
    let mut claims = claims(&ground.home())?;
    check!(claims.len() < 2, "{} claims", claims.len());
    Ok(claims.pop())
}

/// Everything that has to hold after a disturbed run: the same command succeeds, makes what an undisturbed run makes under
/// the claim that was there, and leaves nothing else.
pub fn recovers(ground: &Ground, manner: Manner) -> Check {
    let arguments = manner.arguments();
    let (first, left) = seen(ground)?;
    // The keys of packages that were there stay.
    let before = [claimed_keys(&ground.kept()?)?, claimed_keys(&left)?].concat();
    ground.save_as("disturbed");
    let claim = only_claim(ground)?;
    let again = ground.world.run(&arguments);
    if first == Seen::New && !manner.force && claim.as_ref().is_some_and(|claim| claim["state"] == "published") {
        // The run was disturbed after its work was done.
        again.expect(2)?;
        check!(tree(&ground.out())? == left, "a refused run has changed the package");
        return ground.clean(&before);
    }
    let again = again.expect(0)?;
    complete(&ground.out())?;
    let made = tree(&ground.out())?;
    ground.clean(&before)?;
    let Some(open) = claim.filter(|claim| claim["state"] == "open") else {
        check!(made != left, "an old claim gave the new package");
        return Ok(());
    };
    check!(first == Seen::Before || made == left, "the package that was in its place has changed");
    let published = only_claim(ground)?.ok_or("the claim is gone")?;
    check!(published["state"] == "published", "the claim is not marked as published");
    for field in ["nonce", "plan", "dest", "key", "created"] {
        check!(published[field] == open[field], "{field} of the claim has changed");
    }
    check!(record(&ground.out())?["key_id"] == open["key"]["key_id"], "the package has another key");
    drop(again);
    ground.reset_with_home("disturbed");
    let undisturbed = ground.world.run(&arguments);
    check!(undisturbed.code == Some(0), "the undisturbed run: {:?} {}", undisturbed.code, undisturbed.stderr);
    let other = tree(&ground.out())?;
    let differ: Vec<_> = made.iter().filter(|(path, bytes)| other.get(*path) != Some(bytes)).map(|(p, _)| p).collect();
    check!(other.len() == made.len() && differ.is_empty(), "{differ:?} are not what an undisturbed run makes");
    ground.clean(&before)?;
    let clear = |package: &Package| -> Vec<Vec<u8>> {
        package.renditions.iter().flat_map(|r| &r.segments).map(|s| s.clear.clone()).collect()
    };
    let package = package::read(ground.world.clone(), undisturbed)?;
    check!(clear(&package) == clear(&*reference()?), "the second run made other media");
    Ok(())
}

/// The key of the old package.
fn claimed_keys(tree: &Tree) -> Check<Vec<String>> {
    let Some(record) = tree.get("keyrung.json") else { return Ok(Vec::new()) };
    let record: Value = serde_json::from_slice(record).map_err(|e| e.to_string())?;
    Ok(record["key_id"].as_str().map(str::to_owned).into_iter().collect())
}

/// Kills a run as the options of strace say. `false`: it came to its end.
fn killed(ground: &Ground, manner: Manner, options: &[&str]) -> Check<bool> {
    ground.reset();
    let at_first = tree(&ground.world.folder)?;
    let run = ground.world.run_traced(&manner.arguments(), options);
    if run.code == Some(0) {
        check!(seen(ground)?.0 == Seen::New, "a run that came to its end has published nothing");
        ground.clean(&claimed_keys(&ground.kept()?)?)?;
        return Ok(false);
    }
    check!(run.code.is_none(), "{:?}: {}", run.code, run.stderr);
    // Before anything is written there is nothing to recover from.
    if tree(&ground.world.folder)? != at_first {
        recovers(ground, manner)?;
    }
    Ok(true)
}

/// The most calls of one kind that a thread of these runs makes, and then some.
const MOST: usize = 200;

#[test]
fn killed_at_any_call() {
    let cases: Vec<_> = MANNERS.iter().flat_map(|manner| CALLS.map(|calls| (*manner, calls))).collect();
    every(
        &cases,
        |(manner, calls)| format!("{calls} {manner:?}"),
        |(manner, calls)| {
            let ground = manner.ground("killed")?;
            let trace = format!("trace={calls}");
            for n in 1..MOST {
                let inject = format!("inject={calls}:signal=SIGKILL:when={n}");
                match killed(&ground, *manner, &["-e", &trace, "-e", &inject]) {
                    Ok(true) => {}
                    Ok(false) if n > 1 || *calls == "?unlink,unlinkat,?rmdir" => return Ok(()),
                    Ok(false) => return Err("the run makes no such call".to_owned()),
                    Err(text) => return Err(format!("killed at call {n}: {text}")),
                }
            }
            Err("the run never came to its end".to_owned())
        },
    );
}

/// strace counts the calls of each thread, so that a worker's first calls hide behind the same calls of the main thread; they
/// are found by what they are made on.
#[test]
fn killed_at_any_call_of_a_worker() {
    let mut cases = Vec::new();
    for manner in MANNERS {
        for n in 1..=3 {
            cases.push((manner, "openat", "108p".to_owned(), n));
            for segment in 0..3 {
                cases.push((manner, "write", format!("108p/{segment:05}.ts"), n));
            }
        }
    }
    let died = std::sync::atomic::AtomicUsize::new(0);
    every(
        &cases,
        |(manner, call, path, n)| format!("{call} {n} of {path} {manner:?}"),
        |(manner, call, path, n)| {
            let ground = manner.ground("worker")?;
            let path = ground.world.folder.join(".out.keyrung-staging").join(path);
            let inject = format!("inject={call}:signal=SIGKILL:when={n}");
            let options = ["-P", path_text(&path), "-e", &format!("trace={call}"), "-e", &inject];
            if killed(&ground, *manner, &options)? {
                died.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        },
    );
    // Three folders are opened for files, and each segment is written at least once.
    assert!(died.into_inner() >= 4 * (3 + 3), "the calls are not found any more");
}

/// A file system that cannot exchange folders, or refuse to replace: the old package goes aside first.
#[test]
fn killed_where_renames_are_not_atomic() {
    let cases: Vec<_> = MANNERS.iter().flat_map(|manner| [(*manner, 0), (*manner, 1)]).collect();
    every(
        &cases,
        |(manner, skip)| format!("{manner:?}, {skip}"),
        |(manner, skip)| {
            let ground = manner.ground("portable")?;
            for n in 1..MOST {
                ground.reset();
                let call = ["?rename,renameat", "?unlink,unlinkat"][*skip];
                let run = ground.world.run_traced(
                    &manner.arguments(),
                    &[
                        "-e",
                        &format!("trace=renameat2,{call}"),
                        "-e",
                        "inject=renameat2:error=EINVAL",
                        "-e",
                        &format!("inject={call}:signal=SIGKILL:when={n}"),
                    ],
                );
                if run.code == Some(0) {
                    check!(seen(&ground)?.0 == Seen::New, "nothing was published");
                    return ground.clean(&claimed_keys(&ground.kept()?)?);
                }
                check!(run.code.is_none(), "{:?}: {}", run.code, run.stderr);
                let aside = ground.world.folder.join(".out.keyrung-old");
                if manner.force && !ground.out().exists() {
                    // Between the two renames, and only then, DEST is absent; the old package is whole, and any run puts it back.
                    check!(tree(&aside)? == ground.kept()?, "the old package is not whole");
                    let other = Manner { force: manner.durability == "power", ..*manner };
                    let code = if other.force { 0 } else { 2 };
                    ground.world.run(&other.arguments()).expect(code)?;
                    check!(!aside.exists(), "the old package is still aside");
                    check!(other.force || seen(&ground)?.0 == Seen::Before, "the old package did not come back");
                    complete(&ground.out())?;
                    continue;
                }
                recovers(&ground, *manner).map_err(|text| format!("killed at call {n}: {text}"))?;
            }
            Err("the run never came to its end".to_owned())
        },
    );
}

/// With several workers and inputs, at times spread over the whole run.
#[test]
fn killed_at_any_time() {
    let names = ["1080p", "720p", "360p"].map(|name| repository(&format!("samples/ladder/{name}.ts")));
    let mut arguments = vec!["--json", "package"];
    arguments.extend(names.iter().map(|name| path_text(name)));
    arguments.extend(["--out", "out", "--threads", "2", "-q"]);
    let ground = Ground::new("time");
    let started = Instant::now();
    ground.world.run(&arguments).expect(0).expect("an undisturbed run");
    let whole = started.elapsed();
    let (mut died, rounds) = (0, 30);
    for round in 0..rounds {
        ground.reset();
        let mut child =
            ground.world.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(whole * round / rounds);
        let _ = child.kill();
        died += u32::from(!child.wait().expect("ends").success());
        let check = || -> Check {
            let (first, left) = seen(&ground)?;
            let claim = only_claim(&ground)?;
            let again = ground.world.run(&arguments);
            if first == Seen::New && claim.as_ref().is_some_and(|claim| claim["state"] == "published") {
                again.expect(2)?;
                return ground.clean(&[]);
            }
            again.expect(0)?;
            complete(&ground.out())?;
            if let Some(claim) = claim {
                check!(record(&ground.out())?["key_id"] == claim["key"]["key_id"], "the package has another key");
                check!(first == Seen::Before || tree(&ground.out())? == left, "the package has changed");
            }
            ground.clean(&[])
        };
        check().unwrap_or_else(|text| panic!("round {round}: {text}"));
    }
    assert!(died > rounds / 4, "only {died} of {rounds} runs were killed before their end");
}

/// What must be on stable storage before what: claim and key before the first segment is written, and with `power` every
/// file and folder before DEST has its name, and DEST's folder after.
#[test]
fn everything_is_flushed_in_order() {
    for manner in MANNERS {
        let ground = manner.ground("order").expect("a ground");
        let log = ground.world.folder.join("strace.log");
        let calls = "trace=openat,mkdirat,fsync,write,linkat,renameat,renameat2";
        let options = ["-f", "-qq", "-y", "-o", path_text(&log), "-e", calls];
        let mut command: Command = ground.world.wrapped("strace", &options, &manner.arguments());
        let status = started(command.stdout(Stdio::null()).status(), "strace");
        assert!(status.success(), "{status}");
        let text = fs::read_to_string(&log).expect("the log");
        let order = Order::of(&text, &ground);
        order.check(manner).unwrap_or_else(|wrong| panic!("{manner:?}: {wrong}\n{text}"));
    }
}

/// The lines of strace's log in which something is flushed, written or named.
struct Order<'a> {
    lines: Vec<&'a str>,
    staging: String,
    keys: String,
    parent: String,
}

impl<'a> Order<'a> {
    fn of(text: &'a str, ground: &Ground) -> Self {
        let folder = ground.world.folder.canonicalize().expect("the world");
        Self {
            lines: text.lines().collect(),
            staging: format!("{}/.out.keyrung-staging", folder.display()),
            keys: format!("{}/home/keys", folder.display()),
            parent: format!("{}", folder.display()),
        }
    }

    /// The number of the first line that holds all of `parts`.
    fn first(&self, parts: &[&str]) -> Check<usize> {
        let at = self.lines.iter().position(|line| parts.iter().all(|part| line.contains(part)));
        at.ok_or(format!("no line with {parts:?}"))
    }

    /// The same from the end.
    fn last(&self, parts: &[&str]) -> Check<usize> {
        let at = self.lines.iter().rposition(|line| parts.iter().all(|part| line.contains(part)));
        at.ok_or(format!("no line with {parts:?}"))
    }

    fn check(&self, manner: Manner) -> Check {
        let segment = self.first(&["write(", &self.staging, ".ts>"])?;
        let claims = format!("{}/claims>", self.keys);
        let keys = format!("{}>", self.keys);
        // A claim is created by a link and replaced by a rename; a key is only ever created.
        let claimed = self.first(&[if manner.force { "renameat(" } else { "linkat(" }, &claims])?;
        let key = self.first(&["linkat(", &keys])?;
        let flushed_claim = self.lines.iter().skip(claimed).position(|l| l.contains("fsync(") && l.contains(&claims));
        let flushed_key = self.lines.iter().skip(key).position(|l| l.contains("fsync(") && l.contains(&keys));
        let flushed_claim = claimed + flushed_claim.ok_or("the claim's folder is not flushed")?;
        let flushed_key = key + flushed_key.ok_or("the key's folder is not flushed")?;
        check!(flushed_claim < key, "the key is stored before the claim is flushed");
        check!(flushed_key < segment, "a segment is written before the key is flushed");
        let publish = self.first(&["renameat2(", ".out.keyrung-staging"])?;
        let written = self.last(&["write(", &format!("{}/", self.staging)])?;
        check!(written < publish, "something is written after publication");
        let mark = self.last(&["renameat(", &claims])?;
        check!(publish < mark, "the claim is marked before publication");
        let flushes = |path: &str| -> Vec<usize> {
            let of = |(n, line): (usize, &&str)| (line.contains("fsync(") && line.contains(path)).then_some(n);
            self.lines.iter().enumerate().filter_map(of).collect()
        };
        let package = flushes(&self.staging);
        if manner.durability == "process" {
            check!(package.is_empty(), "media is flushed with --durability process");
            return Ok(());
        }
        for file in
            ["/108p/00000.ts>", "/108p/00001.ts>", "/108p/00002.ts>", "/108p/index.m3u8>", "/108p>", "/master.m3u8>"]
        {
            let at = flushes(&format!("{}{file}", self.staging));
            check!(at.iter().any(|at| *at < publish && *at > written), "{file} is not flushed before publication");
        }
        for file in ["/keyrung.json>", ">"] {
            let at = flushes(&format!("{}{file}", self.staging));
            check!(at.iter().any(|at| *at < publish && *at > written), "{file} is not flushed before publication");
        }
        let named = flushes(&format!("<{}>", self.parent));
        check!(named.iter().any(|at| *at > publish && *at < mark), "DEST's folder is not flushed after publication");
        Ok(())
    }
}

/// What is left of a run that was killed, and of another content, does not matter to a run in the same place.
#[test]
fn a_leftover_of_another_run_is_cleared_away() {
    let ground = Ground::new("leftover");
    let staging = ground.world.folder.join(".out.keyrung-staging");
    fs::create_dir_all(staging.join("720p/deeper")).expect("a folder");
    fs::write(staging.join("720p/00000.ts"), "old").expect("a file");
    fs::write(staging.join("keyrung.json"), "{}").expect("a file");
    ground.world.run(&MANNERS[0].arguments()).expect(0).expect("a package");
    complete(&ground.out()).expect("a package");
    ground.clean(&[]).expect("nothing else");
}
