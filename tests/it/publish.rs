//! Publishing: what DEST may be, several runs at once, inputs that change, and signals.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::common::{Check, Run, World, every, repository, started, tool};
use super::disk::{Ground, claims, clean, complete, record, tree};
use super::package::path_text;
use super::space::Mount;

/// A command that needs no more than `in.ts`.
pub const PLAIN: [&str; 8] = ["--json", "package", "in.ts", "--out", "out", "--segment-duration", "2", "-q"];

/// An input of which a part is enough for a segment.
pub const LONG: &str = "samples/ladder/360p.ts";
/// The first segment of it while it is made of standard input.
pub const FIRST: &str = ".out.keyrung-staging/360p/00000.ts";

/// The command with more arguments.
pub fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&PLAIN[..], more].concat()
}

/// The same with another DEST.
pub fn to<'a>(dest: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = with(more);
    arguments[4] = dest;
    arguments
}

/// Something that is done to a file or folder.
type Deed = fn(&Path);

/// Waits for something that must come.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Keyrung, with each call of a kind held up for so many milliseconds before it is made.
fn slow(world: &World, arguments: &[&str], calls: &str, millis: u32) -> Command {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:delay_enter={}", millis * 1000));
    let mut command = world.traced(arguments, &["-e", &trace, "-e", &inject]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn end(child: Child) -> Run {
    Run::of(child.wait_with_output().expect("keyrung ends"))
}

/// The package decrypts to the same media as that of the fixture, under the key that its record names.
pub fn decrypts(world: &World, out: &Path) -> Check {
    complete(out)?;
    let record = record(out)?;
    let id = record["key_id"].as_str().ok_or("no key_id")?;
    let key = world.run(&["key", "export", id, "--hex"]).expect(0)?.text();
    for rendition in record["renditions"].as_array().ok_or("no renditions")? {
        let mut clear = Vec::new();
        for segment in rendition["segments"].as_array().ok_or("no segments")? {
            let path = out.join(segment["path"].as_str().ok_or("no path")?);
            let iv = segment["iv"].as_str().ok_or("no iv")?.to_owned();
            let arguments = ["enc", "-d", "-aes-128-cbc", "-K", key.trim(), "-iv", &iv, "-in", path_text(&path)];
            let run = tool("openssl", &arguments).expect(0)?;
            check!(run.stdout.first() == Some(&0x47), "{} is not MPEG-TS", path.display());
            clear.extend(run.stdout);
        }
        check!(clear.len() > 70_000, "only {} bytes of media", clear.len());
    }
    Ok(())
}

#[test]
fn destinations_that_are_refused() {
    let ground = Ground::new("refused");
    let folder = &ground.world.folder;
    fs::create_dir(folder.join("mounted")).expect("a folder");
    fs::create_dir(folder.join("target")).expect("a folder");
    fs::create_dir_all(folder.join("foreign/108p")).expect("a folder");
    fs::write(folder.join("foreign/108p/mine.txt"), "mine").expect("a file");
    fs::write(folder.join("file"), "mine").expect("a file");
    symlink("target", folder.join("link")).expect("a link");
    symlink("nowhere", folder.join("dangling")).expect("a link");
    assert_eq!(tool("mkfifo", &[path_text(&folder.join("pipe"))]).code, Some(0));
    let _mount = Mount::tmpfs(&folder.join("mounted"), "size=1m");
    let here = folder.canonicalize().expect("a folder");
    let inner = format!("../{}", here.file_name().expect("a name").to_string_lossy());
    ground.world.run(&to("first", &[])).expect(0).expect("a package");
    fs::remove_dir_all(folder.join("first")).expect("it goes");
    let before = tree_without_pipe(folder);
    let refused = [
        ".",
        "..",
        "/",
        "./.",
        "target/..",
        "mounted",
        "link",
        "dangling",
        "file",
        "pipe",
        "foreign",
        &inner,
        path_text(&here),
    ];
    for dest in refused {
        for more in [&[][..], &["--force"], &["--content-id", "film"], &["--content-id", "film", "--force"]] {
            let run = ground.world.run(&to(dest, more));
            assert_eq!(run.code, Some(2), "{dest} {more:?}: {}{}", run.stderr, run.text());
            assert!(tree_without_pipe(folder) == before, "{dest} {more:?}: something has changed");
        }
    }
    // An empty folder is a package's place only with --force, and so is no place of something else.
    assert_eq!(ground.world.run(&to("target", &[])).code, Some(2));
    ground.world.run(&to("target", &["--force"])).expect(0).expect("a package");
    complete(&folder.join("target")).expect("a package");
}

fn tree_without_pipe(folder: &Path) -> super::disk::Tree {
    let pipe = folder.join("pipe");
    fs::remove_file(&pipe).expect("the pipe");
    let tree = tree(folder).expect("a tree");
    assert_eq!(tool("mkfifo", &[path_text(&pipe)]).code, Some(0));
    tree
}

#[test]
fn only_a_package_and_nothing_else_is_replaced() {
    let spoil: [(&str, Deed); 6] = [
        ("a file more", |out| fs::write(out.join("notes.txt"), "mine").expect("a file")),
        ("a segment more", |out| fs::write(out.join("108p/99999.ts"), "mine").expect("a file")),
        ("a folder more", |out| fs::create_dir(out.join("240p")).expect("a folder")),
        ("a link for a segment", |out| {
            fs::remove_file(out.join("108p/00000.ts")).expect("a file");
            symlink("/etc/passwd", out.join("108p/00000.ts")).expect("a link");
        }),
        ("no record", |out| fs::remove_file(out.join("keyrung.json")).expect("a file")),
        ("a record of a later version", |out| {
            let text = fs::read_to_string(out.join("keyrung.json")).expect("a record");
            fs::write(out.join("keyrung.json"), text.replace("\"version\": 1", "\"version\": 2")).expect("a record");
        }),
    ];
    let ground = Ground::after("spoilt", &PLAIN).expect("a package");
    for (what, spoil) in spoil {
        ground.reset();
        spoil(&ground.out());
        let before = tree(&ground.out()).expect("a tree");
        for more in [&[][..], &["--force"]] {
            let run = ground.world.run(&with(more));
            assert_eq!(run.code, Some(2), "{what} {more:?}: {}", run.text());
            assert!(tree(&ground.out()).expect("a tree") == before, "{what} {more:?}: something has changed");
        }
        ground.clean(&[]).unwrap_or_else(|text| panic!("{what}: {text}"));
    }
    // What a package has lost it may have lost.
    ground.reset();
    fs::remove_file(ground.out().join("108p/00001.ts")).expect("a file");
    ground.world.run(&with(&["--force"])).expect(0).expect("a new package");
    complete(&ground.out()).expect("a package");
}

#[test]
fn the_old_package_is_whole_until_the_new_one_is() {
    let ground = Ground::after("whole", &PLAIN).expect("a package");
    let (out, old) = (ground.out(), ground.kept().expect("a tree"));
    let mut command = slow(&ground.world, &with(&["--force", "--durability", "power"]), "write,fsync,renameat2", 15);
    let mut child = started(command.spawn(), "strace");
    let mut looks = 0;
    while child.try_wait().expect("a state").is_none() {
        let now = tree(&out);
        // What was read in the very moment of the exchange is of both; a new record says so.
        if fs::read(out.join("keyrung.json")).ok().as_ref() == old.get("keyrung.json") {
            assert!(now.as_ref() == Ok(&old), "the old package has changed while the new one was made");
            looks += 1;
        } else {
            assert!(out.join("master.m3u8").exists(), "there was no package for a moment");
        }
    }
    assert_eq!(end(child).code, Some(0));
    assert!(looks > 10, "only {looks} looks");
    complete(&out).expect("a package");
    assert!(tree(&out).expect("a tree") != old);
}

#[test]
fn folders_above_dest_are_made_and_unmade() {
    let ground = Ground::new("above");
    fs::write(ground.world.folder.join("bad.ts"), vec![0; 4000]).expect("a file");
    let refused = ["package", "bad.ts", "--out", "a/b/c/out"];
    ground.world.run(&refused).expect(3).expect("a refusal");
    assert!(!ground.world.folder.join("a").exists());
    // A refusal after the folders were made: another content id's claim.
    ground.world.run(&with(&["--content-id", "film"])).expect(0).expect("a package");
    ground.world.run(&to("a/b/c/out", &["--content-id", "film"])).expect(2).expect("a refusal");
    assert!(!ground.world.folder.join("a").exists(), "folders above DEST are left");
    ground.world.run(&to("a/b/c/out", &["--durability", "power"])).expect(0).expect("a package");
    complete(&ground.world.folder.join("a/b/c/out")).expect("a package");
    clean(&ground.world.folder, &["out", "a", "bad.ts"], &[]).expect("nothing else");
}

#[test]
fn what_happens_to_dest_meanwhile() {
    let ground = Ground::new("meanwhile");
    fs::create_dir(ground.world.folder.join("parent")).expect("a folder");
    ground.save();
    let parent = ground.world.folder.join("parent");
    let staging = parent.join(".out.keyrung-staging/108p/00000.ts");
    let happens: [(&str, Deed, &[i32]); 4] = [
        ("the parent is removed", |parent| fs::remove_dir_all(parent).expect("it goes"), &[5]),
        (
            "the parent is renamed",
            |parent| fs::rename(parent, parent.with_file_name("moved")).expect("it goes"),
            &[0, 5],
        ),
        (
            "a folder comes",
            |parent| {
                fs::create_dir(parent.join("out")).expect("a folder");
                fs::write(parent.join("out/mine.txt"), "mine").expect("a file");
            },
            &[2],
        ),
        ("a file comes", |parent| fs::write(parent.join("out"), "mine").expect("a file"), &[2]),
    ];
    for (what, happen, codes) in happens {
        for more in [&[][..], &["--force"]] {
            ground.reset();
            fs::create_dir(&parent).expect("a folder");
            let mut command = slow(&ground.world, &to("parent/out", more), "write", 100);
            let child = started(command.spawn(), "strace");
            wait_until("the first segment", || staging.exists());
            happen(&parent);
            let run = end(child);
            assert!(codes.contains(&run.code.unwrap_or(-1)), "{what} {more:?}: {:?} {}", run.code, run.text());
            let moved = ground.world.folder.join("moved");
            let place = if moved.exists() { &moved } else { &parent };
            let left = tree(place).expect("a tree");
            assert!(left.keys().all(|path| !path.starts_with('.')), "{what}: {:?}", left.keys());
            if run.code == Some(0) {
                complete(&place.join("out")).expect("a package");
            }
            let mine = ["out", "out/mine.txt"].iter().any(|path| left.get(*path).is_some_and(|bytes| bytes == b"mine"));
            assert_eq!(mine, codes == [2], "{what}: {:?}", left.keys());
            if codes == [5] {
                assert!(!parent.exists(), "the parent was made again");
            }
        }
    }
}

fn at_once(world: &World, commands: &[Vec<&str>]) -> Vec<Run> {
    let spawn = |arguments: &Vec<&str>| {
        let mut command = world.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("keyrung starts")
    };
    let children: Vec<Child> = commands.iter().map(spawn).collect();
    children.into_iter().map(end).collect()
}

fn said(runs: &[Run]) -> String {
    runs.iter().map(|run| format!("{:?} {}{}\n", run.code, run.stderr, run.text())).collect()
}

#[test]
fn of_runs_at_once_on_one_dest_one_wins() {
    let rounds: Vec<usize> = (0..12).collect();
    every(
        &rounds,
        |round| format!("round {round}"),
        |round| {
            let force = round % 2 == 1;
            let ground = if force { Ground::after("at-once", &PLAIN)? } else { Ground::new("at-once") };
            let mut commands = Vec::new();
            for duration in ["2", "2", "3", "2"] {
                let mut arguments = with(if force { &["--force"] } else { &[] });
                arguments[6] = duration;
                commands.push(arguments);
            }
            let runs = at_once(&ground.world, &commands);
            let won = runs.iter().filter(|run| run.code == Some(0)).count();
            let lost = runs.iter().filter(|run| matches!(run.code, Some(2 | 7))).count();
            check!(won >= 1 && won + lost == runs.len(), "{}", said(&runs));
            decrypts(&ground.world, &ground.out())?;
            // The key of the package is that of a run which says that it has made it.
            let key = record(&ground.out())?["key_id"].clone();
            let made = |run: &Run| run.code == Some(0) && run.json().is_ok_and(|json| json["key_id"] == key);
            check!(runs.iter().any(made), "key {key} is nobody's: {}", said(&runs));
            let keys: Vec<String> = all_keys(&ground);
            ground.clean(&keys)?;
            check!(keys.len() <= won + usize::from(force) + 1, "{} keys of {won} packages", keys.len());
            let claims = claims(&ground.home())?;
            check!(claims.len() == 1 && claims[0]["key"]["key_id"] == key, "the claim is another package's");
            check!(claims[0]["state"] == "published", "the claim is not marked");
            Ok(())
        },
    );
}

fn all_keys(ground: &Ground) -> Vec<String> {
    let names = tree(&ground.home().join("keys")).expect("the key store");
    names
        .keys()
        .filter_map(|name| name.strip_suffix(".json"))
        .filter(|id| !id.contains('/'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn of_runs_at_once_on_one_content_one_wins() {
    let rounds: Vec<usize> = (0..12).collect();
    every(
        &rounds,
        |round| format!("round {round}"),
        |round| {
            let ground = Ground::new("content");
            // The keyring too is made by one of them.
            let force: &[&str] = if round % 3 == 2 { &["--force"] } else { &[] };
            let dests = ["a", "b", "c", "d"];
            let commands = dests.map(|dest| to(dest, &[&["--content-id", "film"], force].concat()));
            let runs = at_once(&ground.world, &commands);
            let won: Vec<usize> = (0..4).filter(|number| runs[*number].code == Some(0)).collect();
            check!(won.len() == 1, "{}", said(&runs));
            for (number, run) in runs.iter().enumerate() {
                let out = ground.world.folder.join(dests[number]);
                if won.contains(&number) {
                    decrypts(&ground.world, &out)?;
                } else {
                    check!(run.code == Some(2), "{}", said(&runs));
                    check!(run.text().contains("the content id film is claimed for "), "{}", run.text());
                    check!(run.text().contains("--content-id"), "no hint in {}", run.text());
                    check!(!out.exists(), "a loser has published");
                }
            }
            clean(&ground.world.folder, &dests, &[])
        },
    );
}

#[test]
fn an_input_that_changes_is_noticed() {
    let changes: [(&str, Deed); 5] = [
        ("appended to", |path| {
            File::options().append(true).open(path).expect("the input").write_all(&[0x47; 188]).expect("written");
        }),
        ("truncated", |path| {
            File::options().write(true).open(path).expect("the input").set_len(188 * 200).expect("cut")
        }),
        ("emptied", |path| drop(File::create(path).expect("the input"))),
        ("touched", |path| {
            let file = File::options().write(true).open(path).expect("the input");
            file.set_modified(std::time::SystemTime::now()).expect("touched");
        }),
        ("written to", |path| {
            let mut file = File::options().write(true).open(path).expect("the input");
            file.seek(SeekFrom::Start(188 * 300 + 100)).expect("a place");
            file.write_all(&[0x55; 20]).expect("written");
        }),
    ];
    let ground = Ground::new("changes");
    let (input, first) = (ground.world.folder.join("in.ts"), repository("fixtures/plain.ts"));
    let staging = ground.world.folder.join(".out.keyrung-staging");
    for (what, change) in changes {
        // While it is planned, while segments are read, and after the last of them was.
        for (calls, from) in [("pread64", None), ("pread64", Some("108p/00000.ts")), ("write", Some("108p/00002.ts"))] {
            ground.reset();
            fs::write(&input, fs::read(&first).expect("the fixture")).expect("the input");
            let child = started(slow(&ground.world, &with(&["--threads", "1"]), calls, 120).spawn(), "strace");
            // What is changed after a file was opened, and before it was looked at, is no change: hence the first read.
            wait_until("the moment", || from.map_or(is_read(&child, "in.ts"), |path| staging.join(path).exists()));
            change(&input);
            let run = end(child);
            assert_eq!(run.code, Some(3), "{what} {from:?}: {}{}", run.stderr, run.text());
            assert!(!ground.out().exists(), "{what} {from:?}: published");
            ground.clean(&[]).unwrap_or_else(|text| panic!("{what} {from:?}: {text}"));
        }
    }
}

/// A package that is made again, because its folder is gone, may be in use elsewhere: when that fails, its key stays.
#[test]
fn an_input_that_changes_costs_no_package_its_key() -> Check {
    let ground = Ground::new("changes-again");
    let input = ground.world.folder.join("in.ts");
    fs::copy(repository("fixtures/plain.ts"), &input).expect("the input");
    ground.world.run(&with(&[])).expect(0)?;
    fs::rename(ground.out(), ground.world.folder.join("elsewhere")).expect("moved");
    let before = claims(&ground.home())?;
    let child = started(slow(&ground.world, &with(&["--threads", "1"]), "pread64", 120).spawn(), "strace");
    wait_until("the moment", || is_read(&child, "in.ts"));
    File::options().append(true).open(&input).expect("the input").write_all(&[0x47; 188]).expect("written");
    let run = end(child);
    check!(run.code == Some(3), "{}{}", run.stderr, run.text());
    check!(before == claims(&ground.home())?, "the claim has changed");
    let id = before.first().and_then(|claim| claim["key"]["key_id"].as_str()).ok_or("no key")?.to_owned();
    ground.world.run(&["key", "export", &id, "--hex"]).expect(0)?;
    Ok(())
}

/// Whether its first thread is in a `pread64` of that file: in /proc, the call's number and its first argument.
fn is_read(child: &Child, name: &str) -> bool {
    let process = format!("/proc/{}", child.id());
    let Ok(call) = fs::read_to_string(format!("{process}/syscall")) else { return false };
    let mut words = call.split_ascii_whitespace();
    let number = if cfg!(target_arch = "x86_64") { "17" } else { "67" };
    let file = words.next().filter(|word| *word == number).and_then(|_| words.next()?.strip_prefix("0x"));
    let Some(fd) = file.and_then(|file| u32::from_str_radix(file, 16).ok()) else { return false };
    fs::read_link(format!("{process}/fd/{fd}")).is_ok_and(|path| path.ends_with(name))
}

/// A file that takes the input's name is another file; the run goes on with the one that it has opened.
#[test]
fn an_input_that_is_replaced_is_read_to_its_end() {
    let ground = Ground::new("replaced");
    let child = started(slow(&ground.world, &PLAIN, "pread64", 50).spawn(), "strace");
    wait_until("the first segment", || ground.world.folder.join(".out.keyrung-staging").exists());
    fs::copy(repository("fixtures/empty.ts"), ground.world.folder.join("new")).expect("a copy");
    fs::rename(ground.world.folder.join("new"), ground.world.folder.join("in.ts")).expect("a new input");
    end(child).expect(0).expect("a package");
    decrypts(&ground.world, &ground.out()).expect("a package");
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    let _ = kill_process(pid, signal);
}

#[test]
fn a_signal_stops_a_run_and_leaves_nothing() {
    let ground = Ground::new("signal");
    let staging = ground.world.folder.join(".out.keyrung-staging");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for calls in ["pread64", "write", "openat"] {
            ground.reset();
            let child = started(slow(&ground.world, &PLAIN, calls, 60).spawn(), "strace");
            wait_until("the staging folder", || staging.exists());
            send(&child, signal);
            let run = end(child);
            assert_eq!(run.code, Some(code), "{signal:?} {calls}: {}{}", run.stderr, run.text());
            assert!(run.json().is_ok_and(|json| json["code"] == code), "{}", run.text());
            assert!(!ground.out().exists(), "published");
            ground.clean(&[]).unwrap_or_else(|text| panic!("{signal:?} {calls}: {text}"));
            ground.world.run(&PLAIN).expect(0).expect("a package");
        }
    }
}

#[test]
fn a_signal_does_not_wait_for_standard_input() {
    let ground = Ground::new("stdin-signal");
    let bytes = fs::read(repository(LONG)).expect("a sample");
    let arguments = ["package", "-", "--out", "out", "--segment-duration", "2"];
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        // Nothing, too little to plan, and enough for a segment.
        for part in [0, 2000, bytes.len() / 4 * 3] {
            ground.reset();
            let mut command = ground.world.command(&arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().expect("keyrung starts");
            let mut pipe = child.stdin.take().expect("a pipe");
            pipe.write_all(&bytes[..part]).expect("written");
            if part > 10_000 {
                wait_until("the first segment", || ground.world.folder.join(FIRST).exists());
            } else {
                let status = format!("/proc/{}/status", child.id());
                wait_until("the handler", || {
                    let text = fs::read_to_string(&status).unwrap_or_default();
                    let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
                    // Bits of SIGINT and SIGTERM.
                    let caught = caught.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
                    caught & (1 << 1) != 0 && caught & (1 << 14) != 0
                });
            }
            let sent = Instant::now();
            send(&child, signal);
            let run = end(child);
            assert_eq!(run.code, Some(code), "{signal:?} after {part} bytes: {}", run.stderr);
            assert!(sent.elapsed() < Duration::from_secs(5), "{:?} after {part} bytes", sent.elapsed());
            drop(pipe);
            assert!(!ground.out().exists(), "published");
            ground.clean(&[]).unwrap_or_else(|text| panic!("{signal:?} after {part} bytes: {text}"));
        }
    }
}
