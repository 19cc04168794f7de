//! Workers are killed at random while they package. In the end every title is complete, verified, and byte for byte what a
//! run without kills makes.

use std::fs;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::disk::tree;
use super::temporal::{submit, title, write};
use super::temporal_server::{Worker, status, wait, world};

/// How often; scripts/soak sets it to 200.
const KILLS: &str = "KEYRUNG_TEMPORAL_KILLS";

#[test]
fn killed_at_random() {
    let kills: usize = std::env::var(KILLS).map_or(20, |text| text.parse().expect("a number of kills"));
    let seed: u64 = std::env::var("KEYRUNG_SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("a seed"));
    let mut random = StdRng::seed_from_u64(seed);
    let world = world("temporal-kills");
    let titles: Vec<Value> = (0..2 * kills + 20).map(|number| title(&format!("film-{number}"))).collect();
    write(&world, "kills", &titles);
    // Keys are new for each claim: the claims of the run without kills stay, and its packages go.
    world.run(&["batch", "kills.jsonl", "-q"]).expect(0).expect("a run without kills");
    let out = world.folder.join("out");
    let wanted = tree(&out).expect("packages");
    fs::remove_dir_all(&out).expect("they go");

    submit(&world, "kills", &[]).expect("submitted");
    let start = || Worker::slow(&world, "kills", 15, &["--titles", "2", "--threads", "2"]);
    let mut workers = [start(), start()];
    let (mut hits, began) = (0, Instant::now());
    for number in 0..kills {
        std::thread::sleep(Duration::from_millis(random.random_range(100..900)));
        let place = random.random_range(0..workers.len());
        let seen = status(&world, "kills", &[]).expect("a status");
        assert!(seen["open"].as_u64() > Some(0), "seed {seed}: all is done after {number} kills");
        let name = format!("{}@", workers[place].id());
        let is_its = |title: &Value| title["worker"].as_str().is_some_and(|worker| worker.starts_with(&name));
        hits += usize::from(seen["running"].as_array().is_some_and(|running| running.iter().any(is_its)));
        std::mem::replace(&mut workers[place], start()).kill();
    }
    let killed = began.elapsed();
    let seen =
        wait(&world, "kills", 120, |seen| seen["open"] == 0).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(seen["complete"], titles.len(), "seed {seed}: {seen:#}");
    assert!(hits > kills / 4, "seed {seed}: only {hits} of {kills} kills hit a worker that had a title");

    let made = tree(&out).expect("packages");
    let names = |tree: &super::disk::Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made), names(&wanted), "seed {seed}");
    let differ: Vec<_> =
        made.iter().filter(|(path, bytes)| wanted.get(*path) != Some(bytes)).map(|(path, _)| path).collect();
    assert!(differ.is_empty(), "seed {seed}: {differ:?} are not what a run without kills makes");
    for title in &titles {
        let folder = title["out"].as_str().expect("a folder");
        world.run(&["verify", folder, "-q"]).expect(0).unwrap_or_else(|error| panic!("seed {seed}: {folder}: {error}"));
    }
    eprintln!("{kills} kills in {killed:.1?}, {hits} of them hit, all done after {:.1?}", began.elapsed());
}
