//! A title as it can be submitted: workers have other working folders, so every path in it becomes absolute, and nothing
//! in it may be secret.

use std::path::Path;

use serde_json::{Map, Value};

use crate::batch::{Draft, Field, Problem};
use crate::cli::error::CliError;
use crate::cli::package::PackageArgs;
use crate::package::input::{InputPlace, InputSpec};

/// Fields that name a file or a folder.
const PATHS: [&str; 3] = ["key_store", "audit", "job"];
/// Fields that name a file after an `@`, and otherwise hold what the file would: sealed keys, which open nothing by
/// themselves, or a key's name.
const FILES: [&str; 3] = ["wrapped_key", "input_decryption", "sse_key"];

/// A title that means the same everywhere.
#[derive(Debug)]
pub struct Placed {
    /// Identifies its content.
    pub content_id: String,
    /// The full name of its DEST.
    pub out: String,
    /// The title.
    pub title: Map<String, Value>,
}

/// Reads the title that `args` were made of.
///
/// # Errors
/// When a path has no full name, or it holds something that must not be stored on a server.
pub fn placed(draft: &Draft, args: &PackageArgs) -> Result<Placed, Vec<Problem>> {
    let fail = |error: CliError| vec![Problem { at: draft.at, message: error.message }];
    let content_id = args.content_id().map_err(fail)?.to_string();
    let out = args.dest().and_then(|dest| Ok(dest.full_name()?)).map_err(fail)?;
    let mut title = draft.to_json();
    let mut problems = Vec::new();
    for field in &draft.fields {
        let value = match field.name.as_str() {
            "grant_token" => {
                let message = "grant_token: a submitted title is kept on the server, and a grant token is a secret; a grant \
                               that is some minutes old needs none";
                problems.push(Problem { at: field.name_at, message: message.to_owned() });
                continue;
            }
            "inputs" => each(field, &input),
            "out" => Ok(Value::from(out.clone())),
            name if PATHS.contains(&name) => each(field, &path),
            name if FILES.contains(&name) => each(field, &file),
            _ => continue,
        };
        match value {
            Ok(value) => drop(title.insert(field.name.clone(), value)),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // The id that DEST gives here may be another one elsewhere.
    title.insert("content_id".to_owned(), Value::from(content_id.clone()));
    Ok(Placed { content_id, out, title })
}

/// One text or several, changed.
fn each(field: &Field, change: &dyn Fn(&str) -> Option<String>) -> Result<Value, Problem> {
    let text = |value: &Value| match value {
        Value::String(text) => change(text).map(Value::from),
        other => Some(other.clone()),
    };
    let changed = match &field.value {
        Value::Array(values) => values.iter().map(text).collect::<Option<Vec<_>>>().map(Value::from),
        value => text(value),
    };
    let message = format!("{}: the path has no full name in UTF-8", field.name);
    changed.ok_or(Problem { at: field.at, message })
}

fn absolute(path: &Path) -> Option<String> {
    std::path::absolute(path).ok()?.into_os_string().into_string().ok()
}

/// A file or folder. Standard error and names in buckets are the same everywhere.
fn path(text: &str) -> Option<String> {
    if text == "-" || text.contains("://") { Some(text.to_owned()) } else { absolute(Path::new(text)) }
}

/// `[NAME=]FILE[#program=N]`, as it is understood here.
fn input(text: &str) -> Option<String> {
    let spec = InputSpec::parse(text).ok()?;
    let InputPlace::File(path) = &spec.place else { return Some(text.to_owned()) };
    let name = spec.name.map(|name| format!("{name}=")).unwrap_or_default();
    let program = spec.program.map(|program| format!("#program={program}")).unwrap_or_default();
    Some(format!("{name}{}{program}", absolute(path)?))
}

/// `@FILE`, or `...,wrapped-key=@FILE,...`, or what is no file.
fn file(text: &str) -> Option<String> {
    let whole = |text: &str| match text.strip_prefix('@') {
        Some(path) => absolute(Path::new(path)).map(|path| format!("@{path}")),
        None => Some(text.to_owned()),
    };
    if text.starts_with('@') {
        return whole(text);
    }
    let part = |part: &str| match part.split_once('=') {
        Some((name, value)) => whole(value).map(|value| format!("{name}={value}")),
        None => Some(part.to_owned()),
    };
    Some(text.split(',').map(part).collect::<Option<Vec<_>>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::batch::title::TitleForm;

    use super::*;

    fn read(title: &Value) -> Result<Value, Vec<String>> {
        let draft = Draft::from_json(&title.to_string()).unwrap();
        let args = TitleForm::new().read(&draft).unwrap();
        let told = |problems: Vec<Problem>| problems.iter().map(|p| format!("{} {}", p.at, p.message)).collect();
        placed(&draft, &args).map(|placed| Value::Object(placed.title)).map_err(told)
    }

    #[test]
    fn paths_become_absolute() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let at = |path: &str| here.join(path).to_str().unwrap().to_owned();
        let title = read(&json!({
            "inputs": ["hi=a/b.ts#program=2", "c.ts", "/d.ts", "lo=s3://films/e.ts"], "out": "out/a", "key_store": "keys",
            "audit": "-", "input_decryption": ["@f.json", "mode=cbc,iv=00112233445566778899aabbccddeeff,wrapped-key=@g"],
            "strict": true,
        }));
        let title = title.unwrap();
        let hash = title["content_id"].as_str().unwrap();
        assert!(hash.starts_with("a-"), "{hash}");
        assert_eq!(
            title,
            json!({
                "inputs": [format!("hi={}#program=2", at("a/b.ts")), at("c.ts"), "/d.ts", "lo=s3://films/e.ts"],
                "out": at("out/a"), "key_store": at("keys"), "audit": "-",
                "input_decryption": [
                    format!("@{}", at("f.json")),
                    format!("mode=cbc,iv=00112233445566778899aabbccddeeff,wrapped-key=@{}", at("g")),
                ],
                "strict": true, "content_id": hash,
            })
        );
        let title = read(&json!({"inputs": "a.ts", "out": "s3://films/a", "wrapped_key": "@k"})).unwrap();
        assert_eq!((&title["out"], &title["wrapped_key"]), (&json!("s3://films/a"), &json!(format!("@{}", at("k")))));
        // Base64 ends in what looks like a field without a value.
        let title = read(&json!({"inputs": "a.ts", "out": "b", "wrapped_key": "AQID/+8="})).unwrap();
        assert_eq!(title["wrapped_key"], "AQID/+8=");
    }

    /// The name of an input that is made absolute must not be read in another way.
    #[test]
    fn a_placed_title_is_placed_already() {
        let title =
            json!({"inputs": ["hi=a=b.ts#program=3"], "out": "s3://films/x", "sse": "kms", "sse_key": "alias/films"});
        let once = read(&title).unwrap();
        assert_eq!(read(&once).unwrap(), once);
        let spec = InputSpec::parse(once["inputs"][0].as_str().unwrap()).unwrap();
        assert_eq!((spec.name.as_deref(), spec.program), (Some("hi"), Some(3)));
    }

    #[test]
    fn grant_tokens_are_refused() {
        let told = read(&json!({"inputs": ["a"], "out": "b", "grant_token": ["secret"]})).unwrap_err();
        assert!(told[0].starts_with("1:27 grant_token: ") && !told[0].contains("\"secret\""), "{told:?}");
    }
}
