//! The settings as a file that says what each is for.

use std::fmt::Write;

use toml::{Table, Value};

use super::Config;
use super::keys::{self, Kind};

/// All settings with their values, defaults as well, as a configuration file. What is not set stands as a comment.
/// Secrets are in files of their own: only their names are here.
#[must_use]
pub fn print(config: &Config) -> String {
    let table = value(config);
    let mut out = String::new();
    let mut section = "";
    for setting in keys::all() {
        let (table_name, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
        // An array of tables goes last: what follows its header would be its own.
        if setting.kind == Kind::Toml {
            continue;
        }
        if table_name != section {
            let set = table.contains_key(table_name);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "\n{}[{table_name}]", if set { "" } else { "# " });
            section = table_name;
        }
        let value = if table_name.is_empty() { table.get(key) } else { table.get(table_name).and_then(|t| t.get(key)) };
        let _ = writeln!(out, "# {} ({})", setting.help, keys::variable(setting.name));
        let _ = match value {
            Some(value) => writeln!(out, "{key} = {value}"),
            None => writeln!(out, "# {key} ="),
        };
    }
    for setting in keys::all().iter().filter(|setting| setting.kind == Kind::Toml) {
        let _ = writeln!(out, "\n# {} ({})", setting.help, keys::variable(setting.name));
        let set = match table.get(setting.name) {
            Some(Value::Array(items)) if items.is_empty() => None,
            other => other,
        };
        let _ = match set.map(|value| toml::to_string(&Table::from_iter([(setting.name.to_owned(), value.clone())]))) {
            Some(Ok(text)) => writeln!(out, "{}", text.trim_end()),
            _ => writeln!(out, "# [[{}]]", setting.name),
        };
    }
    out
}

/// The same as a document.
#[must_use]
pub fn value(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}
