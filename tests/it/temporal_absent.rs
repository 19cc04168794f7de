//! keyrung without Temporal: its commands are there and say how to get it.

use super::common::World;

#[test]
fn the_commands_say_how_to_get_it() {
    let world = World::new("temporal-absent");
    let calls: [&[&str]; 4] =
        [&["submit", "jobs.jsonl", "--batch", "x"], &["worker", "--titles", "3"], &["status", "--cancel"], &["worker"]];
    for arguments in calls {
        let run = world.run(arguments).expect(2).expect("a refusal");
        assert!(run.stderr.starts_with("error: this keyrung is built without Temporal\n"), "{}", run.stderr);
        assert!(run.stderr.contains("hint: cargo install --locked --path . --features temporal"), "{}", run.stderr);
    }
    let help = world.run(&["submit", "--help"]).expect(0).expect("help").text();
    assert!(help.contains("--features temporal"), "{help}");
}
