//! The format `urls`: a JSON object of the databases' URLs, by their names.

use serde_json::Map;

use super::Model;

/// The text of the file, in the databases' order. The names have to be unique.
pub(super) fn urls(model: &Model) -> anyhow::Result<String> {
    let urls = model.databases.iter().map(|connection| (connection.name.clone(), connection.url.as_str().into()));
    Ok(serde_json::to_string_pretty(&Map::from_iter(urls))? + "\n")
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed};
    use super::*;
    use crate::database::Engine;

    #[test]
    fn the_file_is_an_object_of_names_and_urls() {
        let expected = "{\n  \"sqlite\": \"sqlite::memory:\",\n  \"mysql\": \"mysql://striv:p%22w@mysql-run-1:3306/striv_test\"\n}\n";
        assert_eq!(urls(&mixed(&[&database(Engine::Mysql)])).unwrap(), expected);
    }
}
