//! The services of GitLab CI's jobs, whose variables are those of the job.

use super::dotenv::{Variables, interpolate};
use super::service::{self, Service};
use super::{Findings, Place, one_line};
use crate::yaml::Node;

/// Reads a `.gitlab-ci.yml`.
///
/// # Errors
/// `file:line: ` and what is wrong with the YAML.
pub fn read(file: &str, text: &str) -> anyhow::Result<Findings> {
    let root = Node::parse(file, text)?.merged();
    let mut findings = Findings::default();
    let global = root.get("variables").map(variables).unwrap_or_default();
    services(file, "all jobs", &root, &global, &mut findings);
    for job in root.entries() {
        let mut all = global.clone();
        all.extend(job.value.get("variables").map(variables).unwrap_or_default());
        services(file, &format!("job {}", one_line(&job.key)), &job.value, &all, &mut findings);
    }
    Ok(findings)
}

fn services(file: &str, job: &str, node: &Node, variables: &Variables, findings: &mut Findings) {
    for item in node.get("services").map(Node::items).unwrap_or_default() {
        let Some(image) = item.text().or_else(|| item.get("name")?.text()).and_then(|image| interpolate(image, variables)) else {
            continue;
        };
        let mut all = variables.clone();
        all.extend(item.get("variables").map(self::variables).unwrap_or_default());
        let filled = all.iter().map(|(name, value)| (name.clone(), interpolate(value, &all))).collect();
        let alias = item.get("alias").and_then(Node::text).unwrap_or_default();
        let place = Place { group: format!("{file} {job}"), text: format!("{file}:{}: {job}, service {}", item.line, one_line(&image)) };
        service::take(Service { name: alias, image: &image, variables: filled, place }, findings);
    }
}

fn variables(node: &Node) -> Variables {
    let text = |value: &Node| value.text().or_else(|| value.get("value")?.text()).map(ToOwned::to_owned);
    node.entries().iter().filter_map(|entry| Some((entry.key.clone(), text(&entry.value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let shown: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.tag.as_deref(), found.database.as_deref())).collect();
        assert_eq!(shown, [("postgres", Some("16"), Some("shop")), ("orders", Some("8.4"), None)]);
        assert_eq!(found[1].places[0].text, "g.yml:5: job test, service mysql:8.4");
    }
}
