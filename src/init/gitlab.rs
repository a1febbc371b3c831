//! The services of GitLab CI's jobs, whose variables are those of the job.

use super::dotenv::{Variables, interpolate};
use super::service::{self, Service};
use super::{Findings, Place, SERVICES, one_line, one_more};
use crate::yaml::Node;

pub fn read(file: &str, text: &str) -> anyhow::Result<Findings> {
    let root = Node::parse(file, text)?.merged();
    let mut findings = Findings::default();
    let global = root.get("variables").map(variables).unwrap_or_default();
    let mut left = SERVICES;
    services(file, "all jobs", &root, &global, &mut left, &mut findings);
    for job in root.entries().iter().filter(|job| job.value.get("services").is_some()) {
        let mut all = global.clone();
        all.extend(job.value.get("variables").map(variables).unwrap_or_default());
        services(file, &format!("job {}", one_line(&job.key)), &job.value, &all, &mut left, &mut findings);
    }
    Ok(findings)
}

fn services(
    file: &str,
    job: &str,
    node: &Node,
    variables: &Variables,
    left: &mut usize,
    findings: &mut Findings,
) {
    for item in node.get("services").map(Node::items).unwrap_or_default() {
        if !one_more(left, file, findings) {
            return;
        }
        let Some(image) =
            item.text().or_else(|| item.get("name")?.text()).and_then(|image| interpolate(image, variables))
        else {
            continue;
        };
        let mut all = variables.clone();
        all.extend(item.get("variables").map(self::variables).unwrap_or_default());
        let filled =
            service::relevant(all.clone()).map(|(name, value)| (name, interpolate(&value, &all))).collect();
        let alias = item.get("alias").and_then(Node::text).unwrap_or_default();
        let place = Place {
            group: format!("{file} {job}"),
            text: format!("{file}:{}: {job}, service {}", item.line, one_line(&image)),
        };
        service::take(Service { name: alias, image: &image, variables: filled, place }, findings);
    }
}

/// How many variables are taken from one place: each service has a copy.
const VARIABLES: usize = 1000;

fn variables(node: &Node) -> Variables {
    let text = |value: &Node| value.text().or_else(|| value.get("value")?.text()).map(ToOwned::to_owned);
    node.entries()
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), text(&entry.value)?)))
        .take(VARIABLES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_for_many_jobs_end_in_a_moment() {
        let variables: String = (0..20_000).map(|n| format!("  POSTGRES_{n}: $POSTGRES_{n}\n")).collect();
        let jobs: String = (0..2000).map(|n| format!("job{n}: {{services: [postgres]}}\n")).collect();
        let began = crate::deadline::worked();
        let Findings { found, notes } = read("g.yml", &format!("variables:\n{variables}{jobs}")).unwrap();
        let took = crate::deadline::worked() - began;
        assert_eq!((found.len(), notes.len()), (super::super::SERVICES, 1));
        assert!(notes[0].contains("more than 200 services") && took.as_secs() < 5, "{took:?}");
    }

    #[test]
    fn services_of_jobs_are_found() {
        let text = "\
variables: {POSTGRES_DB: shop, POSTGRES_PASSWORD: hush, TAG: '16'}
test:
  services:
    - postgres:$TAG
    - {name: mysql:8.4, alias: orders, variables: {MYSQL_ROOT_PASSWORD: hush}}
    - redis
";
        let found = read("g.yml", text).unwrap().found;
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.name.as_str(), found.tag.as_deref(), found.database.as_deref()))
            .collect();
        assert_eq!(shown, [("postgres", Some("16"), Some("shop")), ("orders", Some("8.4"), None)]);
        assert_eq!(found[1].places[0].text, "g.yml:5: job test, service mysql:8.4");
    }
}
