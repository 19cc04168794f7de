//! Jobs files: the first byte says which form. What is read has a place inside the text, and is the same when it is read
//! back from what is sent to other machines.

#![no_main]

use keyrung::batch::{Draft, Problem, Shard, manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((form, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if form % 2 == 0 {
        text.lines().for_each(|line| check(line, &Draft::from_json(line)));
    } else {
        manifest::toml(text).iter().for_each(|title| check(text, title));
    }
    if let Ok(shard) = text.parse::<Shard>() {
        assert_eq!(shard.to_string().parse(), Ok(shard));
    }
});

fn check(text: &str, title: &Result<Draft, Problem>) {
    let lines = text.split('\n').count() as u64;
    match title {
        Err(problem) => {
            assert!((1..=lines + 1).contains(&problem.at.line) && problem.at.column > 0, "{problem:?}");
            assert!(!problem.message.contains('\n'), "{problem:?}");
        }
        Ok(draft) => {
            for field in &draft.fields {
                assert!(field.at >= field.name_at || field.at.line < draft.at.line, "{field:?}");
                assert_eq!(draft.fields.iter().filter(|other| other.name == field.name).count(), 1);
            }
            let json = draft.to_json();
            let back = Draft::from_json(&serde_json::to_string(&json).expect("JSON")).expect("what was written is read");
            assert_eq!(back.to_json(), json);
        }
    }
}
