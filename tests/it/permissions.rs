//! Keys that others may read are refused, and the hint is the command that mends it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::common::{Check, World, every, repository};
use super::refusals::refuse;

#[test]
fn what_others_may_read_is_refused_with_the_command_that_mends_it() {
    let cases = [
        ("home", 0o750),
        ("home", 0o701),
        ("home/keyring.json", 0o640),
        ("home/keyring.json", 0o604),
        ("home/keys", 0o750),
        ("home/keys", 0o705),
    ];
    every(
        &cases,
        |(path, mode)| format!("{path} with {mode:o}"),
        |(path, mode)| {
            let world = World::new("permissions");
            fs::copy(repository("fixtures/plain.ts"), world.folder.join("in.ts")).map_err(|e| e.to_string())?;
            let run = world.run(&["key", "generate", "--content-id", "film"]).expect(0)?.text();
            let id = run.trim_end();
            let place = world.folder.join(path);
            fs::set_permissions(&place, fs::Permissions::from_mode(*mode)).map_err(|e| e.to_string())?;
            let mut commands = vec![
                vec!["package", "in.ts", "--out", "out"],
                vec!["key", "export", id, "--hex"],
                vec!["key", "generate", "--content-id", "other"],
            ];
            if path.ends_with("keyring.json") {
                commands.push(vec!["key", "backup", "copy"]);
            } else {
                commands.push(vec!["key", "list"]);
                commands.push(vec!["gc"]);
            }
            let mut mend = String::new();
            for command in &commands {
                let run = refuse(&world, command, 4).map_err(|text| format!("{command:?}: {text}"))?;
                let hint = run.stderr.lines().find_map(|line| line.strip_prefix("hint: "));
                mend = hint.ok_or("no hint")?.to_owned();
                check!(mend.starts_with("chmod "), "the hint is {mend}");
            }
            check!(!world.folder.join("out").exists(), "something was published");
            let mended = Command::new("sh").args(["-c", &mend]).status().map_err(|e| e.to_string())?;
            check!(mended.success(), "{mend} fails");
            let mode = fs::metadata(&place).map_err(|e| e.to_string())?.permissions().mode() & 0o777;
            check!(mode & 0o077 == 0, "{mend} leaves {mode:o}");
            world.run(&["key", "export", id, "--hex"]).expect(0)?;
            Ok::<(), String>(()) as Check
        },
    );
}

#[test]
fn a_backup_that_others_may_read_is_not_restored() {
    let world = World::new("open-backup");
    world.run(&["key", "generate", "--content-id", "film"]).expect(0).expect("a key");
    world.run(&["key", "backup", "copy"]).expect(0).expect("a backup");
    let copy = world.folder.join("copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).expect("a mode");
    let run = refuse(&world, &["key", "restore", "copy"], 4).expect("a refusal");
    assert!(run.stderr.contains("hint: chmod 600 "), "{}", run.stderr);
}

#[test]
fn what_is_made_is_private() {
    let world = World::new("private");
    world.run(&["key", "generate", "--content-id", "film"]).expect(0).expect("a key");
    let home = world.folder.join("home");
    let mode = |path: &str| fs::metadata(home.join(path)).expect(path).permissions().mode() & 0o7777;
    assert_eq!([mode("."), mode("keys"), mode("keyring.json")], [0o700, 0o700, 0o600]);
    for entry in fs::read_dir(home.join("keys")).expect("the key store").flatten() {
        assert_eq!(entry.metadata().expect("it").permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
}
