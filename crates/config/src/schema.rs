//! The JSON Schema of a config file, derived from `raw`.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use crate::raw::RawConfig;

/// The JSON Schema of a config file, for editors that complete and check as one types.
pub fn schema() -> String {
    serde_json::to_string_pretty(&value()).expect("a JSON value has a text")
}

/// The schema itself, which `shape` holds files against.
pub(crate) fn value() -> Value {
    SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(without_null))
        .into_generator()
        .into_root_schema_for::<RawConfig>()
        .to_value()
}

/// An optional key may be absent. TOML has no null that it could be instead.
fn without_null(schema: &mut Schema) {
    let is_null = |value: &Value| value == "null" || value.get("type").is_some_and(|t| t == "null");
    for keyword in ["type", "anyOf", "enum"] {
        let Some(Value::Array(options)) = schema.get_mut(keyword) else {
            continue;
        };
        options.retain(|option| !(is_null(option) || option.is_null()));
        if options.len() > 1 || keyword == "enum" {
            continue;
        }
        let only = options.pop();
        schema.remove(keyword);
        match only {
            Some(Value::Object(only)) => {
                for (key, value) in only {
                    schema.ensure_object().entry(key).or_insert(value);
                }
            }
            Some(name) => {
                schema.insert(keyword.into(), name);
            }
            None => {}
        }
    }
}
