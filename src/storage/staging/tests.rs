use super::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};

const RECORD: &str = r#"{"format":"keyrung.package","version":1,"key_id":"any","files":[
    {"path":"master.m3u8","bytes":1},{"path":"1080p/index.m3u8","bytes":1},{"path":"1080p/00000.ts","bytes":188}]}"#;

/// Every file below `dir` with its content, and every folder, sorted.
fn snapshot(dir: &Path) -> Vec<(String, String)> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let kind = std::fs::symlink_metadata(&path).unwrap();
            let content = if kind.is_file() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
            found.push((name, content));
            if kind.is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

fn names(dir: &Path) -> Vec<String> {
    snapshot(dir).into_iter().map(|(name, _)| name).collect()
}

/// Writes the package that `RECORD` describes, with `mark` as its content.
fn fill(staging: &Staging, mark: &str) {
    staging.create_dir("1080p").unwrap();
    for name in ["1080p/00000.ts", "1080p/index.m3u8", "master.m3u8"] {
        staging.create_file(name).unwrap().write_all(mark.as_bytes()).unwrap();
    }
    staging.create_file("keyrung.json").unwrap().write_all(RECORD.as_bytes()).unwrap();
}

fn publish(dest: &Path, replace: Replace, durability: Durability, mark: &str) -> Result<(), StorageError> {
    let staging = Staging::open(dest, replace, durability)?;
    fill(&staging, mark);
    staging.publish()
}

fn open(dest: &Path, replace: Replace) -> Result<Staging, StorageError> {
    Staging::open(dest, replace, Durability::Process)
}

const PACKAGE: [&str; 6] =
    ["out", "out/1080p", "out/1080p/00000.ts", "out/1080p/index.m3u8", "out/keyrung.json", "out/master.m3u8"];

#[test]
fn a_package_appears_at_once_with_its_missing_parents() {
    for durability in [Durability::Process, Durability::Power] {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("a/b");
        let staging = Staging::open(&parent.join("out"), Replace::Refuse, durability).unwrap();
        fill(&staging, "x");
        assert_eq!(names(&parent)[0], ".out.keyrung-staging");
        assert!(!parent.join("out").exists());
        assert!(staging.free_space().unwrap() > 0);
        staging.publish().unwrap();
        assert_eq!(names(&parent), PACKAGE);
    }
}

#[test]
fn a_run_that_gives_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("kept")).unwrap();
    let staging = open(&dir.path().join("kept/a/b/out"), Replace::Refuse).unwrap();
    fill(&staging, "x");
    drop(staging);
    assert_eq!(names(dir.path()), ["kept"]);
}

#[test]
fn what_is_there_is_refused_or_replaced_whole() {
    for (rename, durability) in [(Rename::Atomic, Durability::Power), (Rename::Portable, Durability::Process)] {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("out");
        let mut staging = Staging::open(&dest, Replace::Refuse, durability).unwrap();
        staging.rename = rename;
        fill(&staging, "old");
        staging.publish().unwrap();
        let old = snapshot(dir.path());
        assert!(matches!(open(&dest, Replace::Refuse), Err(StorageError::Exists { .. })));
        assert_eq!(snapshot(dir.path()), old);
        let mut staging = Staging::open(&dest, Replace::Allow, durability).unwrap();
        staging.rename = rename;
        fill(&staging, "new");
        assert_eq!(std::fs::read_to_string(dest.join("master.m3u8")).unwrap(), "old");
        staging.publish().unwrap();
        assert_eq!(names(dir.path()), PACKAGE);
        assert_eq!(std::fs::read_to_string(dest.join("master.m3u8")).unwrap(), "new");
    }
}

#[test]
fn a_publication_that_cannot_be_flushed_is_taken_back() {
    for rename in [Rename::Atomic, Rename::Portable] {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("out");
        let staging = open(&dest, Replace::Refuse).unwrap();
        staging.move_in().unwrap();
        staging.take_back(None);
        drop(staging);
        assert_eq!(names(dir.path()), Vec::<String>::new());
        publish(&dest, Replace::Refuse, Durability::Process, "old").unwrap();
        let old = snapshot(dir.path());
        let mut staging = open(&dest, Replace::Allow).unwrap();
        staging.rename = rename;
        fill(&staging, "new");
        let aside = staging.exchange().unwrap();
        assert_eq!(std::fs::read_to_string(dest.join("master.m3u8")).unwrap(), "new");
        staging.take_back(Some(&aside));
        drop(staging);
        assert_eq!(snapshot(dir.path()), old);
    }
}

#[test]
fn an_empty_folder_is_refused_without_leave_and_replaced_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("out");
    std::fs::create_dir(&dest).unwrap();
    assert!(matches!(open(&dest, Replace::Refuse), Err(StorageError::Exists { .. })));
    publish(&dest, Replace::Allow, Durability::Process, "x").unwrap();
    assert_eq!(names(dir.path()), PACKAGE);
}

#[test]
fn foreign_files_are_never_replaced() {
    type Plant = fn(&Path);
    let plants: [(Plant, &str); 8] = [
        (|d| std::fs::write(d.join("notes.txt"), "mine").unwrap(), "notes.txt"),
        (|d| std::fs::write(d.join("1080p/.hidden"), "mine").unwrap(), "1080p/.hidden"),
        (|d| std::fs::create_dir(d.join("empty")).unwrap(), "empty"),
        (|d| std::fs::create_dir(d.join("1080p/00001.ts")).unwrap(), "1080p/00001.ts"),
        (|d| symlink("/etc", d.join("etc")).unwrap(), "etc"),
        (
            |d| {
                std::fs::remove_file(d.join("master.m3u8")).unwrap();
                symlink("/etc/passwd", d.join("master.m3u8")).unwrap();
            },
            "master.m3u8",
        ),
        (|d| std::fs::remove_file(d.join("keyrung.json")).unwrap(), "1080p"),
        (
            |d| std::fs::write(d.join("keyrung.json"), RECORD.replace("\"version\":1", "\"version\":2")).unwrap(),
            "a keyrung.json that this version cannot read",
        ),
    ];
    for (plant, found) in plants {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("out");
        publish(&dest, Replace::Refuse, Durability::Process, "x").unwrap();
        // Foreign before the run, and foreign only when it publishes.
        let staging = open(&dest, Replace::Allow).unwrap();
        fill(&staging, "new");
        plant(&dest);
        let before = snapshot(&dest);
        for error in [staging.publish().unwrap_err(), open(&dest, Replace::Allow).unwrap_err()] {
            assert!(matches!(&error, StorageError::Foreign { what, .. } if what == found), "{error}");
        }
        assert_eq!(snapshot(&dest), before);
        assert_eq!(names(dir.path()).len(), before.len() + 1);
    }
}

#[test]
fn a_record_cannot_claim_files_outside_or_hidden_ones() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("out");
    std::fs::create_dir(&dest).unwrap();
    for path in ["../victim", "/etc/passwd", ".bashrc", "a//b", "a/../b", ""] {
        let record = format!(r#"{{"format":"keyrung.package","version":1,"files":[{{"path":"{path}"}}]}}"#);
        std::fs::write(dest.join("keyrung.json"), record).unwrap();
        std::fs::write(dest.join(".bashrc"), "mine").unwrap();
        assert!(matches!(open(&dest, Replace::Allow), Err(StorageError::Foreign { .. })), "{path}");
    }
}

#[test]
fn a_folder_that_appears_meanwhile_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("out");
    let staging = open(&dest, Replace::Refuse).unwrap();
    std::fs::create_dir(&dest).unwrap();
    std::fs::write(dest.join("notes.txt"), "mine").unwrap();
    assert!(matches!(staging.publish(), Err(StorageError::Exists { .. })));
    assert_eq!(names(dir.path()), ["out", "out/notes.txt"]);
}

#[test]
fn paths_that_cannot_be_a_destination() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", &link).unwrap();
    for (dest, reason) in [
        (Path::new("."), "it has no name of its own"),
        (Path::new(".."), "it has no name of its own"),
        (Path::new("/"), "it has no name of its own"),
        (Path::new("x/.."), "it has no name of its own"),
        (Path::new(""), "it has no name of its own"),
        (&file, "it is a file, not a folder"),
        (&link, "it is a symbolic link"),
    ] {
        for replace in [Replace::Refuse, Replace::Allow] {
            let error = open(dest, replace).unwrap_err();
            assert!(matches!(&error, StorageError::Unusable { why, .. } if *why == reason), "{dest:?}: {error}");
        }
    }
    assert!(matches!(open(&file.join("out"), Replace::Refuse), Err(StorageError::NotADirectory { .. })));
    assert_eq!(names(dir.path()), ["file", "link", "real"]);
    // Looked at only: nothing is made beside these two.
    let here = std::env::current_dir().unwrap();
    for (dest, reason) in [(here.as_path(), "it is the current folder"), (Path::new("/proc"), "it is a mount point")] {
        let parent = File::open(dest.parent().unwrap()).unwrap();
        let seen = occupied::inspect(&parent, dest.file_name().unwrap(), dest, Replace::Allow);
        assert!(matches!(seen, Err(StorageError::Unusable { why, .. }) if why == reason), "{dest:?}");
    }
}

#[test]
fn a_full_name_is_the_same_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("real")).unwrap();
    symlink("real", root.join("link")).unwrap();
    let expected = root.join("real/a/out");
    assert_eq!(full_name(&root.join("link/a/out/")).unwrap(), expected);
    publish(&root.join("link/a/out"), Replace::Refuse, Durability::Process, "x").unwrap();
    assert_eq!(full_name(&root.join("real/./a/out")).unwrap(), expected);
    assert_eq!(
        full_name(Path::new("out")).unwrap(),
        std::env::current_dir().unwrap().canonicalize().unwrap().join("out")
    );
    assert!(full_name(Path::new("..")).is_err());
}

#[test]
fn one_of_two_runs_wins() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("out");
    let first = open(&dest, Replace::Allow).unwrap();
    fill(&first, "first");
    assert!(matches!(open(&dest, Replace::Allow), Err(StorageError::Locked { .. })));
    assert!(!Staging::discard_stale(&dest).unwrap());
    first.publish().unwrap();
    assert_eq!(std::fs::read_to_string(dest.join("master.m3u8")).unwrap(), "first");
    assert_eq!(names(dir.path()), PACKAGE);
}

#[test]
fn many_runs_at_once_never_mix() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("out");
    let published: usize = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|run| {
                let dest = &dest;
                scope.spawn(move || {
                    let tries =
                        (0..20).map(|_| publish(dest, Replace::Allow, Durability::Process, &format!("run {run}")));
                    tries.fold(0, |published, result| match result {
                        Ok(()) => published + 1,
                        Err(StorageError::Locked { .. }) => published,
                        Err(e) => panic!("{e}"),
                    })
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert!(published > 0);
    assert_eq!(names(dir.path()), PACKAGE);
    let mut marks: Vec<_> =
        snapshot(&dest).into_iter().filter(|(_, content)| content.starts_with("run")).map(|(_, mark)| mark).collect();
    assert_eq!(marks.len(), 3);
    marks.dedup();
    assert_eq!(marks.len(), 1, "a mixture: {marks:?}");
}

#[test]
fn a_killed_fallback_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let (dest, aside) = (dir.path().join("out"), dir.path().join(".out.keyrung-old"));
    publish(&dest, Replace::Refuse, Durability::Process, "old").unwrap();
    // Killed between the two renames: the old package comes back.
    std::fs::rename(&dest, &aside).unwrap();
    assert!(matches!(open(&dest, Replace::Refuse), Err(StorageError::Exists { .. })));
    assert_eq!(names(dir.path()), PACKAGE);
    // Killed after them: it goes.
    std::fs::create_dir_all(aside.join("1080p")).unwrap();
    assert!(Staging::discard_stale(&dest).unwrap());
    assert_eq!(names(dir.path()), PACKAGE);
}

#[test]
fn only_plain_names_beneath_the_staging_folder() {
    let dir = tempfile::tempdir().unwrap();
    let staging = open(&dir.path().join("out"), Replace::Refuse).unwrap();
    std::fs::create_dir(dir.path().join("outside")).unwrap();
    symlink(dir.path().join("outside"), staging.path().join("link")).unwrap();
    symlink(dir.path().join("outside/file"), staging.path().join("file")).unwrap();
    for bad in
        ["", ".", "..", "../x", "/x", "a/../x", "a//x", "a/", ".x", "x\0", "x\ny", "x y", "a\\b", "\u{ff0e}\u{ff0e}/x"]
    {
        assert!(matches!(staging.create_file(bad), Err(StorageError::BadName { .. })), "{bad:?}");
        assert!(matches!(staging.create_dir(bad), Err(StorageError::BadName { .. })), "{bad:?}");
    }
    assert!(staging.create_file("link/x").is_err());
    assert!(staging.create_dir("link/x").is_err());
    assert!(matches!(staging.create_file("file"), Err(StorageError::Exists { .. })));
    assert!(staging.create_file("absent/x").unwrap_err().is_not_found());
    assert_eq!(names(&dir.path().join("outside")), Vec::<String>::new());
    drop(staging);
    assert_eq!(names(dir.path()), ["outside"]);
}

#[test]
fn a_link_in_place_of_the_staging_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("precious"), "x").unwrap();
    symlink(&victim, dir.path().join(".out.keyrung-staging")).unwrap();
    assert!(matches!(open(&dir.path().join("out"), Replace::Allow), Err(StorageError::Unusable { .. })));
    assert!(victim.join("precious").exists());
}

/// Not a test by itself: other tests start this test binary again to have a second process.
#[test]
fn second_process() {
    let Some(dest) = std::env::var_os("KEYRUNG_TEST_DEST") else { return };
    let dest = Path::new(&dest);
    if std::env::var_os("KEYRUNG_TEST_UMASK").is_some() {
        rustix::process::umask(Mode::from_raw_mode(0o777));
        return publish(dest, Replace::Allow, Durability::Power, "x").unwrap();
    }
    let staging = open(dest, Replace::Allow).unwrap();
    staging.create_file("half").unwrap().write_all(b"half").unwrap();
    println!("locked");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

fn second_process_on(dest: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "storage::staging::tests::second_process", "--nocapture"]);
    command.env("KEYRUNG_TEST_DEST", dest).stdout(Stdio::piped());
    command
}

#[test]
fn a_killed_process_leaves_a_folder_that_the_next_run_takes() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("out");
    let mut child = second_process_on(&dest).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("locked")));
    assert!(matches!(open(&dest, Replace::Allow), Err(StorageError::Locked { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(dir.path()), [".out.keyrung-staging", ".out.keyrung-staging/half"]);
    publish(&dest, Replace::Refuse, Durability::Process, "x").unwrap();
    assert_eq!(names(dir.path()), PACKAGE);
}

#[test]
fn an_odd_umask_does_not_lock_the_owner_out() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("above/out");
    let status = second_process_on(&dest).env("KEYRUNG_TEST_UMASK", "1").status().unwrap();
    assert!(status.success());
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(dir.path().join("above")), 0o700);
    assert_eq!(mode(dest.clone()), 0o700);
    assert_eq!(mode(dest.join("1080p")), 0o700);
    assert_eq!(mode(dest.join("1080p/00000.ts")), 0o600);
}
