//! Help, completions and manual pages: every command has them.

use std::fs;

use super::common::World;

const COMMANDS: [&[&str]; 18] = [
    &[],
    &["package"],
    &["inspect"],
    &["verify"],
    &["key"],
    &["key", "generate"],
    &["key", "import"],
    &["key", "list"],
    &["key", "show"],
    &["key", "export"],
    &["key", "delete"],
    &["key", "backup"],
    &["key", "restore"],
    &["token", "mint"],
    &["token", "url"],
    &["gc"],
    &["completions"],
    &["man"],
];

#[test]
fn every_command_has_help_and_a_manual_page() {
    let world = World::new("pages");
    let run = world.run(&["man", "pages/man1"]).expect(0).expect("pages");
    assert!(run.text().contains("pages"), "{}", run.text());
    for command in COMMANDS {
        let help = world.run(&[&["help"], command].concat()).expect(0).expect("help");
        assert!(help.stderr.is_empty() && help.text().contains("Usage: keyrung"), "{command:?}: {}", help.text());
        let name = [&["keyrung"], command].concat().join("-");
        let page = fs::read_to_string(world.folder.join(format!("pages/man1/{name}.1"))).expect(&name);
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
    world.run(&["man", "pages/man1"]).expect(0).expect("again");
    assert_eq!(world.run(&["man", "/dev/null/x"]).code, Some(5));
    assert!(!world.folder.join("home").exists(), "help makes no home");
}

#[test]
fn every_shell_has_completions() {
    let world = World::new("completions");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = world.run(&["completions", shell]).expect(0).expect("completions").text();
        assert!(script.contains("content-id") && script.contains("restore"), "{shell}: {script}");
    }
    assert_eq!(world.run(&["completions", "csh"]).code, Some(2));
}
