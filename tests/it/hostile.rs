//! Inputs that end or are spoilt anywhere: packaged or refused, and nothing else.

use std::fs;

use super::common::{Check, World, every, repository};
use super::package::path_text;

/// Packages bytes and wants exit code 0 or 3, and no package after a refusal.
fn survives(world: &World, bytes: &[u8]) -> Check {
    let input = world.folder.join("in.ts");
    fs::write(&input, bytes).map_err(|e| e.to_string())?;
    let run = world.run(&["package", path_text(&input), "--out", "out", "--segment-duration", "2"]);
    check!(matches!(run.code, Some(0 | 3)), "exit code {:?}: {}", run.code, run.stderr);
    check!(
        world.folder.join("out").exists() == (run.code == Some(0)),
        "published in spite of exit code {:?}",
        run.code
    );
    Ok(())
}

const VICTIMS: [&str; 5] = ["plain.ts", "packets-192.ts", "hevc-aac.ts", "id3.ts", "psi-over-packets.ts"];

fn victim(name: &str) -> Vec<u8> {
    fs::read(repository("fixtures").join(name)).expect("a fixture")
}

#[test]
fn truncation_anywhere_is_survived() {
    let mut cases = Vec::new();
    for name in VICTIMS {
        let length = victim(name).len();
        // The first packets byte by byte in strides that are no factor of 188, then all over the file.
        let ends = (0..24).map(|n| n * 37).chain((1..24).map(|n| length * n / 24 + n));
        cases.extend(ends.filter(|end| *end < length).map(|end| (name, end)));
    }
    every(
        &cases,
        |(name, end)| format!("{name} cut at {end}"),
        |(name, end)| survives(&World::new("cut"), &victim(name)[..*end]),
    );
}

/// xorshift64*: the same bytes in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

#[test]
fn spoilt_bytes_are_survived() {
    let cases: Vec<(&str, u64)> = VICTIMS.iter().flat_map(|name| (1..=40).map(|seed| (*name, seed))).collect();
    every(
        &cases,
        |(name, seed)| format!("{name} spoilt with seed {seed}"),
        |(name, seed)| {
            let (mut bytes, mut state) = (victim(name), seed * 0x9E37_79B9);
            let length = bytes.len() as u64;
            for _ in 0..1 << (seed % 10) {
                let at = usize::try_from(random(&mut state) % length).map_err(|e| e.to_string())?;
                bytes[at] = random(&mut state).to_le_bytes()[3];
            }
            survives(&World::new("spoilt"), &bytes)
        },
    );
}
