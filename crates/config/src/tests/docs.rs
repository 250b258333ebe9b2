//! The docs say what the code does.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::parse_text;
use crate::schema;

/// Where every key is described.
const DOCS: &str = include_str!("../../../../docs/config.md");

/// Which policy when.
const CHOOSING: &str = include_str!("../../../../docs/choosing.md");

/// All pages, with their names.
fn pages() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text)
        })
        .collect()
}

/// The fenced blocks of TOML.
fn examples(page: &str) -> Vec<&str> {
    page.split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn every_example_of_the_docs_is_compiled() {
    let pages = pages();
    assert!(pages.len() > 5);
    assert!(examples(DOCS).len() > 10);
    for (name, page) in &pages {
        for example in examples(page) {
            // An example is a whole config, or leaves out what has nothing to do with it.
            let endpoints = "endpoints = [\"10.0.0.11:3000\"]\n";
            let mut text = String::new();
            if !example.contains("[listeners.") {
                text += "listeners.web.bind = \":8080\"\n";
            }
            if !example.contains("[pools.") {
                text += &format!("pools.app.{endpoints}");
            }
            text += example;
            if !example.contains("endpoints = ") {
                let header = "[pools.app]\n";
                text = text.replace(header, &format!("{header}{endpoints}"));
            }
            parse_text(&text).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        }
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
        let name = policy.name;
        assert!(DOCS.contains(&format!("`\"{name}\"`")), "{name}");
        assert!(CHOOSING.contains(&format!("\n## `{name}`\n")), "{name}");
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
