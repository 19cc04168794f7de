//! `keyrung batch --schema`: what a title can hold, as a JSON Schema.

use clap::Arg;
use serde_json::{Map, Value, json};

use super::title::{Shape, TitleForm};

/// The schema of one line of a jobs file (JSON Schema 2020-12). In TOML, `[defaults]` and each `[[title]]` hold the same
/// fields.
pub fn schema(form: &TitleForm) -> Value {
    let mut fields = Map::new();
    fields.insert(
        "inputs".to_owned(),
        json!({
            "description": "[NAME=]FILE[#program=N], or [NAME=]s3://BUCKET/KEY[#program=N]",
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
        }),
    );
    for (arg, shape) in form.fields() {
        fields.insert(arg.get_id().to_string(), field(arg, shape));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A title of keyrung batch",
        "description": "One line of a jobs file in JSON Lines. In TOML, [defaults] and each [[title]] hold the same fields.",
        "type": "object",
        "required": ["inputs", "out"],
        "additionalProperties": false,
        "properties": fields,
    })
}

fn field(arg: &Arg, shape: Shape) -> Value {
    let mut field = match shape {
        Shape::Switch => json!({"type": "boolean", "default": false}),
        Shape::Text => json!({"type": "string"}),
        Shape::Integer => json!({"type": "integer", "minimum": 1}),
        Shape::Number => json!({"type": "number", "minimum": 0.5, "maximum": 3600}),
        Shape::TextOrInteger => json!({"type": ["string", "integer"]}),
        Shape::Texts => json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        Shape::Pairs => json!({"type": "object", "additionalProperties": {"type": "string"}}),
    };
    let choices: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if let Value::Object(fields) = &mut field {
        if !choices.is_empty() && shape == Shape::Text {
            fields.insert("enum".to_owned(), json!(choices));
        }
        if let Some(help) = arg.get_help() {
            fields.insert("description".to_owned(), json!(help.to_string()));
        }
        let default = match (arg.get_id().as_str(), arg.get_default_values().first()) {
            // Without it, a title survives loss of power.
            ("durability", _) => Some("power".to_owned()),
            // What package takes where no --out is given is no use to a catalogue.
            ("out", _) => None,
            (_, value) => value.map(|value| value.to_string_lossy().into_owned()),
        };
        if let Some(default) = default.filter(|_| shape != Shape::Switch) {
            let number = matches!(shape, Shape::Number | Shape::Integer).then(|| default.parse::<u64>().ok()).flatten();
            fields.insert("default".to_owned(), number.map_or_else(|| json!(default), |number| json!(number)));
        }
    }
    field
}
