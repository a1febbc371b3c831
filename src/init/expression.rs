//! GitHub's expressions, `${{ ... }}`, as far as a file can tell what they come to.

use serde_json::{Map, Value};

/// How deep parentheses may stand in parentheses.
const DEPTH: usize = 32;
/// How long a text may be, before and after it is filled in.
const MOST: usize = 4 << 10;

/// The contexts by their names: `matrix`, `env`, `inputs`, `vars`, ... One that is not here is not known.
pub type Contexts = Map<String, Value>;

/// Fills all expressions of a text; `None` where one is not known.
pub fn fill(text: &str, contexts: &Contexts) -> Option<String> {
    if text.len() > MOST {
        return None;
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let end = end(after)?;
        filled += before;
        filled += &text_of(&evaluate(&after[..end], contexts)?)?;
        if filled.len() > MOST {
            return None;
        }
        rest = &after[end + 2..];
    }
    Some(filled + rest)
}

/// The value of a text that is one expression and nothing else, else its text.
pub fn value(text: &str, contexts: &Contexts) -> Option<Value> {
    let inner = text.trim().strip_prefix("${{").filter(|_| text.len() <= MOST);
    match inner.and_then(|inner| Some((inner, end(inner)?))) {
        Some((inner, end)) if inner[end + 2..].is_empty() => evaluate(&inner[..end], contexts),
        _ => fill(text, contexts).map(Value::from),
    }
}

/// Where the expression ends: not within a text of its own.
fn end(text: &str) -> Option<usize> {
    let mut quoted = false;
    let bytes = text.as_bytes();
    (0..bytes.len()).find(|index| {
        quoted ^= bytes[*index] == b'\'';
        !quoted && bytes[*index..].starts_with(b"}}")
    })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

fn evaluate(text: &str, contexts: &Contexts) -> Option<Value> {
    let mut reader = Reader { rest: text.trim(), contexts, depth: DEPTH };
    let value = reader.or()?;
    reader.rest.trim().is_empty().then_some(value)?
}

/// Reads from left to right. The outer option of a value says whether it is an expression at all, the inner
/// one whether it is known.
struct Reader<'a> {
    rest: &'a str,
    contexts: &'a Contexts,
    depth: usize,
}

type Known = Option<Value>;
type Compare = fn(&Value, &Value) -> bool;

impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(word).map(|rest| self.rest = rest).is_some()
    }

    fn or(&mut self) -> Option<Known> {
        let mut left = self.and()?;
        while self.take("||") {
            let right = self.and()?;
            left = left.and_then(|left| if is_true(&left) { Some(left) } else { right });
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Known> {
        let mut left = self.comparison()?;
        while self.take("&&") {
            let right = self.comparison()?;
            left = left.and_then(|left| if is_true(&left) { right } else { Some(left) });
        }
        Some(left)
    }

    fn comparison(&mut self) -> Option<Known> {
        let left = self.unary()?;
        let operators: [(&str, Compare); 6] = [
            ("==", equal),
            ("!=", |one, other| !equal(one, other)),
            ("<=", |one, other| number(one) <= number(other)),
            (">=", |one, other| number(one) >= number(other)),
            ("<", |one, other| number(one) < number(other)),
            (">", |one, other| number(one) > number(other)),
        ];
        let Some((_, compare)) = operators.iter().find(|(word, _)| self.take(word)) else {
            return Some(left);
        };
        let right = self.unary()?;
        Some(left.zip(right).map(|(left, right)| compare(&left, &right).into()))
    }

    fn unary(&mut self) -> Option<Known> {
        let mut negated = false;
        let mut any = false;
        while !self.rest.trim_start().starts_with("!=") && self.take("!") {
            negated = !negated;
            any = true;
        }
        let value = self.primary()?;
        Some(if any { value.map(|value| (is_true(&value) != negated).into()) } else { value })
    }

    fn primary(&mut self) -> Option<Known> {
        self.depth = self.depth.checked_sub(1)?;
        let value = self.value();
        self.depth += 1;
        let mut value = value?;
        loop {
            if self.take(".") {
                let name = self.name()?;
                value = value.map(|value| at(&value, &name));
            } else if self.take("[") {
                self.depth = self.depth.checked_sub(1)?;
                let key = self.or()?;
                self.depth += 1;
                self.take("]").then_some(())?;
                value = value.zip(key).map(|(value, key)| match (&value, key) {
                    (Value::Array(items), Value::Number(index)) => {
                        let index = index.as_f64().filter(|index| index.fract() == 0.0 && *index >= 0.0);
                        index.and_then(|index| items.get(index as usize)).cloned().unwrap_or(Value::Null)
                    }
                    (_, key) => text_of(&key).map_or(Value::Null, |key| at(&value, &key)),
                });
            } else {
                return Some(value);
            }
        }
    }

    fn value(&mut self) -> Option<Known> {
        if self.take("(") {
            let value = self.or()?;
            return self.take(")").then_some(value);
        }
        if self.take("'") {
            return self.quoted().map(|text| Some(text.into()));
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
            let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest;
            return Some(Some(number.parse::<f64>().ok()?.into()));
        }
        let name = self.name()?;
        if self.take("(") {
            let mut arguments = Vec::new();
            while !self.take(")") {
                if !arguments.is_empty() {
                    self.take(",").then_some(())?;
                }
                arguments.push(self.or()?);
            }
            let arguments: Option<Vec<Value>> = arguments.into_iter().collect();
            return Some(arguments.and_then(|arguments| call(&name.to_lowercase(), &arguments)));
        }
        Some(match name.as_str() {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            "null" => Some(Value::Null),
            name => self.contexts.get(&name.to_lowercase()).cloned(),
        })
    }

    fn name(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// A text behind its first quote; two quotes in it are one.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            let (before, after) = self.rest.split_once('\'')?;
            text += before;
            self.rest = after;
            match after.strip_prefix('\'') {
                Some(after) => self.rest = after,
                None => return Some(text),
            }
            text.push('\'');
        }
    }
}

/// A value of a mapping, whose keys' case does not matter.
fn at(value: &Value, name: &str) -> Value {
    let Value::Object(entries) = value else { return Value::Null };
    entries
        .get(name)
        .or_else(|| entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .cloned()
        .unwrap_or(Value::Null)
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) if text.trim().is_empty() => 0.0,
        Value::String(text) => text.trim().parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.to_lowercase() == other.to_lowercase(),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => one == other,
        _ => number(one) == number(other),
    }
}

fn call(name: &str, arguments: &[Value]) -> Known {
    let text = |index: usize| text_of(arguments.get(index)?).map(|text| text.to_lowercase());
    match name {
        "fromjson" => serde_json::from_str(arguments.first()?.as_str()?).ok(),
        "contains" => {
            let is_in = match arguments.first()? {
                Value::Array(items) => {
                    items.iter().any(|item| equal(item, arguments.get(1).unwrap_or(&Value::Null)))
                }
                _ => text(0)?.contains(&text(1)?),
            };
            Some(is_in.into())
        }
        "startswith" => Some(text(0)?.starts_with(&text(1)?).into()),
        "endswith" => Some(text(0)?.ends_with(&text(1)?).into()),
        "format" => {
            let mut filled = text_of(arguments.first()?)?;
            for (index, argument) in arguments.iter().enumerate().skip(1).take(10) {
                filled = filled.replace(&format!("{{{}}}", index - 1), &text_of(argument)?);
                if filled.len() > MOST {
                    return None;
                }
            }
            Some(filled.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions_come_to_what_github_makes_of_them() {
        let contexts = json!({
            "matrix": {"db": "postgres", "pg": "15", "image": {"name": "x", "list": ["a", "b"]}},
            "inputs": {}, "vars": {},
        });
        let Value::Object(contexts) = contexts else { unreachable!() };
        for (text, expected) in [
            ("postgres:${{ matrix.pg }}-alpine", Some("postgres:15-alpine")),
            ("${{matrix['pg']}}${{ matrix.image.name }}${{ matrix.image.list[1] }}", Some("15xb")),
            ("${{ matrix.db == 'postgres' && 'postgres:15' || '' }}", Some("postgres:15")),
            ("${{ matrix.db == 'mysql' && 'mysql:8' || '' }}", Some("")),
            ("${{ inputs.pg || '16' }}", Some("16")),
            ("${{ format('postgres:{0}{1}', matrix.pg, '-x') }}", Some("postgres:15-x")),
            ("${{ matrix.pg >= 15 && !(matrix.pg > 15) }}", Some("true")),
            ("${{ startsWith(matrix.db, 'POST') && contains(fromJSON('[\"a\", 15]'), 15) }}", Some("true")),
            ("${{ 'it''s }}' }}", Some("it's }}")),
            ("${{ matrix.none }}", Some("")),
            ("${{ fromJSON('{\"a\": \"b\"}').a }}", Some("b")),
            ("${{ secrets.PW }}", None),
            ("${{ needs.x.outputs.y || 'a' }}", None),
            ("${{ matrix.image }}", None),
            ("${{ a b }}", None),
            ("${{ (1 }}", None),
            ("${{ matrix.pg", None),
            ("plain", Some("plain")),
        ] {
            assert_eq!(fill(text, &contexts).as_deref(), expected, "{text}");
        }
        assert_eq!(value("${{ fromJSON('[15, 16]') }}", &contexts), Some(json!([15, 16])));
        for text in ["(".repeat(3000), "matrix[".repeat(500), "!".repeat(3000), "format(".repeat(500)] {
            assert_eq!(fill(&format!("${{{{ {text} }}}}"), &contexts), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\$\\{\\{|\\}\\}|matrix|[a-c().,'!=<>|&\\[\\] 0-9é-]){0,40}") {
            let contexts = [("matrix".to_owned(), json!({"a": "b"}))].into_iter().collect();
            let _ = (fill(&text, &contexts), value(&text, &contexts));
        }
    }
}
