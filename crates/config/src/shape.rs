//! Holds a parsed file against the schema: unknown keys, wrong types, missing keys, numbers out of
//! range. All of them, where serde would stop at the first.
//!
//! What is wrong is reported and left out; what remains always becomes a `RawConfig`, so that its
//! meaning can be checked in the same run.

use std::fmt::Display;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeFloat, DeInteger, DeTable, DeValue};

use crate::compile::policies;
use crate::problem::Problems;
use crate::spanned::Place;
use crate::suggest;

/// The schema of a config file.
pub(crate) struct Shape(Value);

impl Shape {
    pub(crate) fn new() -> Self {
        Self(crate::schema::value())
    }

    /// The document without what does not fit. Places are moved by `base`, the beginning of the
    /// file among all files.
    pub(crate) fn conform<'i>(
        &self,
        document: Spanned<DeTable<'i>>,
        base: usize,
        problems: &mut Problems,
    ) -> Spanned<DeTable<'i>> {
        let mut walk = Walk {
            root: &self.0,
            base,
            path: String::new(),
            problems,
        };
        let place = walk.place(document.span());
        let table = walk.table(&self.0, document.into_inner(), place.clone());
        Spanned::new(place, table.unwrap_or_default())
    }
}

struct Walk<'a> {
    root: &'a Value,
    base: usize,
    /// Where in the config we are, such as `pools.*.policy`; `*` stands for any name.
    path: String,
    problems: &'a mut Problems,
}

impl<'a> Walk<'a> {
    fn place(&self, span: Range<usize>) -> Place {
        span.start + self.base..span.end + self.base
    }

    /// `name` is where to point when something is missing from the value.
    fn value<'i>(
        &mut self,
        schema: &'a Value,
        value: Spanned<DeValue<'i>>,
        name: Option<Place>,
    ) -> Option<Spanned<DeValue<'i>>> {
        let place = self.place(value.span());
        let forms = self.forms(schema);
        let found = json_type(value.get_ref());
        let Some(form) = forms.iter().find(|form| fits(form, found)) else {
            self.wrong_type(&forms, value.get_ref(), place);
            return None;
        };
        let value = match value.into_inner() {
            DeValue::Table(table) => {
                let name = name.unwrap_or_else(|| place.clone());
                DeValue::Table(self.table(form, table, name)?)
            }
            DeValue::Array(array) => DeValue::Array(self.array(form, array)?),
            DeValue::String(text) => {
                let has_table = forms.iter().any(|form| fits(form, "object"));
                self.check_choice(form, &text, &place, has_table)?;
                DeValue::String(text)
            }
            DeValue::Integer(integer) => {
                self.check_range(form, &integer, &place)?;
                DeValue::Integer(integer)
            }
            DeValue::Float(number) => {
                self.check_number(form, parse(&number), &number, &place)?;
                DeValue::Float(number)
            }
            other => other,
        };
        Some(Spanned::new(place, value))
    }

    fn table<'i>(
        &mut self,
        schema: &'a Value,
        table: DeTable<'i>,
        name: Place,
    ) -> Option<DeTable<'i>> {
        let keys = schema.get("properties").and_then(Value::as_object);
        let any_key = schema.get("additionalProperties").filter(|s| s.is_object());
        let mut present = Vec::new();
        let mut kept = DeTable::new();
        for (key, value) in table {
            let place = self.place(key.span());
            let known = keys.and_then(|keys| keys.get(&**key.get_ref()));
            let length = self.path.len();
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(if known.is_none() && any_key.is_some() {
                "*"
            } else {
                key.get_ref()
            });
            match known.or(any_key) {
                None => present.extend(self.unknown_key(keys, key.get_ref(), place)),
                Some(schema) => {
                    present.push(key.get_ref().to_string());
                    if let Some(value) = self.value(schema, value, Some(place.clone())) {
                        kept.insert(Spanned::new(place, key.into_inner()), value);
                    }
                }
            }
            self.path.truncate(length);
        }

        let required = schema.get("required").and_then(Value::as_array);
        let mut complete = true;
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !present.iter().any(|present| present == key) {
                let problem = self
                    .problems
                    .error(name.clone(), format!("`{key}` is missing"));
                let description = keys.and_then(|keys| keys[key]["description"].as_str());
                if let Some(description) = description {
                    problem.help(format!("`{key}`: {}", description.replace('\n', " ")));
                }
            }
            complete &= kept.contains_key(key);
        }
        complete.then_some(kept)
    }

    /// An element with a mistake is left out as a whole: what it lost may be what tells it apart
    /// from the others. A list that lost all its elements is not an empty one.
    fn array<'i>(&mut self, schema: &'a Value, array: DeArray<'i>) -> Option<DeArray<'i>> {
        let was_empty = array.is_empty();
        let mut kept = DeArray::new();
        for element in array {
            let before = self.problems.len();
            if let Some(element) = self.value(&schema["items"], element, None)
                && self.problems.len() == before
            {
                kept.push(element);
            }
        }
        (was_empty || !kept.is_empty()).then_some(kept)
    }

    /// Returns the key that was meant, if that is plain: it need not be reported as missing.
    fn unknown_key(
        &mut self,
        keys: Option<&serde_json::Map<String, Value>>,
        key: &str,
        place: Place,
    ) -> Option<String> {
        let keys = keys.into_iter().flatten().map(|(key, _)| key.as_str());
        if self.path.starts_with("pools.*.policy.") && policies().any(|policy| policy == key) {
            self.problems
                .error(place, format!("`{key}` has no settings"))
                .help(format!("write policy = \"{key}\""));
            return None;
        }
        let problem = self.problems.error(place, format!("unknown key `{key}`"));
        problem.help = suggest::help(key, keys.clone());
        suggest::similar(key, keys).map(str::to_owned)
    }

    fn wrong_type(&mut self, forms: &[&Value], value: &DeValue<'_>, place: Place) {
        let article = |name| match name {
            "object" => "a table",
            "array" => "a list",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            _ => "a string",
        };
        let expected: Vec<&str> = forms
            .iter()
            .filter_map(|form| form["type"].as_str().map(article))
            .collect();
        let found = match value {
            DeValue::Boolean(_) => "a boolean",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Datetime(_) => "a date or time",
            other => article(json_type(other)),
        };
        let message = format!("expected {}, found {found}", expected.join(" or "));
        let problem = self.problems.error(place, message);
        let kind = json_type(value);
        if expected.contains(&"a string") && matches!(kind, "integer" | "number") {
            problem.help("write it in quotes");
        }
        if let DeValue::Boolean(value) = value {
            let word = if *value { "on" } else { "off" };
            let is_choice = |form: &&Value| {
                let choices = form.get("enum").and_then(Value::as_array);
                choices.is_some_and(|choices| choices.iter().any(|choice| choice == word))
            };
            if forms.iter().any(is_choice) {
                problem.help(format!("write \"{word}\""));
            }
        }
    }

    /// `has_table`: a table may stand here too.
    fn check_choice(
        &mut self,
        form: &Value,
        text: &str,
        place: &Place,
        has_table: bool,
    ) -> Option<()> {
        let Some(choices) = form.get("enum").and_then(Value::as_array) else {
            return Some(());
        };
        let choices = choices.iter().filter_map(Value::as_str);
        if choices.clone().any(|choice| choice == text) {
            return Some(());
        }
        let key = self.path.rsplit('.').next().unwrap_or_default();
        let message = format!("`{text}` is no value of `{key}`");
        let problem = self.problems.error(place.clone(), message);
        problem.help = suggest::help(text, choices.clone());
        if has_table && suggest::similar(text, choices).is_none() {
            problem
                .help
                .iter_mut()
                .for_each(|help| *help += " or a table");
        }
        None
    }

    fn check_range(&mut self, form: &Value, integer: &DeInteger<'_>, place: &Place) -> Option<()> {
        if form["type"] == "number" {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            let number = number.map_or(f64::NAN, |number| number as f64);
            return self.check_number(form, number, integer, place);
        }
        let min = form["minimum"].as_i64().unwrap_or(0);
        // Every number of the config fits 32 bits; schemars leaves this bound to the format.
        let max = form["maximum"].as_i64().unwrap_or(u32::MAX.into());
        let digits = integer.as_str();
        let fits = i64::from_str_radix(digits, integer.radix())
            .is_ok_and(|number| (min..=max).contains(&number));
        if !fits {
            let range = if form["maximum"].is_null() {
                format!("at least {min}")
            } else {
                format!("{min} to {max}")
            };
            let message = format!("{integer} is out of range, {range}");
            self.problems.error(place.clone(), message);
        }
        fits.then_some(())
    }

    /// Numbers with a fraction have both bounds.
    fn check_number(
        &mut self,
        form: &Value,
        number: f64,
        written: &dyn Display,
        place: &Place,
    ) -> Option<()> {
        let bound = |key: &str| form[key].as_f64().unwrap_or(f64::NAN);
        let (min, max) = (bound("minimum"), bound("maximum"));
        let fits = (min..=max).contains(&number);
        if !fits {
            let message = format!("{written} is out of range, {min} to {max}");
            self.problems.error(place.clone(), message);
        }
        fits.then_some(())
    }

    /// The forms that a value may have, each with a type of its own.
    fn forms(&self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self
                .root
                .pointer(reference.trim_start_matches('#'))
                .expect("a schema refers to its own definitions"),
            None => schema,
        };
        match schema.get("anyOf").and_then(Value::as_array) {
            Some(forms) => forms.iter().flat_map(|form| self.forms(form)).collect(),
            None => vec![schema],
        }
    }
}

/// True if a value of this type may have this form. An integer is a number.
fn fits(form: &Value, found: &str) -> bool {
    form["type"] == found || (form["type"] == "number" && found == "integer")
}

/// Not a number where it is none.
fn parse(number: &DeFloat<'_>) -> f64 {
    number.as_str().parse().unwrap_or(f64::NAN)
}

/// The type as a JSON Schema calls it.
fn json_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Boolean(_) => "boolean",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
        DeValue::Float(_) => "number",
        // JSON has none, and no key takes one.
        DeValue::Datetime(_) => "datetime",
    }
}
