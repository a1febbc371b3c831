//! Objects without secrets: fields that are called like them, variables, arguments, texts, all of a Secret.

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::{called, can_be_secret};
use super::{MASK, Redactor};

/// Annotations that hold JSON of the user's own, whose every text may be a secret.
const PRIVATE_ANNOTATIONS: [&str; 1] = ["testbed/connargs"];

/// Fields that name things, which are known to everybody who may see that there is a run.
const PUBLIC: [&str; 8] =
    ["apiVersion", "kind", "name", "namespace", "uid", "resourceVersion", "containerID", "imageID"];

/// Fields whose keys are the user's own, where no name has a meaning.
const FREE: [&str; 4] = ["data", "stringData", "labels", "annotations"];

impl Redactor {
    /// Takes in what an object holds: all of a Secret's, and of any other what is called like a secret.
    pub fn add_object(&mut self, object: &Map<String, Value>) {
        if is_secret(object) {
            let values =
                |field: &str| object.get(field).and_then(Value::as_object).into_iter().flat_map(Map::values);
            for value in values("data") {
                if let Ok(ByteString(bytes)) = ByteString::deserialize(value) {
                    self.add_bytes(&bytes);
                }
            }
            for value in values("stringData") {
                self.add(value.as_str().unwrap_or_default());
            }
        }
        self.learn_all(object);
    }

    fn learn_all(&mut self, map: &Map<String, Value>) {
        if let (Some(Value::String(name)), Some(Value::String(value))) = (map.get("name"), map.get("value")) {
            self.add_variable(name, value);
        }
        map.iter().for_each(|(key, value)| self.learn(key, value));
    }

    fn learn(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(map) => self.learn_all(map),
            Value::Array(items) => {
                flag_values(items).for_each(|value| self.add(value));
                self.add_text(&words(items));
                items.iter().for_each(|item| self.learn(key, item));
            }
            Value::String(text) => {
                self.add_variable(key, text);
                self.add_text(text);
                if PRIVATE_ANNOTATIONS.contains(&key)
                    && let Ok(inner) = serde_json::from_str::<Value>(text)
                {
                    self.learn("", &inner);
                }
            }
            Value::Number(number) => self.add_variable(key, &number.to_string()),
            Value::Bool(_) | Value::Null => {}
        }
    }

    /// Masks them. What an object is called stays, and so do the keys.
    pub fn redact_object(&self, object: &mut Value) {
        // Bytes that nobody can look into, and all that a Secret holds.
        let is_secret = object.as_object().is_some_and(is_secret);
        let fields = if is_secret { &["binaryData", "data", "stringData"][..] } else { &["binaryData"] };
        for field in fields {
            let values = object.get_mut(*field).and_then(Value::as_object_mut);
            values.into_iter().flat_map(Map::values_mut).for_each(cover);
        }
        self.hide("", object, false);
    }

    /// `free`: the keys here are the user's own.
    fn hide(&self, key: &str, value: &mut Value, free: bool) {
        match value {
            Value::Object(map) => {
                let is_variable =
                    map.get("name").and_then(Value::as_str).is_some_and(|name| called(name).is_some());
                if let (true, Some(value @ Value::String(_))) = (is_variable, map.get_mut("value")) {
                    hide_named("value", value);
                }
                map.iter_mut().for_each(|(name, value)| self.hide(name, value, FREE.contains(&key)));
            }
            Value::Array(items) => {
                let flagged: Vec<usize> = flags(items).collect();
                for at in flagged {
                    cover(&mut items[at]);
                }
                if is_client(items) {
                    items.iter_mut().for_each(hide_client_flag);
                }
                items.iter_mut().for_each(|item| self.hide(key, item, free));
            }
            Value::String(text) if PRIVATE_ANNOTATIONS.contains(&key) => *text = covered(text),
            Value::String(_) | Value::Number(_) if called(key).is_some() => hide_named(key, value),
            Value::String(text) if free || !PUBLIC.contains(&key) => *text = self.redact_text(text),
            _ => {}
        }
    }
}

fn is_secret(object: &Map<String, Value>) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1")
}

fn cover(value: &mut Value) {
    *value = MASK.into();
}

/// Masks the value of something that is called like a secret, unless it is a switch.
fn hide_named(name: &str, value: &mut Value) {
    let is_switch = value.as_str().is_some_and(|text| !can_be_secret(name, text));
    if !is_switch {
        cover(value);
    }
}

/// JSON with every text in it masked; all of it where it is no JSON.
fn covered(text: &str) -> String {
    fn cover_texts(value: &mut Value) {
        match value {
            Value::Object(map) => map.values_mut().for_each(cover_texts),
            Value::Array(items) => items.iter_mut().for_each(cover_texts),
            Value::String(_) | Value::Number(_) => cover(value),
            Value::Bool(_) | Value::Null => {}
        }
    }
    let Ok(mut inner) = serde_json::from_str(text) else { return MASK.into() };
    cover_texts(&mut inner);
    inner.to_string()
}

/// The places of the items that follow a flag which is called like a secret: `["--password", "x"]`.
fn flags(items: &[Value]) -> impl Iterator<Item = usize> {
    let is_flag = |item: &Value| {
        item.as_str()
            .is_some_and(|text| text.starts_with("--") && !text.contains('=') && called(text).is_some())
    };
    let is_value = |item: &Value| item.as_str().is_some_and(|text| !text.starts_with('-'));
    items
        .windows(2)
        .enumerate()
        .filter(move |(_, pair)| is_flag(&pair[0]) && is_value(&pair[1]))
        .map(|(at, _)| at + 1)
}

fn flag_values(items: &[Value]) -> impl Iterator<Item = &str> {
    flags(items).filter_map(|at| items[at].as_str()).filter(|text| !text.starts_with('$'))
}

/// A command's words in one line, as a shell would take them.
fn words(items: &[Value]) -> String {
    let words: Vec<&str> =
        items.iter().filter_map(Value::as_str).filter(|word| !word.contains(char::is_whitespace)).collect();
    words.join(" ")
}

/// Whether a command is one of MySQL's programs, which take a password right behind `-p`.
fn is_client(items: &[Value]) -> bool {
    items
        .iter()
        .filter_map(Value::as_str)
        .any(|word| ["mysql", "mariadb"].iter().any(|name| word.contains(name)))
}

fn hide_client_flag(item: &mut Value) {
    if let Value::String(word) = item
        && word.starts_with("-p")
        && word.len() > 2
        && !word.contains(char::is_whitespace)
    {
        *word = format!("-p{MASK}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hidden(object: &Value) -> Value {
        let mut redactor = Redactor::new("run-1");
        redactor.add_object(object.as_object().unwrap());
        let mut shown = object.clone();
        redactor.redact_object(&mut shown);
        assert!(!shown.to_string().contains("hush"), "{shown}");
        shown
    }

    #[test]
    fn of_a_secret_the_keys_stay() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "annotations": {"note": "it is hush-1"}},
            "data": {"password": "aHVzaC0x", "raw": "/////w=="}, "stringData": {"plain": "hush-2"}});
        let shown = hidden(&secret);
        assert_eq!(shown["data"], json!({"password": "***", "raw": "***"}));
        assert_eq!(shown["stringData"], json!({"plain": "***"}));
        assert_eq!(
            (&shown["metadata"]["name"], &shown["metadata"]["annotations"]["note"]),
            (&json!("db"), &json!("it is ***"))
        );
    }

    #[test]
    fn of_a_pod_what_is_called_like_a_secret_goes() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": "db-run-1",
                "annotations": {"testbed/connargs": "{\"passphrase\": \"hush-4\", \"charset\": \"hush\", \"ssl\": true}", "vendor/api-token": "hush-5"},
                "labels": {"said": "hush-4"},
            },
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "db", "image": "mysql:9.7",
                    "command": ["sh", "-c", "echo hush-1 && mysql -uroot -phush-6 -e 'SELECT 1'"],
                    "args": ["--password", "hush-7", "--token=hush-8", "-c", "port=3306"],
                    "readinessProbe": {"exec": {"command": ["mysqladmin", "ping", "-phush-9"]}},
                    "env": [
                        {"name": "MYSQL_ROOT_PASSWORD", "value": "hush-1"},
                        {"name": "MYSQL_ALLOW_EMPTY_PASSWORD", "value": "yes"},
                        {"name": "MYSQL_DATABASE", "value": "shop"},
                        {"name": "DATABASE_URL", "value": "mysql://app:hush-2@db/shop"},
                        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}},
                    ],
                }],
                "volumes": [{"name": "v", "secret": {"secretName": "db"}}],
            },
            "status": {"message": "hush-2 hush-6 hush-7 hush-8 hush-9"},
        });
        let shown = hidden(&pod);
        let container = &shown["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["--password", "***", "--token=***", "-c", "port=3306"]));
        assert_eq!(container["command"][2], "echo *** && mysql -uroot -p*** -e 'SELECT 1'");
        assert_eq!(container["readinessProbe"]["exec"]["command"], json!(["mysqladmin", "ping", "-p***"]));
        let values: Vec<&Value> =
            container["env"].as_array().unwrap().iter().map(|variable| &variable["value"]).collect();
        assert_eq!(
            values,
            [&json!("***"), &json!("yes"), &json!("shop"), &json!("mysql://app:***@db/shop"), &Value::Null]
        );
        assert_eq!(container["env"][4], pod["spec"]["containers"][0]["env"][4]);
        assert_eq!(shown["spec"]["volumes"], pod["spec"]["volumes"]);
        assert_eq!(shown["spec"]["automountServiceAccountToken"], false);
        assert_eq!(shown["status"]["message"], "*** *** *** *** ***");
        assert_eq!(shown["metadata"]["name"], "db-run-1");
        assert_eq!(
            shown["metadata"]["annotations"]["testbed/connargs"],
            "{\"passphrase\":\"***\",\"charset\":\"***\",\"ssl\":true}"
        );
    }

    #[test]
    fn of_a_config_map_what_its_texts_say_to_be_secret_goes() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {
            "init.sql": "CREATE USER a IDENTIFIED BY 'hush-1';\n-- as hush-1\nALTER ROLE b PASSWORD 'hush-2';\n",
            "app.yaml": "db:\n  user: root\n  password: hush-3 and more\n",
            "password": "hush-4", "pin-token": 12345,
            "key.pem": "-----BEGIN RSA PRIVATE KEY-----\nhush\n-----END RSA PRIVATE KEY-----\nafter\n",
        }, "binaryData": {"b": "aHVzaA=="}});
        let shown = hidden(&map);
        assert_eq!(
            shown["data"]["init.sql"],
            "CREATE USER a IDENTIFIED BY '***';\n-- as ***\nALTER ROLE b PASSWORD '***';\n"
        );
        assert_eq!(shown["data"]["app.yaml"], "db:\n  user: root\n  password: ***\n");
        assert_eq!(shown["data"]["key.pem"], "***\n***\n***\nafter\n");
        assert_eq!((&shown["data"]["password"], &shown["data"]["pin-token"]), (&json!("***"), &json!("***")));
        assert_eq!(shown["binaryData"]["b"], "***");
    }
}
