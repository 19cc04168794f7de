//! `keyrung batch`: a catalogue, resumable, on one machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::{Check, Run, World, eventually, repository, started, tool};
use super::disk::tree;
use super::package::path_text;
use super::space::Mount;

fn fixture(name: &str) -> String {
    repository(&format!("fixtures/{name}.ts")).display().to_string()
}

/// A jobs file of these titles in the world's folder.
fn jobs(world: &World, titles: &[Value]) {
    let lines: String = titles.iter().map(|title| format!("{title}\n")).collect();
    fs::write(world.folder.join("jobs.jsonl"), lines).expect("the jobs file");
}

fn title(id: &str, input: &str) -> Value {
    json!({ "content_id": id, "inputs": [fixture(input)], "out": format!("out/{id}"), "segment_duration": 2 })
}

fn titles(count: usize) -> Vec<Value> {
    let inputs = ["plain", "h264-ac3", "audio-aac", "two-programs", "id3"];
    (0..count).map(|number| title(&format!("t{number}"), inputs[number % inputs.len()])).collect()
}

/// The lines of the report by content id; each title has one.
fn report(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let id = line["content_id"].as_str().unwrap_or_default().to_owned();
        assert!(lines.insert(id, line).is_none(), "a title is there twice: {text}");
    }
    lines
}

fn statuses(world: &World) -> BTreeMap<String, String> {
    let lines = report(&world.folder.join("jobs.jsonl.report.jsonl"));
    lines.into_iter().map(|(id, line)| (id, line["status"].as_str().unwrap_or_default().to_owned())).collect()
}

fn batch(world: &World, more: &[&str]) -> Run {
    world.run(&[&["batch", "jobs.jsonl", "--json"], more].concat())
}

fn verify_all(world: &World, ids: &[String]) -> Check {
    for id in ids {
        world.run(&["verify", &format!("out/{id}")]).expect(0).map_err(|error| format!("{id}: {error}"))?;
    }
    Ok(())
}

#[test]
fn a_catalogue_is_packaged_and_found_complete() -> Check {
    let world = World::new("batch");
    let mut all = titles(7);
    all[3]["protection"] = json!("none");
    all[5]["inputs"] =
        json!([format!("hi={}", fixture("ladder-bframes-a")), format!("lo={}", fixture("ladder-bframes-b"))]);
    jobs(&world, &all);
    let made = batch(&world, &[]).expect(0)?.json()?;
    check!(made["made"] == 7 && made["skipped"] == 0 && made["titles"] == 7, "{made}");
    let before = tree(&world.folder.join("out"))?;
    let again = batch(&world, &[]).expect(0)?.json()?;
    check!(again["made"] == 0 && again["skipped"] == 7, "{again}");
    check!(statuses(&world).values().all(|status| status == "skipped"), "{:?}", statuses(&world));
    check!(before == tree(&world.folder.join("out"))?, "a run that had nothing to do has changed something");
    // What package makes alone is what batch makes, and the other way round: the same titles are complete for both.
    let other = World::new("batch-package");
    jobs(&other, &all);
    other
        .run(&["package", &fixture("plain"), "--out", "out/t0", "--content-id", "t0", "--segment-duration", "2"])
        .expect(0)?;
    let rest = batch(&other, &[]).expect(0)?.json()?;
    check!(rest["made"] == 6 && rest["skipped"] == 1, "{rest}");
    // The plan as a dry run tells it is what a run does.
    let planned = batch(&world, &["--dry-run"]).expect(0)?.json()?;
    check!(planned["total"]["complete"] == 7, "{planned}");
    // Only a change of the inputs or the settings is another title.
    all[0]["segment_duration"] = json!(3);
    all[1]["durability"] = json!("process");
    all[2]["threads"] = json!(1);
    jobs(&world, &all);
    let planned = batch(&world, &["--dry-run"]).expect(10)?.json()?;
    check!(planned["titles"][0]["state"] == "refused" && planned["total"]["complete"] == 6, "{planned}");
    let changed = batch(&world, &[]).expect(10)?.json()?;
    check!(changed["skipped"] == 6 && changed["failed"] == 1, "{changed}");
    let line = &report(&world.folder.join("jobs.jsonl.report.jsonl"))["t0"];
    check!(
        line["code"] == 2 && line["class"] == "permanent" && line["hint"].as_str().is_some_and(|h| h.contains("force")),
        "{line}"
    );
    all[0]["force"] = json!(true);
    jobs(&world, &all);
    let planned = batch(&world, &["--dry-run"]).expect(0)?.json()?;
    check!(planned["titles"][0]["state"] == "to_replace", "{planned}");
    let forced = batch(&world, &[]).expect(0)?.json()?;
    check!(forced["skipped"] == 6 && forced["made"] == 1, "{forced}");
    let forced = batch(&world, &[]).expect(0)?.json()?;
    check!(forced["skipped"] == 7, "force makes a title anew that is complete: {forced}");
    verify_all(&world, &(0..7).filter(|n| *n != 3).map(|n| format!("t{n}")).collect::<Vec<_>>())
}

#[test]
fn toml_gives_titles_what_they_share() -> Check {
    let world = World::new("batch-toml");
    let text = format!(
        "[defaults]\nsegment_duration = 2\ncontext = {{ season = \"1\" }}\n\n[[title]]\ncontent_id = \"a\"\ninputs = [{0:?}]\nout = \"out/a\"\n\n[[title]]\ncontent_id = \"b\"\ninputs = {0:?}\nout = \"out/b\"\nprotection = \"none\"\n",
        fixture("plain")
    );
    fs::write(world.folder.join("jobs.toml"), text).unwrap();
    world.run(&["batch", "jobs.toml"]).expect(0)?;
    let lines = report(&world.folder.join("jobs.toml.report.jsonl"));
    let key = lines["a"]["key_id"].as_str().unwrap_or_default();
    let key = world.run(&["key", "show", key, "--json"]).expect(0)?.json()?;
    check!(key["context"]["season"] == "1" && lines["b"]["key_id"].is_null(), "{key} {lines:?}");
    Ok(())
}

#[test]
fn everything_that_is_wrong_with_a_jobs_file_is_told_at_once() -> Check {
    let world = World::new("batch-wrong");
    let good = title("a", "plain");
    let lines = [
        good.to_string(),
        r#"{"content_id": "b", "inputs": ["x.ts"], "out": "b", "segment_duraton": 6, "iv": "zz"}"#.to_owned(),
        "not json".to_owned(),
        String::new(),
        r#"{"content_id": "a", "inputs": [], "out": "out/../out/a"}"#.to_owned(),
        json!({"content_id": "a", "inputs": ["x.ts"], "out": "./out/a"}).to_string(),
        json!({"content_id": "c", "inputs": ["x.ts"], "out": "out/a/deep"}).to_string(),
    ];
    fs::write(world.folder.join("jobs.jsonl"), lines.join("\n")).unwrap();
    let run = world.run(&["batch", "jobs.jsonl"]).expect(2)?;
    for wanted in [
        "jobs.jsonl:2:53: segment_duraton: there is no such field, did you mean segment_duration? (the first of 6 problems)",
        "jobs.jsonl:3:2: expected ident",
        "jobs.jsonl:5:31: inputs: an array of one input or more is wanted",
        "jobs.jsonl:6:15: content_id: the title of line 1 has a too",
        "jobs.jsonl:6:43: out: the title of line 1 has ",
        "jobs.jsonl:7:1: out: ",
        "/out/a/deep lies in that of line 1",
    ] {
        check!(run.stderr.contains(wanted), "{wanted} is not in {}", run.stderr);
    }
    check!(run.stderr.contains("hint: nothing was packaged"), "{}", run.stderr);
    check!(!world.folder.join("out").exists() && !world.folder.join("home").exists(), "something was made");
    let run = batch(&world, &[]).expect(2)?.json()?;
    check!(run["code"] == 2, "{run}");
    for (name, content, code, wanted) in [
        ("none.jsonl", None, 3, "none.jsonl: No such file"),
        ("empty.jsonl", Some(""), 2, "empty.jsonl: there is no title in it"),
        ("a.toml", Some("[[title]]\nout = 3\n"), 2, "a.toml:1:1: inputs is missing"),
    ] {
        if let Some(content) = content {
            fs::write(world.folder.join(name), content).unwrap();
        }
        let run = world.run(&["batch", name]).expect(code)?;
        check!(run.stderr.contains(wanted), "{name}: {}", run.stderr);
    }
    Ok(())
}

/// The schema takes what the command takes, and nothing else.
#[test]
fn the_schema_is_that_of_the_command() -> Check {
    let world = World::new("batch-schema");
    let schema = world.run(&["batch", "--schema"]).expect(0)?.json()?;
    let fields = schema["properties"].as_object().unwrap();
    let help = world.run(&["package", "--help"]).expect(0)?.text();
    let flags: Vec<&str> = help
        .split_whitespace()
        .filter_map(|word| word.trim_matches(|c: char| c == '[' || c == ',' || c == '`').strip_prefix("--"))
        .collect();
    for field in fields.keys().filter(|field| *field != "inputs") {
        check!(flags.contains(&field.replace('_', "-").as_str()), "package has no --{field}");
    }
    for field in
        ["content_id", "segment_duration", "key_provider", "context", "key_uri", "iv", "wrapped_key", "sse", "audio"]
    {
        check!(fields.contains_key(field), "{field} is not in the schema");
    }
    check!(!fields.contains_key("dry_run"), "dry_run is no field");
    for (field, schema) in fields {
        check!(field == "inputs" || schema["description"].is_string(), "{field} has no description");
    }
    fs::write(world.folder.join("schema.json"), schema.to_string()).unwrap();
    let script = repository("tests/it/batch_schema.py");
    let python = repository("target/moto/bin/python3");
    let good = [
        json!({"inputs": ["a.ts"], "out": "b"}),
        json!({"inputs": "a.ts", "out": "b", "context": {"a": "b"}, "strict": true, "audio": 257, "align": "off", "segment_duration": 4.5}),
    ];
    let bad = [
        json!({"inputs": ["a.ts"]}),
        json!({"inputs": [], "out": "b"}),
        json!({"inputs": ["a.ts"], "out": "b", "more": 1}),
        json!({"inputs": ["a.ts"], "out": "b", "strict": "yes"}),
        json!({"inputs": ["a.ts"], "out": "b", "align": "maybe"}),
        json!({"inputs": ["a.ts"], "out": "b", "segment_duration": 0}),
        json!({"inputs": ["a.ts"], "out": "b", "context": {"a": 1}}),
        json!({"inputs": ["a.ts"], "out": "b", "threads": 0}),
    ];
    for (wanted, titles) in [("good", &good[..]), ("bad", &bad[..])] {
        for title in titles {
            let mut command = std::process::Command::new(&python);
            command.arg(&script).arg(world.folder.join("schema.json")).arg(title.to_string());
            let run = Run::of(started(command.output(), "scripts/moto"));
            let told = run.text();
            check!(run.code == Some(0) && told.trim() == wanted, "{title} is {told}, not {wanted}: {}", run.stderr);
            fs::write(world.folder.join("one.jsonl"), title.to_string()).unwrap();
            let ours = world.run(&["batch", "one.jsonl", "--dry-run"]).code;
            check!((ours == Some(2)) == (wanted == "bad"), "{title}: batch ends with {ours:?}");
        }
    }
    Ok(())
}

#[test]
fn one_bad_title_stops_no_other() -> Check {
    let world = World::new("batch-bad");
    fs::write(world.folder.join("text.ts"), "no transport stream at all\n".repeat(100)).unwrap();
    let mut all = titles(6);
    all[0]["inputs"] = json!(["missing.ts"]);
    all[1]["inputs"] = json!(["text.ts"]);
    all[2]["key"] = json!("3f2b8c1e-1111-4222-8333-444455556666");
    all[3]["out"] = json!("jobs.jsonl/x");
    jobs(&world, &all);
    let run = batch(&world, &["--retries", "0"]).expect(10)?;
    let told = run.json()?;
    check!(told["made"] == 2 && told["failed"] == 4 && told["to_retry"] == 0, "{told}");
    let lines = report(&world.folder.join("jobs.jsonl.report.jsonl"));
    for (id, code, message) in [
        ("t0", 3, "missing.ts: No such file"),
        ("t1", 3, "text.ts: not an MPEG transport stream"),
        ("t2", 4, "no key 3f2b8c1e"),
        ("t3", 5, "not a folder"),
    ] {
        let line = &lines[id];
        check!(line["code"] == code && line["class"] == "permanent" && line["attempts"] == 1, "{line}");
        check!(line["error"].as_str().is_some_and(|error| error.contains(message)), "{message} is not in {line}");
    }
    // The command and its titles that are mended go on.
    all[0]["inputs"] = json!([fixture("plain")]);
    all[1]["inputs"] = json!([fixture("plain")]);
    all[2].as_object_mut().unwrap().remove("key");
    all[3]["out"] = json!("out/t3");
    jobs(&world, &all);
    let told = batch(&world, &[]).expect(0)?.json()?;
    check!(told["made"] == 4 && told["skipped"] == 2, "{told}");
    Ok(())
}

/// A disk that is full may be emptied by someone: the title is worth a retry, and is made when there is room.
#[test]
fn what_may_pass_is_tried_again() -> Check {
    let world = World::new("batch-full");
    let small = world.folder.join("small");
    fs::create_dir(&small).unwrap();
    let _disk = Mount::tmpfs(&small, "size=64k");
    let mut all = titles(3);
    all[1]["out"] = json!("small/t1");
    jobs(&world, &all);
    let started = Instant::now();
    let told = batch(&world, &["--retries", "1"]).expect(11)?.json()?;
    check!(told["made"] == 2 && told["to_retry"] == 1 && told["failed"] == 0, "{told}");
    check!(started.elapsed() >= Duration::from_millis(750), "it was not waited for");
    let line = &report(&world.folder.join("jobs.jsonl.report.jsonl"))["t1"];
    check!(line["class"] == "transient" && line["attempts"] == 2 && line["code"] == 5, "{line}");
    let child = world.command(&["batch", "jobs.jsonl", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("keyrung starts");
    thread::sleep(Duration::from_millis(300));
    let grown = tool("mount", &["-o", "remount,size=64m", path_text(&small)]);
    let run = Run::of(child.wait_with_output().unwrap());
    check!(grown.code == Some(0), "the disk does not grow: {}", grown.stderr);
    let told = run.expect(0)?.json()?;
    check!(told["made"] == 1 && told["skipped"] == 2, "{told}");
    Ok(())
}

/// Two runs at once share the work, and neither harms the other.
#[test]
fn two_runs_at_once_do_not_harm_each_other() -> Check {
    let world = World::new("batch-two");
    let all = titles(24);
    jobs(&world, &all);
    let run = |_| {
        let mut command = world.command(&["batch", "jobs.jsonl", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("keyrung starts")
    };
    let runs: Vec<_> = (0..2).map(run).collect();
    let mut made = 0;
    let mut reports = Vec::new();
    for child in runs {
        let run = Run::of(child.wait_with_output().unwrap()).expect(0)?;
        let told = run.json()?;
        check!(told["made"].as_u64().unwrap_or(0) + told["skipped"].as_u64().unwrap_or(0) == 24, "{told}");
        made += told["made"].as_u64().unwrap_or(0);
        reports.push(world.folder.join(told["report"].as_str().unwrap_or_default()));
    }
    check!(made == 24, "{made} titles were made by two runs");
    check!(reports[0] != reports[1], "both wrote {}", reports[0].display());
    for path in reports {
        check!(report(&path).len() == 24, "{} has not all titles", path.display());
    }
    verify_all(&world, &(0..24).map(|n| format!("t{n}")).collect::<Vec<_>>())
}

/// Killed again and again, a catalogue still becomes what it would have been.
#[test]
fn a_killed_run_goes_on_and_makes_the_same_bytes() -> Check {
    let world = World::new("batch-kill");
    let all = titles(20);
    jobs(&world, &all);
    batch(&world, &[]).expect(0)?;
    let wanted = tree(&world.folder.join("out"))?;
    // Under the same claims the same bytes are made.
    fs::remove_dir_all(world.folder.join("out")).unwrap();
    let mut kills = 0;
    for milliseconds in (5..).step_by(13) {
        let mut child =
            world.command(&["-q", "batch", "jobs.jsonl"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(milliseconds % 120));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        kills += u32::from(status.signal() == Some(9));
        let has_ended = status.code() == Some(0);
        if has_ended || kills >= 25 {
            break;
        }
    }
    check!(kills >= 3, "it was killed {kills} times only");
    let told = batch(&world, &[]).expect(0)?.json()?;
    check!(told["made"].as_u64().unwrap_or(0) + told["skipped"].as_u64().unwrap_or(0) == 20, "{told}");
    check!(wanted == tree(&world.folder.join("out"))?, "other bytes were made");
    Ok(())
}

/// What another version has made is complete; what it has begun begins anew, for its bytes may be others.
#[test]
fn another_version_goes_on_safely() -> Check {
    let world = World::new("batch-version");
    jobs(&world, &titles(2));
    batch(&world, &[]).expect(0)?;
    let claim = |id: &str| world.folder.join(format!("home/keys/claims/{id}.json"));
    let read = |id: &str| -> Value { serde_json::from_slice(&fs::read(claim(id)).unwrap()).unwrap() };
    for (id, state) in [("t0", "published"), ("t1", "open")] {
        let mut document = read(id);
        document["tool"] = json!("keyrung 0.0.9");
        document["state"] = json!(state);
        // As keyrung writes it: a claim is replaced only when it is, byte for byte, the one that was read.
        fs::write(claim(id), format!("{document:#}\n")).unwrap();
    }
    fs::remove_dir_all(world.folder.join("out/t1")).unwrap();
    let before = read("t1");
    let told = batch(&world, &[]).expect(0)?.json()?;
    check!(told["skipped"] == 1 && told["made"] == 1, "{told}");
    let after = read("t1");
    check!(before["nonce"] != after["nonce"] && before["key"]["key_id"] != after["key"]["key_id"], "{after}");
    check!(after["tool"] == concat!("keyrung ", env!("CARGO_PKG_VERSION")), "{after}");
    verify_all(&world, &["t0".to_owned(), "t1".to_owned()])
}

/// A package that has lost something is not complete, and nothing of it is overwritten either.
#[test]
fn a_damaged_package_is_not_complete() -> Check {
    let world = World::new("batch-damaged");
    let mut all = titles(2);
    all[1]["protection"] = json!("none");
    jobs(&world, &all);
    batch(&world, &[]).expect(0)?;
    let wanted = tree(&world.folder.join("out"))?;
    let name = |id: &str| wanted.keys().find(|name| name.starts_with(id) && name.ends_with("00000.ts")).cloned();
    let [Some(first), Some(second)] = [name("t0/"), name("t1/")] else { return Err("no segments".to_owned()) };
    fs::remove_file(world.folder.join("out").join(first)).unwrap();
    fs::write(world.folder.join("out").join(second), b"short").unwrap();
    for more in [&["--dry-run"][..], &[]] {
        batch(&world, more).expect(10)?;
    }
    for line in report(&world.folder.join("jobs.jsonl.report.jsonl")).values() {
        check!(line["code"] == 5 && line["error"].as_str().is_some_and(|error| error.contains("is damaged")), "{line}");
    }
    fs::remove_dir_all(world.folder.join("out")).unwrap();
    batch(&world, &[]).expect(0)?;
    check!(wanted == tree(&world.folder.join("out"))?, "other bytes were made");
    // Who says force has it replaced.
    all.iter_mut().for_each(|title| title["force"] = json!(true));
    jobs(&world, &all);
    fs::remove_file(world.folder.join("out/t0/master.m3u8")).unwrap();
    let planned = batch(&world, &["--dry-run"]).expect(0)?.json()?;
    check!(planned["titles"][0]["state"] == "to_replace" && planned["total"]["complete"] == 1, "{planned}");
    let told = batch(&world, &[]).expect(0)?.json()?;
    check!(told["made"] == 1 && told["skipped"] == 1, "{told}");
    verify_all(&world, &["t0".to_owned()])
}

/// With force, a package is made anew when it is known to be another, and not when it cannot be read.
#[test]
fn force_replaces_nothing_that_cannot_be_read() -> Check {
    let world = World::new("batch-unreadable");
    let mut all = titles(1);
    all[0]["force"] = json!(true);
    jobs(&world, &all);
    batch(&world, &[]).expect(0)?;
    let path = world.folder.join("out/t0/keyrung.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen('{', "{\"later\": 1,", 1)).unwrap();
    let before = tree(&world.folder.join("out"))?;
    batch(&world, &[]).expect(10)?;
    check!(before == tree(&world.folder.join("out"))?, "it was replaced");
    let line = &report(&world.folder.join("jobs.jsonl.report.jsonl"))["t0"];
    check!(line["error"].as_str().is_some_and(|error| error.contains("another version of keyrung")), "{line}");
    Ok(())
}

/// An input that grew while it was read leaves no claim that stands in the way of the next try.
#[test]
fn an_input_that_changes_is_packaged_at_the_next_try() -> Check {
    let world = World::new("batch-changes");
    let (input, more) = (world.folder.join("in.ts"), fs::read(fixture("plain")).unwrap());
    fs::write(&input, more.repeat(40)).unwrap();
    jobs(&world, &[json!({"content_id": "t", "inputs": ["in.ts"], "out": "out/t", "segment_duration": 2})]);
    let grow = |path: std::path::PathBuf, bytes: Vec<u8>| {
        thread::spawn(move || {
            for _ in 0..400 {
                let mut file = fs::File::options().append(true).open(&path).unwrap();
                std::io::Write::write_all(&mut file, &bytes).unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        })
    };
    let growing = grow(input, more[..188 * 50].to_vec());
    let run = batch(&world, &[]).expect(0)?;
    growing.join().unwrap();
    check!(run.stderr.contains("changed while it was read; tried again"), "it was not noticed: {}", run.stderr);
    let keys = world.run(&["key", "list", "--json"]).expect(0)?.json()?;
    check!(keys["keys"].as_array().map(Vec::len) == Some(1), "keys of tries that failed are kept: {keys}");
    Ok(())
}

#[test]
fn a_report_overwrites_nothing_else() -> Check {
    let world = World::new("batch-report");
    jobs(&world, &titles(1));
    fs::write(world.folder.join("mine.txt"), "mine\n").unwrap();
    let before = tree(&world.folder)?;
    for file in ["jobs.jsonl", "mine.txt"] {
        batch(&world, &["--report", file]).expect(2)?;
    }
    check!(before == tree(&world.folder)?, "something was written");
    for _ in 0..2 {
        batch(&world, &["--report", "other.jsonl"]).expect(0)?;
    }
    check!(report(&world.folder.join("other.jsonl")).len() == 1, "it is not there");
    // The dead can be picked out of a report and run again.
    jobs(&world, &[json!({"content_id": "x", "inputs": ["missing.ts"], "out": "out/x"})]);
    batch(&world, &[]).expect(10)?;
    let dead = &report(&world.folder.join("jobs.jsonl.report.jsonl"))["x"]["title"];
    check!(*dead == json!({"content_id": "x", "inputs": ["missing.ts"], "out": "out/x"}), "{dead}");
    Ok(())
}

/// Ctrl-C stops what runs, tells each title's state and how to go on.
#[test]
fn an_interrupted_run_says_how_to_go_on() -> Check {
    let world = World::new("batch-signal");
    let all = titles(200);
    jobs(&world, &all);
    let mut command = world.command(&["batch", "jobs.jsonl"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("keyrung starts");
    // From then on signals are waited for, and most titles are yet to come.
    let begun = || fs::read_dir(world.folder.join("out")).is_ok_and(|titles| titles.count() > 2);
    let waited = eventually("titles are begun", Duration::from_secs(30), begun);
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    waited?;
    let run = run.expect(130)?;
    check!(run.stderr.contains("error: interrupted: "), "{}", run.stderr);
    check!(run.stderr.contains("hint: the same command goes on"), "{}", run.stderr);
    let statuses = statuses(&world);
    let count = |wanted: &str| statuses.values().filter(|status| *status == wanted).count();
    check!(statuses.len() == 200 && count("made") + count("interrupted") == 200, "{statuses:?}");
    check!(count("interrupted") > 0, "it was through before the signal came");
    let told = batch(&world, &[]).expect(0)?.json()?;
    check!(told["skipped"] == count("made") && told["made"] == count("interrupted"), "{told}");
    Ok(())
}

#[test]
fn shards_share_a_catalogue_out() -> Check {
    let world = World::new("batch-shards");
    let all = titles(23);
    jobs(&world, &all);
    let environments: [&[(&str, &str)]; 4] = [
        &[("AWS_BATCH_JOB_ARRAY_INDEX", "0"), ("AWS_BATCH_JOB_ARRAY_SIZE", "4")],
        &[("JOB_COMPLETION_INDEX", "1")],
        &[
            ("SLURM_ARRAY_TASK_ID", "9"),
            ("SLURM_ARRAY_TASK_MIN", "5"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
        ],
        &[("PARALLEL_SEQ", "4")],
    ];
    let mut made = 0;
    let mut seen = BTreeMap::new();
    for (number, environment) in environments.iter().enumerate() {
        let mut command = world.command(&["batch", "jobs.jsonl", "--json"]);
        command.envs(environment.iter().copied());
        if [1, 3].contains(&number) {
            command.args(["--shards", "4"]);
        }
        let told = Run::of(command.output().unwrap()).expect(0)?.json()?;
        let shard = format!("{}/4", number + 1);
        check!(told["shard"] == shard, "{told}");
        made += told["made"].as_u64().unwrap_or(0);
        seen.extend(report(&world.folder.join(format!("jobs.jsonl.shard-{}-of-4.report.jsonl", number + 1))));
    }
    check!(made == 23 && seen.len() == 23, "{made} titles were made, {} told of", seen.len());
    let told = batch(&world, &["--shard", "2/4"]).expect(0)?.json()?;
    check!(told["made"] == 0, "{told}");
    let mut command = world.command(&["batch", "jobs.jsonl"]);
    let run = Run::of(command.env("JOB_COMPLETION_INDEX", "1").output().unwrap()).expect(2)?;
    check!(run.stderr.contains("hint: --shards N"), "{}", run.stderr);
    world.run(&["batch", "jobs.jsonl", "--shard", "5/4"]).expect(2)?;
    world.run(&["batch", "jobs.jsonl", "--shards", "4"]).expect(2)?;
    fs::write(world.folder.join("nameless.jsonl"), json!({"inputs": ["a.ts"], "out": "b"}).to_string()).unwrap();
    let run = world.run(&["batch", "nameless.jsonl", "--shard", "1/2"]).expect(2)?;
    check!(run.stderr.contains("content_id is missing: shards follow it"), "{}", run.stderr);
    Ok(())
}

#[test]
fn a_dry_run_tells_all_and_writes_nothing() -> Check {
    let world = World::new("batch-dry");
    let mut all = titles(4);
    all[3]["inputs"] = json!(["missing.ts"]);
    jobs(&world, &all);
    let told = batch(&world, &["--dry-run"]).expect(10)?.json()?;
    check!(told["total"]["to_do"] == 3 && told["total"]["refused"] == 1, "{told}");
    check!(told["titles"][3]["state"] == "refused" && told["titles"][0]["renditions"] == 1, "{told}");
    let names: Vec<_> = fs::read_dir(&world.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    check!(names.len() == 1, "{names:?}");
    batch(&world, &[]).expect(10)?;
    let before = tree(&world.folder)?;
    let told = batch(&world, &["--dry-run"]).expect(10)?.json()?;
    check!(told["total"]["complete"] == 3 && told["total"]["segments"] == 0, "{told}");
    check!(before == tree(&world.folder)?, "a dry run has written");
    Ok(())
}
