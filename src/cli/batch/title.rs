//! A title of a jobs file is a command line of `keyrung package` in other clothes: `segment_duration` is
//! `--segment-duration`. What fields there are, what they take and what is wrong with a value is read off that command.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Args, Command, FromArgMatches};
use serde_json::Value;

use crate::batch::{Draft, Field, Problem};
use crate::cli::package::PackageArgs;
use crate::package::input::InputPlace;

/// What stands in place of a command's arguments.
const INPUTS: &str = "inputs";
/// Flags that are of no use to a title: a whole jobs file is rehearsed, and the report has what `--job-out` would.
const NOT_FIELDS: [&str; 2] = ["dry_run", "job_out"];
/// What survives loss of power: a later run trusts the commit records that it finds.
const DURABLE: &str = "--durability=power";

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// true or false.
    Switch,
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Text or a whole number.
    TextOrInteger,
    /// One text or several.
    Texts,
    /// An object of texts.
    Pairs,
}

impl Shape {
    fn of(arg: &Arg) -> Self {
        match (arg.get_id().as_str(), arg.get_action()) {
            (_, ArgAction::SetTrue) => Self::Switch,
            ("context", _) => Self::Pairs,
            (_, ArgAction::Append) => Self::Texts,
            ("segment_duration", _) => Self::Number,
            ("threads" | "memory", _) => Self::Integer,
            ("audio", _) => Self::TextOrInteger,
            _ => Self::Text,
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Switch => "true or false",
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::TextOrInteger => "a text or a whole number",
            Self::Texts => "a text or an array of texts",
            Self::Pairs => "an object of texts",
        }
    }

    /// The values that the flag is given, one for each time; None for what is not of this shape.
    fn values(self, value: &Value) -> Option<Vec<String>> {
        match (self, value) {
            (Self::Text | Self::TextOrInteger | Self::Texts, Value::String(text)) => Some(vec![text.clone()]),
            (Self::Integer | Self::TextOrInteger, Value::Number(number)) => {
                number.as_u64().map(|number| vec![number.to_string()])
            }
            (Self::Number, Value::Number(number)) => Some(vec![number.to_string()]),
            (Self::Texts, Value::Array(texts)) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
            (Self::Pairs, Value::Object(pairs)) => {
                pairs.iter().map(|(key, value)| value.as_str().map(|value| format!("{key}={value}"))).collect()
            }
            _ => None,
        }
    }
}

/// What a title can hold.
#[derive(Debug)]
pub struct TitleForm {
    command: Command,
    shapes: BTreeMap<String, Shape>,
}

impl TitleForm {
    /// The form, made from the command that packages one title.
    pub fn new() -> Self {
        let command = PackageArgs::augment_args(Command::new("title").no_binary_name(true).disable_help_flag(true));
        let fields = command.get_arguments().filter(|arg| arg.get_long().is_some());
        let fields = fields.filter(|arg| !NOT_FIELDS.contains(&arg.get_id().as_str()));
        let shapes = fields.map(|arg| (arg.get_id().to_string(), Shape::of(arg))).collect();
        Self { command, shapes }
    }

    /// Every field but the inputs, in the order of the command's help.
    pub fn fields(&self) -> impl Iterator<Item = (&Arg, Shape)> {
        self.command.get_arguments().filter_map(|arg| Some((arg, *self.shapes.get(arg.get_id().as_str())?)))
    }

    /// Reads a title.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self, draft: &Draft) -> Result<PackageArgs, Vec<Problem>> {
        let mut problems = Vec::new();
        let (mut words, mut inputs) = (Vec::new(), None);
        for field in &draft.fields {
            if field.name == INPUTS {
                inputs = Some(field);
                continue;
            }
            match self.words(field) {
                Ok(more) => words.extend(more),
                Err(problem) => problems.push(problem),
            }
        }
        let out = draft.fields.iter().find(|field| field.name == "out");
        if out.is_none() {
            problems.push(Problem { at: draft.at, message: "out is missing: where the package is to be".to_owned() });
        }
        if !draft.fields.iter().any(|field| field.name == "durability") {
            words.push(DURABLE.to_owned());
        }
        words.push("--".to_owned());
        match inputs.map(|field| (field, Shape::Texts.values(&field.value).filter(|texts| !texts.is_empty()))) {
            None => problems.push(Problem { at: draft.at, message: "inputs is missing: what is packaged".to_owned() }),
            Some((field, None)) => {
                let message = "inputs: an array of one input or more is wanted".to_owned();
                problems.push(Problem { at: field.at, message });
            }
            Some((_, Some(texts))) => words.extend(texts),
        }
        if !problems.is_empty() {
            problems.sort();
            return Err(problems);
        }
        let args = self.parse(&words).map_err(|error| self.blame(draft, &error))?;
        let fail = |at, error: crate::cli::error::CliError| vec![Problem { at, message: error.message }];
        let inputs_at = inputs.map_or(draft.at, |field| field.at);
        let specs = args.specs().map_err(|error| fail(inputs_at, error))?;
        if specs.iter().any(|spec| spec.place == InputPlace::Stdin) {
            let message = "inputs: standard input (-) can be packaged by keyrung package alone".to_owned();
            return Err(vec![Problem { at: inputs_at, message }]);
        }
        if let Err(why) = args.check_input_decryption() {
            let field = draft.fields.iter().find(|field| field.name == "input_decryption");
            let message = format!("input_decryption: {why}");
            return Err(vec![Problem { at: field.map_or(draft.at, |field| field.at), message }]);
        }
        args.dest().map_err(|error| fail(draft.at, error))?;
        args.content_id().map_err(|error| fail(out.map_or(draft.at, |field| field.at), error))?;
        Ok(args)
    }

    fn parse(&self, words: &[String]) -> Result<PackageArgs, clap::Error> {
        let matches = self.command.clone().try_get_matches_from(words)?;
        PackageArgs::from_arg_matches(&matches)
    }

    /// The words of the command line that a field is.
    fn words(&self, field: &Field) -> Result<Vec<String>, Problem> {
        let Some(shape) = self.shapes.get(&field.name) else {
            let like = self.shapes.keys().map(String::as_str).chain([INPUTS]).find(|name| is_like(name, &field.name));
            let hint = like.map(|name| format!(", did you mean {name}?")).unwrap_or_default();
            return Err(Problem {
                at: field.name_at,
                message: format!("{}: there is no such field{hint}", field.name),
            });
        };
        let flag = format!("--{}", field.name.replace('_', "-"));
        match (shape, &field.value) {
            (Shape::Switch, Value::Bool(true)) => return Ok(vec![flag]),
            (Shape::Switch, Value::Bool(false)) => return Ok(Vec::new()),
            _ => {}
        }
        let values = shape.values(&field.value).ok_or_else(|| {
            let message = format!("{}: {} is wanted", field.name, shape.wanted());
            Problem { at: field.at, message }
        })?;
        Ok(values.into_iter().map(|value| format!("{flag}={value}")).collect())
    }

    /// Finds the fields that the command refuses, each by itself. Where each is right and all together are not, it is the
    /// title that is wrong.
    fn blame(&self, draft: &Draft, whole: &clap::Error) -> Vec<Problem> {
        use clap::error::ErrorKind::{InvalidValue, ValueValidation};
        let mut problems = Vec::new();
        for field in draft.fields.iter().filter(|field| field.name != INPUTS) {
            let mut words = self.words(field).unwrap_or_default();
            words.extend(["--".to_owned(), "input".to_owned()]);
            if let Err(error) = self.parse(&words)
                && matches!(error.kind(), InvalidValue | ValueValidation)
            {
                let text = one_line(&error);
                // `invalid value 'x' for '--iv <derived|sequence|HEX32>': reason`
                let reason = text
                    .split_once("' for '--")
                    .map_or(text.as_str(), |(value, rest)| rest.split_once('\'').map_or(value, |(_, reason)| reason));
                let reason = reason.trim_start_matches([':', ' ']);
                let reason = if reason.is_empty() { text.as_str() } else { reason };
                problems.push(Problem { at: field.at, message: format!("{}: {reason}", field.name) });
            }
        }
        if problems.is_empty() {
            problems.push(Problem { at: draft.at, message: self.in_fields(&one_line(whole)) });
        }
        problems
    }

    /// A message about flags, told with the names of fields.
    fn in_fields(&self, message: &str) -> String {
        let mut out = String::new();
        let mut rest = message;
        while let Some((before, after)) = rest.split_once("'--") {
            out.push_str(before);
            let (flag, behind) = after.split_once('\'').unwrap_or((after, ""));
            let name = flag.split([' ', '=']).next().unwrap_or_default().replace('-', "_");
            out.push_str(&name);
            rest = behind;
        }
        out.push_str(rest);
        out.trim_start_matches("the argument ").to_owned()
    }
}

/// The first paragraph of a message, without its label.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether one name is the other but for a character, hyphens, or letter case.
fn is_like(name: &str, given: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let (name, given) = (plain(name), plain(given));
    if name == given {
        return true;
    }
    let common = name.bytes().zip(given.bytes()).take_while(|(a, b)| a == b).count();
    let tail = name.bytes().rev().zip(given.bytes().rev()).take_while(|(a, b)| a == b).count();
    let (shorter, longer) = (name.len().min(given.len()), name.len().max(given.len()));
    longer - shorter <= 1 && common + tail + 1 >= longer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(title: &Value) -> Result<PackageArgs, Vec<String>> {
        let draft = Draft::from_json(&title.to_string()).unwrap();
        TitleForm::new()
            .read(&draft)
            .map_err(|problems| problems.into_iter().map(|p| format!("{} {}", p.at, p.message)).collect())
    }

    #[test]
    fn fields_are_the_flags_of_package() {
        let args = read(&json!({
            "inputs": ["hi=a.ts", "s3://films/b.ts#program=2"], "out": "out/a", "content_id": "a", "segment_duration": 4.5,
            "context": {"title": "a", "x": "y=z"}, "iv": "sequence", "strict": true, "force": false, "threads": 3,
            "audio": 257, "align": "off", "digest": "blake3", "grant_token": ["one", "two"],
        }))
        .unwrap();
        let told = format!("{args:?}");
        for wanted in [
            "content_id: Some(ContentId(\"a\"))",
            "\"hi=a.ts\", \"s3://films/b.ts#program=2\"",
            "iv: Sequence",
            "strict: true",
            "force: false",
            "threads: Some(3)",
            "align: Off",
            "digest: Blake3",
            "durability: Power",
            "[\"one\", \"two\"]",
        ] {
            assert!(told.contains(wanted), "{wanted} is not in {told}");
        }
        let args = read(&json!({"inputs": "a.ts", "out": "b", "durability": "process"})).unwrap();
        assert!(format!("{args:?}").contains("durability: Process"));
    }

    #[test]
    fn all_that_is_wrong_with_a_title_is_told_at_once() {
        let title = r#"{"inputs":[1],"segment-duration":6,"iv":"x","threads":"2","aligned":"off","strict":1}"#;
        let problems = TitleForm::new().read(&Draft::from_json(title).unwrap()).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| format!("{} {}", p.at, p.message)).collect();
        assert_eq!(
            told,
            [
                "1:1 out is missing: where the package is to be",
                "1:11 inputs: an array of one input or more is wanted",
                "1:15 segment-duration: there is no such field, did you mean segment_duration?",
                "1:55 threads: a whole number is wanted",
                "1:59 aligned: there is no such field",
                "1:84 strict: true or false is wanted",
            ]
        );
        let title = r#"{"inputs":["a"],"out":"b","iv":"x","segment_duration":0.1,"align":"maybe","content_id":"../x"}"#;
        let problems = TitleForm::new().read(&Draft::from_json(title).unwrap()).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| format!("{} {}", p.at, p.message)).collect();
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told[0].starts_with("1:32 iv: "), "{told:#?}");
        assert_eq!(told[1], "1:55 segment_duration: a duration is 0.5 to 3600 seconds");
        assert!(told[2].starts_with("1:67 align: ") && told[2].contains("shared, off"), "{told:#?}");
    }

    #[test]
    fn no_spelling_of_standard_input_is_an_input() {
        for input in ["-", "hi=-", "-#program=1"] {
            let told = read(&json!({"inputs": ["a.ts", input], "out": "b"})).unwrap_err();
            assert!(told[0].contains("standard input (-)"), "{told:?}");
        }
    }

    #[test]
    fn a_value_that_may_be_a_key_is_refused_without_it() {
        let told =
            read(&json!({"inputs": ["a.ts"], "out": "b", "input_decryption": ["mode=cbc,key=c2VjcmV0"]})).unwrap_err();
        assert!(told[0].contains("input_decryption: it is @FILE") && !told[0].contains("c2Vj"), "{told:?}");
    }

    #[test]
    fn what_does_not_go_together_is_told_by_the_names_of_fields() {
        let key = "3f2b8c1e-0000-4000-8000-000000000000";
        let told = read(&json!({"inputs": ["a"], "out": "b", "key": key, "context": {"a": "b"}})).unwrap_err();
        assert_eq!(told, ["1:1 key cannot be used with context"]);
    }

    #[test]
    fn names_that_are_nearly_right_are_recognized() {
        for (name, given) in [("iv", "IV"), ("inputs", "input"), ("key_uri", "key-url"), ("out", "outt")] {
            assert!(is_like(name, given), "{name} {given}");
        }
        assert!(!is_like("key", "iv") && !is_like("out", "inputs"));
    }
}
