//! Jobs files: one JSON object a line, or TOML with `[defaults]` and `[[title]]`. Read strictly, with the place of every
//! field, so that all that is wrong with a file can be told at once.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::limits;

use super::toml_titles;

/// A place in a jobs file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Character of the line, from 1.
    pub column: u64,
}

/// A text whose every byte has a place.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    /// The number of the first.
    first: u64,
}

impl<'a> Lines<'a> {
    /// A text that begins on this line.
    pub(super) fn new(text: &'a str, first: u64) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect(), first }
    }

    /// The place of the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let before = self.text.get(start..offset).or_else(|| self.text.get(start..)).unwrap_or_default();
        Position { line: self.first + line as u64, column: before.chars().count() as u64 + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A field of a title, as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Where the name is.
    pub name_at: Position,
    /// Where the value is.
    pub at: Position,
    /// The value.
    pub value: Value,
}

/// A title as it stands in the file, each field once.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Where it begins.
    pub at: Position,
    /// Its fields, with those of the default block that it does not have itself.
    pub fields: Vec<Field>,
}

impl Draft {
    /// The title as one JSON object: everything that is known of it.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        self.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
    }

    /// A title that was one JSON object.
    ///
    /// # Errors
    /// For what is none.
    pub fn from_json(text: &str) -> Result<Self, Problem> {
        line(text, 1)
    }
}

/// Reads a jobs file in TOML: its titles in their order, and what is wrong in place of those that are. One that is no
/// TOML gives its problems alone.
#[must_use]
pub fn toml(text: &str) -> Vec<Result<Draft, Problem>> {
    toml_titles::read(text)
}

/// Something that is wrong with a jobs file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// What, on one line.
    pub message: String,
}

/// Why a title could not be read.
#[derive(Debug)]
pub enum Flaw {
    /// It is wrong; those after it may be right.
    Problem(Problem),
    /// The file cannot be read any further.
    Read(io::Error),
}

impl From<Problem> for Flaw {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The titles of a jobs file, in its order. Of JSON Lines one is held in memory at a time, of TOML the file.
pub struct Titles(Form);

enum Form {
    Lines { reader: BufReader<File>, line: u64 },
    Toml(std::vec::IntoIter<Result<Draft, Problem>>),
}

impl Titles {
    /// Opens a jobs file: TOML when its name ends in `.toml`, else JSON Lines.
    ///
    /// # Errors
    /// When it cannot be read, or is TOML and larger than [`limits::BATCH_TOML_BYTES`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
            return Ok(Self(Form::Lines { reader: BufReader::new(file), line: 0 }));
        }
        let mut text = String::new();
        file.by_ref().take(limits::BATCH_TOML_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > limits::BATCH_TOML_BYTES {
            let what = format!("larger than {} MiB; JSON Lines may be of any size", limits::BATCH_TOML_BYTES >> 20);
            return Err(io::Error::other(what));
        }
        Ok(Self(Form::Toml(toml(&text).into_iter())))
    }
}

impl fmt::Debug for Titles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Titles")
    }
}

impl Iterator for Titles {
    type Item = Result<Draft, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Form::Toml(titles) => titles.next().map(|title| title.map_err(Flaw::from)),
            Form::Lines { reader, line: number } => loop {
                let mut bytes = Vec::new();
                let longest = limits::BATCH_LINE_BYTES;
                match reader.by_ref().take(longest + 1).read_until(b'\n', &mut bytes) {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => return Some(Err(Flaw::Read(error))),
                }
                *number += 1;
                let at = Position { line: *number, column: 1 };
                if bytes.len() as u64 > longest {
                    if let Err(error) = reader.skip_until(b'\n') {
                        return Some(Err(Flaw::Read(error)));
                    }
                    let message = format!("the line is longer than {} KiB", longest >> 10);
                    return Some(Err(Problem { at, message }.into()));
                }
                let Ok(text) = std::str::from_utf8(&bytes) else {
                    let message = "the line is not UTF-8".to_owned();
                    return Some(Err(Problem { at, message }.into()));
                };
                if !text.trim().is_empty() {
                    return Some(line(text.trim_end(), *number).map_err(Flaw::from));
                }
            },
        }
    }
}

/// Reads one title of JSON Lines.
fn line(text: &str, number: u64) -> Result<Draft, Problem> {
    let lines = Lines::new(text, number);
    let fields: RawFields<'_> = serde_json::from_str(text).map_err(|error| {
        // serde counts bytes.
        let start = lines.starts.get(error.line().saturating_sub(1)).copied().unwrap_or(0);
        let at = lines.at(start + error.column().saturating_sub(1));
        let message = error.to_string();
        // The place is told beside the message.
        Problem { at, message: message.split(" at line ").next().unwrap_or_default().to_owned() }
    })?;
    let indent = text.len() - text.trim_start().len();
    let mut draft = Draft { at: lines.at(indent), fields: Vec::new() };
    for (name, value) in fields.0 {
        // `value` is a part of `text`.
        let offset = (value.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let quoted = text.get(..offset).and_then(|before| before.rfind(&format!("\"{name}\"")));
        let name_at = lines.at(quoted.unwrap_or(offset));
        let at = lines.at(offset);
        if draft.fields.iter().any(|field| field.name == name) {
            return Err(Problem { at: name_at, message: format!("{name} is there twice") });
        }
        // The last of two that are called the same would win without a word.
        if let Ok(inner) = serde_json::from_str::<RawFields<'_>>(value.get()) {
            let mut names: Vec<&str> = inner.0.iter().map(|(inner, _)| inner.as_str()).collect();
            names.sort_unstable();
            if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
                let twice = pair.first().copied().unwrap_or_default();
                return Err(Problem { at, message: format!("{name}: {twice} is there twice") });
            }
        }
        let value = serde_json::from_str(value.get()).map_err(|error| Problem { at, message: error.to_string() })?;
        draft.fields.push(Field { name, name_at, at, value });
    }
    Ok(draft)
}

/// An object's fields in their order, those that are there twice among them.
struct RawFields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a title, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::num::f64::NORMAL;
    use proptest::prelude::*;

    use super::*;

    pub(in crate::batch) fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        File::create(&path).unwrap().write_all(content).unwrap();
        (dir, path)
    }

    fn read(name: &str, content: &[u8]) -> Vec<Result<Draft, Problem>> {
        let (_dir, path) = file(name, content);
        let titles = Titles::open(&path).unwrap();
        let each = |title: Result<Draft, Flaw>| {
            title.map_err(|flaw| match flaw {
                Flaw::Problem(problem) => problem,
                Flaw::Read(error) => panic!("{error}"),
            })
        };
        titles.map(each).collect()
    }

    #[test]
    fn every_field_has_its_place() {
        let titles =
            read("a.jsonl", "{\"inputs\": [\"ä.ts\"], \"out\": \"ö\", \"iv\" : \"x\"}\n\n  {\"out\":1}\n".as_bytes());
        let first = titles[0].as_ref().unwrap();
        let places: Vec<_> =
            first.fields.iter().map(|f| (f.name.as_str(), f.name_at.to_string(), f.at.to_string())).collect();
        assert_eq!(
            places,
            [
                ("inputs", "1:2".into(), "1:12".into()),
                ("out", "1:22".into(), "1:29".into()),
                ("iv", "1:34".into(), "1:41".into())
            ]
        );
        let second = titles[1].as_ref().unwrap();
        assert_eq!((second.at.to_string(), second.fields[0].at.to_string()), ("3:3".into(), "3:10".into()));
        assert_eq!(titles.len(), 2);
    }

    #[test]
    fn what_is_wrong_has_its_place_and_the_rest_is_read() {
        let text = "{\"out\":\"a\"}\nnot json\n[1]\n{\"out\":\"a\",\"out\":\"b\"}\n{\"out\":\"ä\",\"context\":{\"a\":\"b\",\"a\":\"c\"}}\n{\"out\":\"ä\"} x\n{\"out\":\"b\"}";
        let titles = read("a.jsonl", text.as_bytes());
        let problems: Vec<_> = titles.iter().filter_map(|title| title.as_ref().err()).collect();
        let told: Vec<_> = problems.iter().map(|p| format!("{} {}", p.at, p.message)).collect();
        assert_eq!(
            told,
            [
                "2:2 expected ident",
                "3:1 invalid type: sequence, expected a title, which is a JSON object",
                "4:12 out is there twice",
                "5:22 context: a is there twice",
                "6:13 trailing characters",
            ]
        );
        assert_eq!(titles.iter().filter(|title| title.is_ok()).count(), 2);
    }

    #[test]
    fn lines_that_are_too_long_or_no_text_are_passed_over() {
        let long = vec![b' '; limits::BATCH_LINE_BYTES as usize + 10];
        let titles = read("a.jsonl", &[&long[..], b"\n\xff\n{\"out\":\"a\"}\n"].concat());
        let told: Vec<_> = titles.iter().map(|t| t.as_ref().err().map(|p| p.message.clone())).collect();
        assert_eq!(told, [Some("the line is longer than 256 KiB".into()), Some("the line is not UTF-8".into()), None]);
        assert_eq!(titles[2].as_ref().unwrap().at.line, 3);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(content: Vec<u8>, toml: bool) {
            let _ = std::str::from_utf8(&content).map(|_| read(if toml { "a.toml" } else { "a.jsonl" }, &content));
        }

        #[test]
        fn a_title_is_read_back_as_it_was(name in "[a-z_]{1,8}", text: String, number: i32, part in NORMAL, flag: bool) {
            let value = serde_json::json!({ name: text, "number-1": number, "part-1": part, "flag-1": [flag, null] });
            let draft = Draft::from_json(&value.to_string()).unwrap();
            prop_assert_eq!(Value::Object(draft.to_json()), value);
        }
    }
}
