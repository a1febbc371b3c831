//! The service containers of a GitHub workflow's jobs.

use super::service::{self, Service};
use super::{Findings, Place, SERVICES, one_line, one_more};
use crate::yaml::Node;

pub fn read(file: &str, text: &str) -> anyhow::Result<Findings> {
    let root = Node::parse(file, text)?.merged();
    let mut findings = Findings::default();
    let mut left = SERVICES;
    for job in root.get("jobs").map(Node::entries).unwrap_or_default() {
        for entry in job.value.get("services").map(Node::entries).unwrap_or_default() {
            if !one_more(&mut left, file, &mut findings) {
                return Ok(findings);
            }
            let place = format!(
                "{file}:{}: job {}, service {}",
                entry.line,
                one_line(&job.key),
                one_line(&entry.key)
            );
            let Some(typed) = entry.value.text().or_else(|| entry.value.get("image")?.text()) else {
                continue;
            };
            let Some(image) = fill(typed, &job.value) else { continue };
            let variables = entry.value.get("env").map(Node::entries).unwrap_or_default();
            let variables =
                service::relevant(variables.iter().map(|entry| (entry.key.clone(), entry.value.text())));
            let variables =
                variables.map(|(name, text)| (name, text.and_then(|text| fill(text, &job.value)))).collect();
            let group = format!("{file} {}", job.key);
            let service = Service {
                name: &entry.key,
                image: &image,
                variables,
                place: Place { group, text: place.clone() },
            };
            if service::take(service, &mut findings) && typed.contains("matrix.") {
                findings.notes.push(format!(
                    "{place}: of the matrix, {} is taken; --with takes another one",
                    one_line(&image)
                ));
            }
        }
    }
    Ok(findings)
}

/// How long a text may be once the matrix is filled in, in bytes.
const MOST: usize = 4 << 10;

/// Fills `${{ matrix.NAME }}` with the last value of the matrix; `None` for any other expression.
fn fill(text: &str, job: &Node) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}")?;
        let values = job.get("strategy")?.get("matrix")?.get(expression.trim().strip_prefix("matrix.")?)?;
        filled = filled + before + values.items().last()?.text()?;
        if filled.len() > MOST {
            return None;
        }
        rest = after;
    }
    Some(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_containers_are_found() {
        let text = "\
on: push
jobs:
  test:
    strategy: {matrix: {pg: [15, 16]}}
    services:
      postgres:
        image: postgres:${{ matrix.pg }}
        env: {POSTGRES_PASSWORD: '${{ secrets.PW }}', POSTGRES_DB: shop}
      cache: {image: redis}
      other: {image: '${{ env.IMAGE }}'}
  lint: {steps: []}
";
        let Findings { found, notes } = read("w.yml", text).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].tag.as_deref(), found[0].database.as_deref(), found[0].has_password),
            (Some("16"), Some("shop"), false)
        );
        assert_eq!(found[0].places[0].text, "w.yml:6: job test, service postgres");
        assert_eq!(
            notes,
            [
                "w.yml:6: job test, service postgres: of the matrix, postgres:16 is taken; --with takes another one"
            ]
        );
    }
}
