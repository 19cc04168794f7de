//! Jobs files in TOML: `[defaults]`, and a `[[title]]` for each title.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::manifest::{Draft, Field, Lines, Position, Problem};

/// Reads all titles. A file that is no TOML gives its problems alone.
pub fn read(text: &str) -> Vec<Result<Draft, Problem>> {
    let lines = Lines::new(text, 1);
    let at = |offset: usize| lines.at(offset);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            Err(Problem { at: at(error.span().map_or(0, |span| span.start)), message })
        };
        return errors.iter().map(problem).collect();
    }
    let mut out = Vec::new();
    let mut defaults = Vec::new();
    for (name, value) in document.get_ref() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("defaults", DeValue::Table(table)) => match fields(table, &at) {
                Ok(fields) => defaults = fields,
                Err(problem) => out.push(Err(problem)),
            },
            ("title", DeValue::Array(_)) => {}
            (name @ ("defaults" | "title"), _) => {
                let wanted = if name == "title" { "[[title]]" } else { "[defaults]" };
                out.push(Err(Problem { at: at(value.span().start), message: format!("{name} is a {wanted}") }));
            }
            (other, _) => {
                let message = format!("{other}: a jobs file has [defaults] and [[title]] at its top");
                out.push(Err(Problem { at: at(name.span().start), message }));
            }
        }
    }
    let titles = document.get_ref().get("title").and_then(|titles| titles.get_ref().as_array());
    for title in titles.into_iter().flatten() {
        let place = at(title.span().start);
        let DeValue::Table(table) = title.get_ref() else {
            out.push(Err(Problem { at: place, message: "a title is a table".to_owned() }));
            continue;
        };
        out.push(fields(table, &at).map(|mut own| {
            let missing = |field: &&Field| !own.iter().any(|has| has.name == field.name);
            let inherited: Vec<Field> = defaults.iter().filter(missing).cloned().collect();
            own.extend(inherited);
            Draft { at: place, fields: own }
        }));
    }
    out
}

fn fields(table: &DeTable<'_>, at: &impl Fn(usize) -> Position) -> Result<Vec<Field>, Problem> {
    let mut fields: Vec<Field> = table
        .iter()
        .map(|(name, value)| {
            let place = at(value.span().start);
            let json = json(value).map_err(|message| Problem { at: place, message })?;
            Ok(Field { name: name.get_ref().to_string(), name_at: at(name.span().start), at: place, value: json })
        })
        .collect::<Result<_, _>>()?;
    fields.sort_by_key(|field| field.name_at);
    Ok(fields)
}

fn json(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::from)
            .map_err(|_| format!("{} is too large a number", number.as_str()))?,
        DeValue::Float(number) => {
            let number: f64 = number.as_str().parse().map_err(|_| format!("{} is no number", number.as_str()))?;
            serde_json::Number::from_f64(number).map(Value::Number).ok_or("infinity and NaN have no use here")?
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(values) => Value::Array(values.iter().map(json).collect::<Result<_, _>>()?),
        DeValue::Table(table) => {
            let entry = |(name, value): (&Spanned<_>, &_)| Ok((ToString::to_string(name.get_ref()), json(value)?));
            Value::Object(table.iter().map(entry).collect::<Result<Map<_, _>, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn titles_take_the_defaults_that_they_do_not_set() {
        let text = "[defaults]\niv = \"sequence\"\nsegment_duration = 4.5\nstrict = true\n\n[[title]]\ninputs = [\"a.ts\"]\nout = \"a\"\n\n[[title]]\nout = \"b\"\niv = \"derived\"\nthreads = 0x2\ncontext = { a = \"b\" }\n";
        let titles = read(text);
        let both: Vec<_> = titles.iter().map(|title| Value::Object(title.as_ref().unwrap().to_json())).collect();
        assert_eq!(
            both,
            [
                json!({"inputs": ["a.ts"], "out": "a", "iv": "sequence", "segment_duration": 4.5, "strict": true}),
                json!({"out": "b", "iv": "derived", "threads": 2, "context": {"a": "b"}, "segment_duration": 4.5, "strict": true}),
            ]
        );
        let iv = titles[0].as_ref().unwrap().fields.iter().find(|field| field.name == "iv").unwrap();
        assert_eq!((iv.name_at.to_string(), iv.at.to_string()), ("2:1".into(), "2:6".into()));
        assert_eq!(titles[1].as_ref().unwrap().at.line, 10);
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let told = |text: &str| -> Vec<String> {
            read(text).into_iter().filter_map(Result::err).map(|p| format!("{} {}", p.at, p.message)).collect()
        };
        assert_eq!(
            told("titles = 1\n[defaults]\n[[title]]\nout = \"a\"\n[other]\n"),
            [
                "5:2 other: a jobs file has [defaults] and [[title]] at its top",
                "1:1 titles: a jobs file has [defaults] and [[title]] at its top",
            ]
        );
        assert_eq!(told("title = 3"), ["1:9 title is a [[title]]"]);
        assert_eq!(told("title = [3]"), ["1:10 a title is a table"]);
        assert_eq!(
            told("[[title]]\nthreads = 99999999999999999999"),
            ["2:11 99999999999999999999 is too large a number"]
        );
        let mut syntax = told("[[title]]\nout = \nthreads = = 2\n");
        syntax.sort();
        let lines: Vec<_> = syntax.iter().map(|told| &told[..2]).collect();
        assert_eq!(lines, ["2:", "3:", "3:"], "{syntax:?}");
    }
}
