//! A good package that can be broken: files to change, and what `verify` says of it then.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::common::{Check, World, repository, tool};

/// Which package is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Base {
    /// Two renditions, encrypted, without its record, so that the record does not find what a rule should.
    Sealed,
    /// The same in clear.
    Clear,
    /// The encrypted one with its record.
    Recorded,
    /// 100 pictures a second, in clear.
    Fast,
    /// A fixture by itself, in clear: its name stands in the mutation.
    Fixture(&'static str),
}

/// A way to break a package.
pub struct Mutation {
    /// The code that must be found.
    pub code: &'static str,
    /// What is broken.
    pub base: Base,
    /// More arguments of `verify`.
    pub arguments: &'static [&'static str],
    /// Breaks it.
    pub change: fn(&Mutant),
}

/// A copy of a package.
pub struct Mutant {
    pub world: World,
    pub folder: PathBuf,
}

/// The folder of the rendition that is changed most.
pub const LOW: &str = "360p";
/// The other rendition.
pub const HIGH: &str = "720p";

fn made(base: Base) -> PathBuf {
    static MADE: [OnceLock<PathBuf>; 3] = [const { OnceLock::new() }; 3];
    let make = |name: &str, inputs: &[PathBuf], options: &[&str]| {
        let world = World::new(&format!("verify-{name}"));
        let mut arguments = vec!["package"];
        arguments.extend(inputs.iter().map(|input| input.to_str().expect("a path in UTF-8")));
        arguments.extend(["--out", "out", "--segment-duration", "4"]);
        arguments.extend(options);
        world.run(&arguments).expect(0).expect("a package");
        world.folder
    };
    let ladder = || ["360p", "720p"].map(|name| repository(&format!("samples/ladder/{name}.ts")));
    let clear = ["--protection", "none"];
    match base {
        Base::Sealed | Base::Recorded => MADE[0].get_or_init(|| make("sealed", &ladder(), &[])).clone(),
        Base::Clear => MADE[1].get_or_init(|| make("clear", &ladder(), &clear)).clone(),
        Base::Fast => MADE[2]
            .get_or_init(|| {
                let file = World::new("verify-fast-source").folder.join("fast.ts");
                let path = file.to_str().expect("a path in UTF-8");
                let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=192x108:r=100:d=2"];
                let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "100", "-y", path];
                tool("ffmpeg", &[&source[..], &codec[..]].concat()).expect(0).expect("a fast clip");
                make("fast", &[file], &clear)
            })
            .clone(),
        Base::Fixture(name) => make(name, &[repository(&format!("fixtures/{name}.ts"))], &clear),
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    // A key store that others can read is refused.
    fs::set_permissions(to, fs::metadata(from).expect("a folder").permissions()).expect("permissions");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        let to = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

impl Mutant {
    /// A copy of a good package.
    pub fn of(base: Base) -> Self {
        let source = made(base);
        let world = World::new("verify-mutant");
        copy(&source, &world.folder);
        let folder = world.folder.join("out");
        if base != Base::Recorded {
            fs::remove_file(folder.join("keyrung.json")).expect("the record goes");
        }
        Self { world, folder }
    }

    /// Verifies it.
    pub fn verify(&self, arguments: &[&str]) -> Check<(Option<i32>, Value)> {
        let run = self.world.run(&[&["--json", "verify", "out"], arguments].concat());
        let json = run.json().map_err(|text| format!("{text}{}", run.stderr))?;
        Ok((run.code, json))
    }

    /// Changes a file's text.
    pub fn text(&self, path: &str, change: impl Fn(&str) -> String) {
        let file = self.folder.join(path);
        let before = fs::read_to_string(&file).expect("a text");
        let after = change(&before);
        assert_ne!(before, after, "{path} is not changed");
        fs::write(file, after).expect("the text is written");
    }

    /// Replaces the first occurrence in the master playlist.
    pub fn master(&self, old: &str, new: &str) {
        self.text("master.m3u8", |text| {
            assert!(text.contains(old), "{old} is not in {text}");
            text.replacen(old, new, 1)
        });
    }

    /// Replaces the first occurrence in the low rendition's playlist.
    pub fn media(&self, old: &str, new: &str) {
        self.text(&format!("{}/index.m3u8", self.low()), |text| {
            assert!(text.contains(old), "{old} is not in {text}");
            text.replacen(old, new, 1)
        });
    }

    /// Replaces every occurrence in every media playlist.
    pub fn everywhere(&self, old: &str, new: &str) {
        for name in self.renditions() {
            self.text(&format!("{name}/index.m3u8"), |text| text.replace(old, new));
        }
    }

    /// Puts a line before the first that has `before` in it.
    pub fn line(&self, before: &str, line: &str) {
        self.media(before, &format!("{line}\n{before}"));
    }

    /// The names of the renditions.
    pub fn renditions(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).expect("the package").flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn low(&self) -> String {
        self.renditions().first().expect("a rendition").clone()
    }

    /// Where a segment of the low rendition is.
    pub fn place(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{}/{number:05}.ts", self.low()))
    }

    /// Changes the bytes of a segment of the low rendition.
    pub fn segment(&self, number: usize, change: impl Fn(&mut Vec<u8>)) {
        let file = self.place(number);
        let mut bytes = fs::read(&file).expect("a segment");
        let before = bytes.clone();
        change(&mut bytes);
        assert!(before != bytes, "{} is not changed", file.display());
        fs::write(file, bytes).expect("the segment is written");
    }

    /// Changes the packets of a segment.
    pub fn packets(&self, number: usize, change: impl Fn(&mut Vec<Vec<u8>>)) {
        self.segment(number, |bytes| {
            let mut packets: Vec<Vec<u8>> = bytes.chunks(188).map(<[u8]>::to_vec).collect();
            change(&mut packets);
            *bytes = packets.concat();
        });
    }

    /// Writes a file.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.folder.join(path), bytes).expect("a file is written");
    }

    /// Removes the lines of the low rendition's playlist from the one with `from` to the segment that follows.
    pub fn without(&self, playlist: &str, uri: &str) {
        self.text(playlist, |text| {
            let lines: Vec<&str> = text.lines().collect();
            let at = lines.iter().position(|line| *line == uri).expect("the segment is there");
            let from = lines[..at].iter().rposition(|line| !line.starts_with('#')).map_or_else(
                || {
                    lines
                        .iter()
                        .position(|line| line.starts_with("#EXT-X-KEY") || line.starts_with("#EXTINF"))
                        .expect("tags")
                },
                |at| at + 1,
            );
            let kept: Vec<&str> = lines[..from].iter().chain(&lines[at + 1..]).copied().collect();
            kept.join("\n") + "\n"
        });
    }
}

/// The PID of a packet.
pub fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}

/// Whether a payload unit begins in a packet.
pub fn starts(packet: &[u8]) -> bool {
    packet[1] & 0x40 != 0
}

/// Where a packet's payload begins.
pub fn payload(packet: &[u8]) -> usize {
    if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 }
}

/// The number of the `n`th packet, from 0, on which a PES packet of this PID begins.
pub fn unit(packets: &[Vec<u8>], wanted: u16, n: usize) -> usize {
    let units = packets.iter().enumerate().filter(|(_, packet)| pid(packet) == wanted && starts(packet));
    units.map(|(place, _)| place).nth(n).expect("a payload unit")
}

/// Moves PTS and DTS of a packet that begins a PES packet, in ticks.
pub fn shift(packet: &mut [u8], ticks: i64) {
    let from = payload(packet);
    keyrung::ts::shift_pes_stamps(&mut packet[from..], keyrung::time::Span::from_ticks(ticks));
}

/// Every finding's code and severity.
pub fn findings(report: &Value) -> Vec<(String, String)> {
    let list = report["findings"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.map(|finding| (text(&finding["code"]), text(&finding["severity"]))).collect()
}

/// Breaks a package and looks for the code.
pub fn check(mutation: &Mutation) -> Check {
    let mutant = Mutant::of(mutation.base);
    (mutation.change)(&mutant);
    let (exit, report) = mutant.verify(mutation.arguments)?;
    let found = findings(&report);
    let Some((_, severity)) = found.iter().find(|(code, _)| code == mutation.code) else {
        return Err(format!("not found among {found:?} in {}", mutant.folder.display()));
    };
    let errors = found.iter().any(|(_, severity)| severity == "error");
    check!(exit == Some(if errors { 6 } else { 0 }), "exit {exit:?} with {found:?}");
    check!(severity != "error" || errors, "an error that is none");
    let of_code = report["findings"].as_array().into_iter().flatten().find(|finding| finding["code"] == mutation.code);
    let told = of_code.is_some_and(|finding| {
        ["meaning", "mend", "source"].iter().all(|key| finding[*key].as_str().is_some_and(|text| !text.is_empty()))
            && finding["place"]["resource"].as_str().is_some_and(|text| !text.is_empty())
    });
    check!(told, "{} has no place, meaning, mend or source", mutation.code);
    std::fs::remove_dir_all(&mutant.world.folder).map_err(|error| error.to_string())
}
