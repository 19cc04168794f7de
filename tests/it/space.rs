//! No space, no permission, calls that fail: exit code 5, DEST as it was, nothing left, and the same command succeeds when
//! the trouble is over. The tests run as root, which they need to mount file systems and to give up rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::common::{Check, Run, World, every, repository, scratch, started, tool};
use super::crash::{MANNERS, Manner, Seen, recovers, seen};
use super::disk::{Ground, claims, complete, tree};
use super::package::path_text;

/// A mounted file system, unmounted when dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts a tmpfs at `at`, which is there.
    pub fn tmpfs(at: &Path, options: &str) -> Self {
        let run = tool("mount", &["-t", "tmpfs", "-o", options, "tmpfs", path_text(at)]);
        assert!(
            run.code == Some(0),
            "mount: {}hint: the tests mount file systems: run them as root, in a container with CAP_SYS_ADMIN",
            run.stderr
        );
        Self(at.to_path_buf())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        tool("umount", &["-l", path_text(&self.0)]);
    }
}

/// A refusal by storage: exit code 5, one line of error, no panic.
fn storage_failed(run: &Run) -> Check {
    check!(run.code == Some(5), "exit code {:?}: {}{}", run.code, run.stderr, run.text());
    let errors = run.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    let as_json = run.json().is_ok_and(|json| json["code"] == 5);
    check!((errors == 1 || as_json) && !run.stderr.contains("panicked"), "{}", run.stderr);
    Ok(())
}

/// With everything on a file system of 1 MiB, `free` bytes of it, for the home and the package.
fn full_disk(force: bool, stdin: bool, free: usize) -> Check {
    let world = World::new("tmpfs");
    let _disk = Mount::tmpfs(&world.folder, "size=1m");
    let (file, out) = (repository("fixtures/plain.ts"), world.folder.join("out"));
    let input = if stdin { "-" } else { path_text(&file) };
    let mut arguments = vec!["package", input, "--out", "out", "--segment-duration", "2", "-q"];
    let run = |arguments: &[&str]| if stdin { world.run_with_input(arguments, &file) } else { world.run(arguments) };
    if force {
        run(&arguments).expect(0)?;
        arguments.push("--force");
    }
    let before = tree(&world.folder)?;
    let filler = world.folder.join("filler");
    let available = |path: &Path| rustix::fs::statvfs(path).map(|stat| (stat.f_bavail * stat.f_frsize) as usize);
    let room = available(&world.folder).map_err(|e| e.to_string())?;
    fs::write(&filler, vec![0; room - free]).map_err(|e| e.to_string())?;
    let full = run(&arguments);
    if full.code == Some(0) {
        check!(free >= 80_000, "{free} bytes were enough");
        return complete(&out);
    }
    storage_failed(&full)?;
    check!(full.stderr.contains("no space left"), "{}", full.stderr);
    check!(full.stderr.contains("hint: free some space and run the same command again"), "{}", full.stderr);
    fs::remove_file(&filler).map_err(|e| e.to_string())?;
    let left = tree(&world.folder)?;
    for (path, bytes) in &before {
        // Only the claim is replaced.
        check!(path.contains("/claims/") || left.get(path) == Some(bytes), "{path} has changed");
    }
    let strays: Vec<_> = left.keys().filter(|path| !before.contains_key(*path) && !path.starts_with("home/")).collect();
    check!(strays.is_empty(), "{strays:?} are left");
    run(&arguments).expect(0).map_err(|text| format!("with space again: {text}"))?;
    complete(&out)?;
    // A claim that standard input could not adopt leaves its key: nobody knows that it is not needed.
    let keys = claims(&world.folder.join("home"))?.len() + usize::from(force);
    let there = tree(&world.folder.join("home/keys"))?.keys().filter(|name| !name.contains("claims")).count();
    check!(stdin || there == keys, "{there} keys of {keys} claims");
    Ok(())
}

#[test]
fn no_space_on_a_real_disk() {
    let mut cases = Vec::new();
    for free in (0..=108).step_by(4) {
        cases.extend([(false, false, free), (false, true, free), (true, false, free), (true, true, free)]);
    }
    every(
        &cases,
        |(force, stdin, free)| format!("force {force}, stdin {stdin}, {free} KiB"),
        |(force, stdin, free)| full_disk(*force, *stdin, free * 1024),
    );
}

#[test]
fn no_inodes_on_a_real_disk() {
    let inodes: Vec<u32> = (2..=20).collect();
    let made = std::sync::atomic::AtomicUsize::new(0);
    every(
        &inodes,
        |inodes| format!("{inodes} inodes"),
        |inodes| {
            let world = World::new("inodes");
            let _disk = Mount::tmpfs(&world.folder, &format!("size=1m,nr_inodes={inodes}"));
            let file = repository("fixtures/plain.ts");
            let arguments = ["package", path_text(&file), "--out", "a/b/out", "--segment-duration", "2", "-q"];
            let run = world.run(&arguments);
            if run.code == Some(0) {
                made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return complete(&world.folder.join("a/b/out"));
            }
            storage_failed(&run)?;
            let left: Vec<_> = tree(&world.folder)?.into_keys().filter(|path| !path.starts_with("home")).collect();
            check!(left.is_empty(), "{left:?} are left");
            let more = tool("mount", &["-o", "remount,nr_inodes=100", path_text(&world.folder)]);
            check!(more.code == Some(0), "remount: {}", more.stderr);
            world.run(&arguments).expect(0)?;
            complete(&world.folder.join("a/b/out"))
        },
    );
    assert!((1..10).contains(&made.into_inner()), "the numbers of inodes prove nothing");
}

/// Space is checked before the work where it can be: nothing is claimed.
#[test]
fn a_disk_that_is_too_small_is_noticed_at_once() {
    let ground = Ground::new("small");
    let disk = ground.world.folder.join("disk");
    fs::create_dir(&disk).expect("a folder");
    let _mount = Mount::tmpfs(&disk, "size=64k");
    let run = ground.world.run(&["package", "in.ts", "--out", "disk/out"]);
    storage_failed(&run).expect("no space");
    assert_eq!(claims(&ground.home()).expect("claims").len(), 0);
    assert!(tree(&disk).expect("the disk").is_empty());
}

/// Calls that fail, one at a time, and what DEST may be after it.
#[test]
fn a_call_that_fails_is_survived() {
    let failures = [
        ("write,pwrite64", "ENOSPC"),
        ("write,pwrite64", "EIO"),
        ("openat", "EMFILE"),
        ("openat", "EACCES"),
        ("?mkdir,mkdirat", "ENOSPC"),
        ("?mkdir,mkdirat", "EROFS"),
        ("fsync,fdatasync", "EIO"),
        ("?rename,renameat,renameat2", "EIO"),
        ("?link,linkat", "ENOSPC"),
        ("?unlink,unlinkat", "EIO"),
        ("flock", "ENOLCK"),
        ("pread64", "EIO"),
    ];
    let manners = [MANNERS[0], MANNERS[3]];
    let cases: Vec<_> = manners.iter().flat_map(|manner| failures.map(|(c, e)| (*manner, c, e))).collect();
    every(
        &cases,
        |(manner, calls, error)| format!("{calls} with {error}, {manner:?}"),
        |(manner, calls, error)| {
            let ground = manner.ground("failed")?;
            let log = scratch("failed-log").join("strace.log");
            for n in 1..200 {
                match failed(&ground, *manner, calls, error, n, &log) {
                    Ok(true) => {}
                    Ok(false) if n > 1 || (!manner.force && *calls == "?unlink,unlinkat") => return Ok(()),
                    Ok(false) => return Err("the run makes no such call".to_owned()),
                    Err(text) => return Err(format!("call {n}: {text}")),
                }
            }
            Err("the run never ran undisturbed".to_owned())
        },
    );
}

/// Lets the n-th call of each thread fail. `false`: no thread came so far.
fn failed(ground: &Ground, manner: Manner, calls: &str, error: &str, n: usize, log: &Path) -> Check<bool> {
    ground.reset();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}:when={n}"));
    let options = ["-f", "-qq", "-o", path_text(log), "-e", &trace, "-e", &inject];
    let mut command = ground.world.wrapped("strace", &options, &manner.arguments());
    let run = Run::of(started(command.stdin(Stdio::null()).output(), "strace"));
    let text = fs::read_to_string(log).map_err(|e| e.to_string())?;
    check!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let (now, _) = seen(ground)?;
    if !text.contains("(INJECTED)") {
        check!(run.code == Some(0) && now == Seen::New, "undisturbed: {:?}: {}", run.code, run.stderr);
        return Ok(false);
    }
    let before = now == Seen::Before;
    let fine = match run.code {
        Some(0) => !before,
        // The dynamic linker's own code; the input cannot be read; no signal can be watched for.
        Some(127 | 3) => before && ["pread64", "openat"].contains(&calls),
        Some(1) => before && calls == "openat",
        Some(5) => before || run.stderr.contains("cannot write to standard output"),
        _ => false,
    };
    check!(fine, "exit code {:?}, DEST is as before: {before}, {}{}", run.code, run.stderr, run.text());
    if run.code != Some(127) {
        // What cannot be opened or removed stays for the next run.
        let helpless = calls == "openat" || calls.contains("unlink");
        let beside = ground.world.folder.join(".out.keyrung-staging").exists();
        check!(helpless || !beside, "exit code {:?}, and the staging folder is left", run.code);
    }
    if ground.home().join("keyring.json").exists() {
        recovers(ground, manner)?;
    }
    Ok(true)
}

/// From some write on there is no space any more, for the error message too.
#[test]
fn a_disk_that_stays_full_is_a_storage_failure() {
    for manner in MANNERS {
        let ground = manner.ground("full").expect("a ground");
        let steps: Vec<usize> = (1..=12).collect();
        for n in steps {
            let check = || -> Check {
                ground.reset();
                let inject = format!("write,pwrite64:error=ENOSPC:when={n}+");
                let run = ground.world.run_injected(&manner.arguments(), &inject);
                check!(matches!(run.code, Some(0 | 5)), "exit code {:?}: {}", run.code, run.stderr);
                seen(&ground)?;
                recovers(&ground, manner)
            };
            check().unwrap_or_else(|text| panic!("{manner:?}, full from write {n} on: {text}"));
        }
    }
}

/// RLIMIT_FSIZE: the write fails, and the run ends in order.
#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let cases: Vec<_> = [0, 100, 1000, 10_000, 25_000].iter().flat_map(|size| MANNERS.map(|m| (*size, m))).collect();
    every(
        &cases,
        |(size, manner)| format!("{size} bytes, {manner:?}"),
        |(size, manner)| {
            let ground = manner.ground("fsize")?;
            ground.reset();
            let limit = format!("--fsize={size}");
            let mut command = ground.world.wrapped("prlimit", &[&limit], &manner.arguments());
            let run = Run::of(started(command.stdin(Stdio::null()).output(), "prlimit"));
            storage_failed(&run)?;
            check!(run.text().contains("File too large"), "{}", run.text());
            check!(seen(&ground)?.0 == Seen::Before, "DEST has changed");
            check!(!ground.world.folder.join(".out.keyrung-staging").exists(), "the staging folder is left");
            recovers(&ground, *manner)
        },
    );
}

/// A world that an ordinary user can reach, with a copy of keyrung in it; for one who is not root modes count.
struct UserWorld(tempfile::TempDir);

const NOBODY: u32 = 65534;

impl UserWorld {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let world = Self(dir);
        // By another process: a program that this one has open for writing, or a child that a thread of it is just starting,
        // cannot be run.
        tool("cp", &[env!("CARGO_BIN_EXE_keyrung"), path_text(&world.path("keyrung"))]).expect(0).expect("a copy");
        fs::copy(repository("fixtures/plain.ts"), world.path("in.ts")).expect("a copy");
        fs::set_permissions(world.0.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        fs::set_permissions(world.path("in.ts"), PermissionsExt::from_mode(0o644)).expect("a mode");
        for folder in ["home", "place"] {
            fs::create_dir(world.path(folder)).expect("a folder");
            world.own(folder, 0o700);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn own(&self, name: &str, mode: u32) {
        chown(self.path(name), Some(NOBODY), Some(NOBODY)).expect("the tests run as root");
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).expect("a mode");
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new("setpriv");
        let user = NOBODY.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", path_text(&self.path("keyrung"))]);
        command.args(arguments).env("KEYRUNG_HOME", self.path("home")).current_dir(self.0.path());
        Run::of(started(command.stdin(Stdio::null()).output(), "setpriv"))
    }
}

#[test]
fn a_place_without_permission_is_a_storage_failure() {
    let world = UserWorld::new();
    let arguments = ["package", "in.ts", "--out", "place/out", "--segment-duration", "2", "-q"];
    let again = [&arguments[..], &["--force"]].concat();
    // Not to be searched, not to be written, and a folder above DEST that cannot be made.
    for mode in [0o000, 0o500, 0o600] {
        world.own("place", mode);
        for arguments in [&arguments[..], &again[..], &["package", "in.ts", "--out", "place/a/b/out"]] {
            let run = world.run(arguments);
            storage_failed(&run).unwrap_or_else(|text| panic!("mode {mode:o}: {text}"));
            assert!(run.stderr.contains("permission denied"), "mode {mode:o}: {}", run.stderr);
            assert!(tree(&world.path("place")).expect("a tree").is_empty());
        }
    }
    world.own("place", 0o700);
    world.run(&arguments).expect(0).expect("a package");
    let old = tree(&world.path("place")).expect("a tree");
    complete(&world.path("place/out")).expect("a package");
    // The old package stays whole where the new one cannot be made.
    world.own("place", 0o500);
    storage_failed(&world.run(&again)).expect("no permission");
    assert!(tree(&world.path("place")).expect("a tree") == old, "the old package was touched");
    world.own("place", 0o700);
    world.run(&again).expect(0).expect("a package");
    complete(&world.path("place/out")).expect("a package");
    assert_eq!(fs::read_dir(world.path("place")).expect("a folder").count(), 1);
}

#[test]
fn a_home_or_an_input_without_permission_is_refused() {
    let world = UserWorld::new();
    let arguments = ["package", "in.ts", "--out", "place/out", "-q"];
    world.own("home", 0o500);
    storage_failed(&world.run(&arguments)).expect("no permission");
    // Others may read it.
    world.own("home", 0o755);
    let run = world.run(&arguments);
    assert!(matches!(run.code, Some(4 | 5)), "{:?}: {}", run.code, run.stderr);
    assert!(run.stderr.contains("hint: chmod 700 "), "{}", run.stderr);
    world.own("home", 0o700);
    fs::set_permissions(world.path("in.ts"), PermissionsExt::from_mode(0o600)).expect("a mode");
    world.run(&arguments).expect(3).expect("a refusal");
    assert!(tree(&world.path("place")).expect("a tree").is_empty());
    fs::set_permissions(world.path("in.ts"), PermissionsExt::from_mode(0o644)).expect("a mode");
    world.run(&arguments).expect(0).expect("a package");
}

#[test]
fn a_disk_mounted_read_only_is_a_storage_failure() {
    let ground = Ground::new("read-only");
    let disk = ground.world.folder.join("disk");
    fs::create_dir(&disk).expect("a folder");
    let _mount = Mount::tmpfs(&disk, "size=1m");
    let arguments = ["package", "in.ts", "--out", "disk/out", "-q"];
    let remount = |option: &str| {
        let run = tool("mount", &["-o", &format!("remount,{option}"), path_text(&disk)]);
        assert!(run.code == Some(0), "{}", run.stderr);
    };
    remount("ro");
    let run = ground.world.run(&arguments);
    storage_failed(&run).expect("no permission");
    assert!(run.stderr.contains("permission denied"), "{}", run.stderr);
    remount("rw");
    ground.world.run(&arguments).expect(0).expect("a package");
    let old = tree(&disk).expect("a tree");
    remount("ro");
    storage_failed(&ground.world.run(&[&arguments[..], &["--force"]].concat())).expect("no permission");
    assert!(tree(&disk).expect("a tree") == old);
    remount("rw");
    complete(&disk.join("out")).expect("a package");
}

/// A file where a folder should be.
#[test]
fn a_place_below_a_file_is_refused() {
    let ground = Ground::new("below");
    let run = ground.world.run(&["package", "in.ts", "--out", "in.ts/out"]);
    assert!(matches!(run.code, Some(2 | 5)), "{:?}: {}", run.code, run.stderr);
    assert!(run.stderr.lines().any(|line| line.starts_with("error: ")), "{}", run.stderr);
    ground.clean(&[]).expect("nothing else");
}
