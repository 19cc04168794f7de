//! The table of fixtures/README.md: what each fixture must do.

use std::fs;
use std::path::PathBuf;

use super::common::repository;

/// Whether the frames that come out can be compared with those that go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// ffmpeg decodes the fixture without an error.
    Exact,
    /// ffmpeg itself reports errors.
    Damaged,
    /// There is nothing to decode.
    None,
}

/// One fixture and what is expected of it.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// File name.
    pub name: String,
    /// None: packages. Some: refused with this exit code.
    pub refused: Option<i32>,
    /// Faults that must be reported, and those that may be.
    pub faults: (Vec<String>, Vec<String>),
    /// Words that some warning must have.
    pub warnings: Vec<String>,
    /// PIDs that the first rendition carries, where that is stated.
    pub carries: Option<Vec<u16>>,
    /// PIDs that the first rendition leaves out.
    pub left_out: Vec<u16>,
    /// PIDs that the output has, where they change in mid-stream.
    pub decodes: Option<Vec<u16>>,
    /// Parts of CODECS.
    pub codecs: Vec<String>,
    /// Number of renditions.
    pub renditions: usize,
    /// EXT-X-DISCONTINUITY in the playlists of 2 s segments.
    pub discontinuities: Option<usize>,
    /// Segments that need not decode alone.
    pub open: bool,
    /// Whether caption data is to be announced.
    pub captions: Option<bool>,
    /// How its frames are compared.
    pub frames: Frames,
}

impl Fixture {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        repository("fixtures").join(&self.name)
    }

    /// Whether packets of the streams are missing or damaged.
    pub fn has_holes(&self) -> bool {
        let holes = ["continuity_gap", "lost_sync", "scrambled_packet", "transport_error", "duplicate_packet"];
        self.faults.0.iter().any(|fault| holes.contains(&fault.as_str()))
    }
}

/// All rows.
pub fn all() -> Vec<Fixture> {
    let text = fs::read_to_string(repository("fixtures/README.md")).expect("fixtures/README.md");
    let rows: Vec<Fixture> = text.lines().filter(|line| line.starts_with("| `")).map(row).collect();
    assert!(rows.len() > 100, "the table of fixtures has lost rows: {} are left", rows.len());
    for file in fs::read_dir(repository("fixtures")).expect("fixtures") {
        let name = file.expect("an entry").file_name().into_string().expect("a plain name");
        assert!(!name.ends_with(".ts") || rows.iter().any(|row| row.name == name), "{name} is not in the table");
    }
    rows
}

/// The rows that package; while one is worked on, `FIXTURE=part-of-a-name` picks it.
pub fn packaged() -> Vec<Fixture> {
    let part = std::env::var("FIXTURE").unwrap_or_default();
    assert!(part.is_empty() || std::env::var_os("CI").is_none(), "FIXTURE picks some; CI runs all");
    all().into_iter().filter(|fixture| fixture.refused.is_none() && fixture.name.contains(&part)).collect()
}

fn row(line: &str) -> Fixture {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [name, _, expect, frames] = cells[..] else { panic!("not a row of four cells: {line}") };
    let mut fixture = Fixture {
        name: name.trim_matches('`').to_owned(),
        refused: None,
        faults: (Vec::new(), Vec::new()),
        warnings: Vec::new(),
        carries: None,
        left_out: Vec::new(),
        decodes: None,
        codecs: Vec::new(),
        renditions: 1,
        discontinuities: None,
        open: false,
        captions: None,
        frames: match frames {
            "exact" => Frames::Exact,
            "damaged" => Frames::Damaged,
            "-" => Frames::None,
            other => panic!("{other} is not a word for frames: {line}"),
        },
    };
    for word in expect.trim_matches('`').split(' ') {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "packages" | "refused" => {}
            "exit" => fixture.refused = Some(value.parse().expect("an exit code")),
            "fault" => {
                for fault in value.split(',') {
                    match fault.strip_suffix('?') {
                        Some(maybe) => fixture.faults.1.push(maybe.to_owned()),
                        None => fixture.faults.0.push(fault.to_owned()),
                    }
                }
            }
            "warning" if value.ends_with('?') => {}
            "warning" => fixture.warnings.push(value.to_owned()),
            "carries" => fixture.carries = Some(pids(value)),
            "left-out" => fixture.left_out = pids(value),
            "decodes" => fixture.decodes = Some(pids(value)),
            "codecs" => fixture.codecs = value.split(',').map(str::to_owned).collect(),
            "renditions" => fixture.renditions = value.parse().expect("a number"),
            "discontinuities" => fixture.discontinuities = Some(value.parse().expect("a number")),
            "open" => fixture.open = true,
            "captions" => fixture.captions = Some(true),
            "no-captions" => fixture.captions = Some(false),
            other => panic!("{other} is not a word of expect: {line}"),
        }
    }
    fixture
}

fn pids(list: &str) -> Vec<u16> {
    let pid = |text: &str| u16::from_str_radix(text.trim_start_matches("0x"), 16).expect("a PID in hexadecimal");
    list.split(',').map(pid).collect()
}
