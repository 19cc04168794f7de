//! Killed, or refused by the system, at any system call that writes: nothing half-published is ever visible, and a
//! second run makes the same media and leaves nothing else. strace does the killing.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::common::{Check, Run, World, every, repository};
use super::package::{self, Package, path_text};
use super::table;

/// System calls that change what is on disk, or make a name for it. The marked ones are not on every machine.
const CALLS: [&str; 8] = [
    "openat",
    "write,pwrite64",
    "?mkdir,mkdirat",
    "?rename,renameat,renameat2",
    "fsync,fdatasync",
    "?unlink,unlinkat",
    "?link,linkat",
    "fchmod,ftruncate",
];

const DURABILITY: [&str; 2] = ["process", "power"];

fn arguments(durability: &'static str) -> [&'static str; 12] {
    let seconds = ["--segment-duration", "2", "--durability", durability];
    let [a, b, c, d] = seconds;
    ["--json", "package", "in.ts", "--out", "out", a, b, c, d, "--threads", "1", "-q"]
}

/// A world with an input in it.
fn world(name: &str) -> World {
    let world = World::new(name);
    fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).expect("a copy");
    world
}

fn reference() -> Arc<Package> {
    let plain = table::all().into_iter().find(|fixture| fixture.name == "plain.ts").expect("plain.ts");
    package::of(&plain, 2).expect("a package")
}

/// Everything that the playlists of a published folder name is there.
fn complete(out: &Path) -> Check {
    let read = |path: &Path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let uris = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    };
    check!(out.join("keyrung.json").exists(), "published without a commit record");
    for playlist in uris(&read(&out.join("master.m3u8"))?) {
        let playlist = out.join(playlist);
        let text = read(&playlist)?;
        check!(text.ends_with("#EXT-X-ENDLIST\n"), "{} is cut short", playlist.display());
        for segment in uris(&text) {
            let path = playlist.with_file_name(&segment);
            let length = fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?.len();
            check!(length > 0 && length % 16 == 0, "{segment} has {length} bytes");
        }
    }
    Ok(())
}

/// A run after the disturbed one succeeds, makes the same media, and leaves no stray.
fn recovers(world: &World, durability: &'static str) -> Check {
    let out = world.folder.join("out");
    if out.exists() {
        complete(&out)?;
    }
    let there = out.exists();
    let again = world.run(&arguments(durability));
    if there {
        // The disturbance came after the package was published: it is there, or its own claim finds it done.
        check!(matches!(again.code, Some(0 | 2)), "exit code {:?}: {}{}", again.code, again.stderr, again.text());
        return complete(&out);
    }
    let package = package::read(world.clone(), again)?;
    let clear = |package: &Package| -> Vec<Vec<u8>> {
        package.renditions.iter().flat_map(|r| &r.segments).map(|s| s.clear.clone()).collect()
    };
    check!(clear(&package) == clear(&reference()), "the second run made other media");
    let mut strays: Vec<String> = Vec::new();
    for entry in fs::read_dir(&world.folder).map_err(|e| e.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(["home", "in.ts", "out"].contains(&name.as_str()) || name.ends_with(".clear.ts")) {
            strays.push(name);
        }
    }
    check!(strays.is_empty(), "{strays:?} are left after the second run");
    Ok(())
}

/// The n-th calls to disturb: every one at first, then ever fewer.
fn steps() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |n| Some(n + 1 + n / 8)).take_while(|n| *n < 2000)
}

#[test]
fn killed_at_any_call_nothing_half_done_is_visible() {
    let cases: Vec<(&str, &str)> = CALLS.iter().flat_map(|calls| DURABILITY.map(|d| (*calls, d))).collect();
    every(
        &cases,
        |(calls, durability)| format!("{calls} with --durability {durability}"),
        |(calls, durability)| {
            for n in steps() {
                let world = world("killed");
                let run = world.run_injected(&arguments(durability), &format!("{calls}:signal=SIGKILL:when={n}"));
                let done = run.code == Some(0);
                check!(done || run.code.is_none() || run.code == Some(137), "call {n}: {:?}: {}", run.code, run.stderr);
                if done {
                    return complete(&world.folder.join("out"));
                }
                recovers(&world, durability).map_err(|text| format!("killed at call {n}: {text}"))?;
            }
            Err("the run never got to its end".to_owned())
        },
    );
}

#[test]
fn a_call_that_fails_is_survived() {
    let failures = [
        ("write,pwrite64", "ENOSPC"),
        ("?mkdir,mkdirat", "ENOSPC"),
        ("fsync,fdatasync", "EIO"),
        ("?rename,renameat,renameat2", "EIO"),
    ];
    every(
        &failures,
        |(calls, error)| format!("{calls} with {error}"),
        |(calls, error)| {
            for n in steps() {
                let world = world("failed");
                let run = world.run_injected(&arguments("power"), &format!("{calls}:error={error}:when={n}"));
                check!(!run.stderr.contains("panicked"), "call {n}: {}", run.stderr);
                check!(matches!(run.code, Some(0 | 4 | 5)), "call {n}: exit code {:?}: {}", run.code, run.stderr);
                let untouched = run.code == Some(0) && complete(&world.folder.join("out")).is_ok();
                if untouched && !was_called(calls, n) {
                    return Ok(());
                }
                recovers(&world, "power").map_err(|text| format!("call {n} failed: {text}"))?;
            }
            Err("the run never got to its end".to_owned())
        },
    );
}

/// Whether a thread of an undisturbed run makes the n-th of these calls at all.
fn was_called(calls: &str, n: usize) -> bool {
    let run = world("called").run_injected(&arguments("power"), &format!("{calls}:signal=SIGKILL:when={n}"));
    run.code != Some(0)
}

#[test]
fn of_two_runs_at_once_one_publishes() {
    for _ in 0..8 {
        let world = world("race");
        let runs: Vec<Run> = thread::scope(|scope| {
            let start = || scope.spawn(|| world.run(&arguments("process")));
            let both = [start(), start()];
            both.map(|run| run.join().expect("a run")).into_iter().collect()
        });
        let won = runs.iter().filter(|run| run.code == Some(0)).count();
        // The other finds DEST locked (7: try again later) or already published (2), or joins in the same claim (0).
        let lost = runs.iter().filter(|run| matches!(run.code, Some(2 | 7))).count();
        let said = || runs.iter().map(|run| format!("{:?} {}", run.code, run.stderr)).collect::<Vec<_>>();
        assert!(won >= 1 && won + lost == 2, "{:?}", said());
        complete(&world.folder.join("out")).expect("a whole package");
        let winner = runs.into_iter().find(|run| run.code == Some(0)).expect("a winner");
        package::read(world, winner).expect("a package that decrypts");
    }
}

/// A folder in which nothing can be made: here a file in its place, since the superuser may write anywhere.
#[test]
fn a_place_that_cannot_be_written_is_refused() {
    let world = world("unwritable");
    fs::write(world.folder.join("file"), "").expect("a file");
    let run = world.run(&["package", path_text(&world.folder.join("in.ts")), "--out", "file/out"]);
    assert!(matches!(run.code, Some(2 | 5)), "{:?}: {}", run.code, run.stderr);
    assert!(run.stderr.lines().any(|line| line.starts_with("error: ")), "{}", run.stderr);
}

/// From some write on there is no space any more, for the error message too.
#[test]
fn a_disk_that_stays_full_is_a_storage_failure() {
    let steps: Vec<usize> = (1..=9).collect();
    every(
        &steps,
        |n| format!("full from write {n} on"),
        |n| {
            let world = world("full");
            let run = world.run_injected(&arguments("process"), &format!("write,pwrite64:error=ENOSPC:when={n}+"));
            check!(matches!(run.code, Some(0 | 4 | 5)), "exit code {:?}: {}", run.code, run.stderr);
            // No thread may have come so far; then there is a package. It may also be there, whole, when only the claim's
            // mark or the result on standard output found no space.
            let there = world.folder.join("out").exists();
            check!(there || run.code != Some(0), "exit code 0 and no package");
            recovers(&world, "process")
        },
    );
}
