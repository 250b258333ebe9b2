//! `docs/config.md` says what the code does.

use serde_json::Value;

use super::loaded;
use crate::schema;

const DOCS: &str = include_str!("../../../../docs/config.md");

/// The fenced blocks of TOML.
fn examples() -> Vec<&'static str> {
    DOCS.split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_example_of_the_docs_is_compiled() {
    assert!(examples().len() > 10);
    for example in examples() {
        // An example is a whole config, or leaves out what has nothing to do with it.
        let mut text = String::new();
        if !example.contains("[listeners.") {
            text += "listeners.web.bind = \":8080\"\n";
        }
        if !example.contains("[pools.") {
            text += "pools.app.endpoints = [\"10.0.0.11:3000\"]\n";
        }
        loaded(&(text + example));
    }
}

#[test]
fn every_key_is_in_the_docs() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let mut tables = vec![&schema];
    tables.extend(schema["$defs"].as_object().unwrap().values());
    let mut keys = 0;
    for table in tables {
        for key in table["properties"]
            .as_object()
            .into_iter()
            .flat_map(|keys| keys.keys())
        {
            assert!(
                DOCS.contains(&format!("`{key}`")),
                "{key} is not in docs/config.md"
            );
            keys += 1;
        }
    }
    assert!(keys > 40, "{keys}");
}

#[test]
fn every_policy_is_in_the_docs() {
    for policy in balance::POLICIES {
        assert!(
            DOCS.contains(&format!("`\"{}\"`", policy.name)),
            "{}",
            policy.name
        );
    }
}

#[test]
fn the_schema_has_a_description_of_every_key_and_no_null() {
    let text = schema();
    assert!(!text.contains("null"), "{text}");
    let schema: Value = serde_json::from_str(&text).unwrap();
    for (name, table) in schema["$defs"].as_object().unwrap() {
        for (key, property) in table["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{key}");
        }
        assert_eq!(table["additionalProperties"], false, "{name}");
    }
}
