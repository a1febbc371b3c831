//! The services of GitLab CI's jobs, whose variables are those of the job; `include` of local files, `extends`
//! and `default` are followed.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::dotenv::{Variables, interpolate};
use super::project::normal;
use super::service::{self, Role, Service};
use super::{Findings, Place, Purpose, Read, SERVICES, command, one_line, one_more};
use crate::database;
use crate::yaml::{Budget, Content, Node, Problem};

/// How many files may be included; GitLab itself takes 150.
const FILES: usize = 150;
/// How many pipelines may be started by others.
const CHILDREN: usize = 20;
/// How many jobs may extend one after the other; GitLab itself takes 11.
const DEPTH: usize = 11;

/// How often jobs are followed to what they extend, in all.
const FOLLOWED: usize = 100_000;

/// A top-level entry of one of the files.
struct Job {
    file: String,
    name: String,
    node: Node,
}

/// Reads the file and what it includes from the project, whose files are `all`; then the pipelines that its
/// jobs start with files of the project.
///
/// # Errors
/// The line that is no YAML.
pub fn read(file: &str, text: &str, read: Read, all: &[String]) -> anyhow::Result<Findings> {
    let mut known: BTreeSet<String> = [file.to_owned()].into();
    let mut next: VecDeque<String> = VecDeque::new();
    let mut findings = pipeline(file, parse(file, text)?, read, all, &mut next);
    while let Some(file) = next.pop_front() {
        if known.len() > CHILDREN || !known.insert(file.clone()) {
            continue;
        }
        match read(&file).map(|text| parse(&file, &text)) {
            Some(Ok(root)) => findings.add(pipeline(&file, root, read, all, &mut next)),
            Some(Err(error)) => findings.broken.push(format!("{error:#}")),
            None => findings
                .notes
                .push(format!("{}: a job starts it as a pipeline, and it was not read", one_line(&file))),
        }
    }
    Ok(findings)
}

/// One pipeline; the files of those that it starts are `children`.
fn pipeline(file: &str, root: Node, read: Read, all: &[String], children: &mut VecDeque<String>) -> Findings {
    let mut findings = Findings::default();
    let jobs = Jobs::new(files(file, root, read, all, &mut findings));
    let mut global = Variables::new();
    // What a file includes, it may set anew.
    for job in jobs.all.iter().rev().filter(|job| job.name == "variables") {
        global.extend(variables(&job.node));
    }
    let mut reading = Reading { jobs: &jobs, told: BTreeSet::new(), left: SERVICES, findings };
    for job in jobs.all.iter().filter(|job| job.name == "services" || job.name == "default") {
        let services = if job.name == "services" { Some(&job.node) } else { job.node.get("services") };
        if let Some(services) = services {
            reading.take(job, "all jobs", services, &global);
        }
    }
    let is_job = |job: &&Job| !KEYWORDS.contains(&job.name.as_str());
    let (hidden, shown): (Vec<&Job>, Vec<&Job>) =
        jobs.all.iter().filter(is_job).partition(|job| job.name.starts_with('.'));
    for job in &shown {
        if let Some(trigger) = job.node.get("trigger") {
            children.extend(includes(&job.file, trigger, all, &mut reading.findings));
        }
    }
    for job in shown.into_iter().chain(hidden) {
        if reading.left == 0 {
            one_more(&mut reading.left, file, &mut reading.findings);
            break;
        }
        let Some((owner, services)) = jobs.lookup(job, "services", DEPTH) else { continue };
        // Those of a template are told of as those of the jobs that have them.
        if job.name.starts_with('.') && reading.has_told(owner, services) {
            continue;
        }
        let mut own = global.clone();
        jobs.variables(job, DEPTH, &mut own);
        reading.take(owner, &format!("job {}", one_line(&job.name)), services, &own);
    }
    if jobs.left.get() == 0 {
        reading.findings.notes.push(format!("{file}: more jobs extend others than are followed"));
    }
    reading.findings
}

/// The entries of a file and of all that it includes.
fn files(file: &str, root: Node, read: Read, all: &[String], findings: &mut Findings) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut known: BTreeSet<String> = [file.to_owned()].into();
    let mut next: VecDeque<(String, Node)> = [(file.to_owned(), root)].into();
    while let Some((file, root)) = next.pop_front() {
        for path in includes(&file, &root, all, findings) {
            if known.len() > FILES || !known.insert(path.clone()) {
                continue;
            }
            match read(&path).map(|text| parse(&path, &text)) {
                Some(Ok(root)) => next.push_back((path, root)),
                Some(Err(error)) => findings.broken.push(format!("{error:#}")),
                None => findings.notes.push(format!("{file}: the included {} was not read", one_line(&path))),
            }
        }
        if let Content::Map(entries) = root.content {
            for entry in entries {
                jobs.push(Job { file: file.clone(), name: entry.key, node: entry.value });
            }
        }
    }
    jobs
}

/// Top-level keys that are no jobs.
const KEYWORDS: [&str; 12] = [
    "variables",
    "services",
    "default",
    "include",
    "stages",
    "workflow",
    "image",
    "cache",
    "before_script",
    "after_script",
    "spec",
    "types",
];

/// The content of a file; what stands before `---` says what it can be included with.
fn parse(file: &str, text: &str) -> anyhow::Result<Node> {
    let mut budget = Budget::default();
    let marker = text.match_indices("\n---").map(|(index, _)| index + 1).next();
    let header = marker.filter(|marker| text[..*marker].lines().any(|line| line.starts_with("spec:")));
    let (start, body) =
        header.map_or((0, text), |marker| (text[..marker].matches('\n').count(), &text[marker..]));
    let inputs = header.map(|marker| Node::read(&text[..marker], &mut budget)).transpose();
    let root = inputs.and_then(|inputs| Ok((inputs, Node::read(body, &mut budget)?)));
    let (inputs, root) =
        root.map_err(|Problem { line, wrong }| anyhow::anyhow!("{file}:{}: {wrong}", line + start))?;
    let inputs = inputs.as_ref().and_then(|spec| spec.get("spec")?.get("inputs"));
    let defaults: Variables = inputs
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), entry.value.get("default")?.text()?.to_owned())))
        .collect();
    let mut root = root.merged();
    shift(&mut root, start, &defaults);
    Ok(root)
}

/// Counts lines from the file's beginning, and fills `$[[ inputs.NAME ]]`.
fn shift(node: &mut Node, lines: usize, inputs: &Variables) {
    node.line += lines;
    match &mut node.content {
        Content::Scalar { text, .. } if text.contains("$[[") && text.len() < 1 << 10 => {
            for (name, value) in inputs.iter().filter(|(_, value)| value.len() < 1 << 10).take(SERVICES) {
                *text = text.replace(&format!("$[[ inputs.{name} ]]"), value);
            }
        }
        Content::List(items) => items.iter_mut().for_each(|item| shift(item, lines, inputs)),
        Content::Map(entries) => {
            for entry in entries {
                entry.line += lines;
                shift(&mut entry.value, lines, inputs);
            }
        }
        _ => {}
    }
}

/// The files of the project that a file includes; the others are told of.
fn includes(file: &str, root: &Node, all: &[String], findings: &mut Findings) -> Vec<String> {
    let Some(include) = root.get("include") else { return Vec::new() };
    let items = if include.items().is_empty() { std::slice::from_ref(include) } else { include.items() };
    let mut paths = Vec::new();
    for item in items {
        let local = item.text().filter(|text| !text.contains("://")).or_else(|| item.get("local")?.text());
        let Some(local) = local else {
            let other =
                item.entries().iter().find_map(|entry| Some((entry.key.as_str(), entry.value.text()?)));
            let (kind, name) = other.unwrap_or(("remote", item.text().unwrap_or_default()));
            findings.notes.push(format!(
                "{file}:{}: include: {} {} is not in the project; it was not read",
                item.line,
                one_line(kind),
                one_line(name)
            ));
            continue;
        };
        let local = local.trim_start_matches('/');
        if local.contains('*') {
            // `**.yml` is at any depth.
            let parts = local.split('/').flat_map(|part| match part.strip_prefix("**") {
                Some(rest) if !rest.is_empty() => ["**".to_owned(), format!("*{rest}")].to_vec(),
                _ => vec![part.to_owned()],
            });
            let parts: Vec<String> = parts.collect();
            let pattern: Vec<&str> = parts.iter().map(String::as_str).collect();
            paths.extend(
                all.iter().filter(|path| is_like(&path.split('/').collect::<Vec<_>>(), &pattern)).cloned(),
            );
        } else {
            match normal(local) {
                Some(path) => paths.push(path),
                None => findings.notes.push(format!(
                    "{file}:{}: include: local {} is not in the project; it was not read",
                    item.line,
                    one_line(local)
                )),
            }
        }
    }
    paths
}

/// Whether a path is like a pattern with `*` within its parts, and `**` for any folders.
fn is_like(path: &[&str], pattern: &[&str]) -> bool {
    // Each part either fits or does not: one row tells for which rests of the path the rest of the pattern fits.
    let mut fits = vec![false; path.len() + 1];
    fits[path.len()] = true;
    for part in pattern.iter().rev() {
        let mut now = vec![false; path.len() + 1];
        for index in (0..=path.len()).rev() {
            now[index] = if *part == "**" {
                fits[index] || (index < path.len() && now[index + 1])
            } else {
                index < path.len() && fits[index + 1] && is_part_like(path[index], part)
            };
        }
        fits = now;
    }
    fits[0]
}

fn is_part_like(name: &str, pattern: &str) -> bool {
    let mut rest = name;
    let pieces: Vec<&str> = pattern.split('*').collect();
    let Some((last, middle)) = pieces.split_last() else { return name == pattern };
    let Some((first, middle)) = middle.split_first() else { return name == pattern };
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

struct Jobs {
    all: Vec<Job>,
    by_name: HashMap<String, usize>,
    /// How often a job may still be followed to others: each of a chain may name several.
    left: Cell<usize>,
}

impl Jobs {
    /// The first of a name is the one of the including file.
    fn new(all: Vec<Job>) -> Self {
        let mut by_name = HashMap::new();
        for (index, job) in all.iter().enumerate() {
            by_name.entry(job.name.clone()).or_insert(index);
        }
        Self { all, by_name, left: Cell::new(FOLLOWED) }
    }

    fn named(&self, name: &str) -> Option<&Job> {
        self.left.set(self.left.get().checked_sub(1)?);
        self.all.get(*self.by_name.get(name)?)
    }

    /// What a job extends, the strongest last.
    fn extended(&self, job: &Job) -> Vec<&Job> {
        let extends = job.node.get("extends");
        let names = extends
            .map(|node| if node.items().is_empty() { std::slice::from_ref(node) } else { node.items() })
            .unwrap_or_default();
        names.iter().filter_map(Node::text).filter_map(|name| self.named(name)).take(FILES).collect()
    }

    /// A key of a job, or of what it extends, with the job that has it.
    fn lookup<'a>(&'a self, job: &'a Job, key: &str, depth: usize) -> Option<(&'a Job, &'a Node)> {
        if let Some(node) = job.node.get(key) {
            return Some((job, node));
        }
        let depth = depth.checked_sub(1)?;
        self.extended(job).into_iter().rev().find_map(|base| self.lookup(base, key, depth))
    }

    /// The variables of what a job extends, then its own.
    fn variables(&self, job: &Job, depth: usize, all: &mut Variables) {
        if let Some(depth) = depth.checked_sub(1) {
            self.extended(job).into_iter().for_each(|base| self.variables(base, depth, all));
        }
        all.extend(job.node.get("variables").map(variables).unwrap_or_default());
        // Of a matrix the last combination, as one of them has to be taken.
        let matrix = job.node.get("parallel").and_then(|parallel| parallel.get("matrix"));
        if let Some(last) = matrix.and_then(|matrix| matrix.items().last()) {
            for entry in last.entries() {
                let value = entry.value.items().last().unwrap_or(&entry.value);
                if let Some(text) = value.text() {
                    all.insert(entry.key.clone(), text.to_owned());
                }
            }
        }
    }

    /// The items of a list, with those that `!reference [job, services]` stands for.
    fn items<'a>(&'a self, owner: &'a Job, list: &'a Node, depth: usize, all: &mut Vec<(&'a Job, &'a Node)>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let reference = |node: &'a Node| -> Option<(&'a Job, &'a Node)> {
            let keys: Vec<&str> = node.items().iter().filter_map(Node::text).collect();
            let (job, keys) = keys.split_first()?;
            let job = self.named(job)?;
            let node = keys.iter().try_fold(&job.node, |node, key| node.get(key))?;
            Some((job, node))
        };
        if list.tag.as_deref() == Some("reference") {
            if let Some((job, node)) = reference(list) {
                self.items(job, node, depth, all);
            }
            return;
        }
        for item in list.items() {
            if all.len() > SERVICES {
                return;
            }
            if item.tag.as_deref() == Some("reference") || matches!(item.content, Content::List(_)) {
                self.items(owner, item, depth, all);
            } else {
                all.push((owner, item));
            }
        }
    }
}

/// What was read so far.
struct Reading<'a> {
    jobs: &'a Jobs,
    /// The services that some job has, by file and line.
    told: BTreeSet<(String, usize)>,
    left: usize,
    findings: Findings,
}

impl Reading<'_> {
    /// Whether all services of a list were told of.
    fn has_told(&self, owner: &Job, services: &Node) -> bool {
        let mut items = Vec::new();
        self.jobs.items(owner, services, DEPTH, &mut items);
        items.iter().all(|(owner, item)| self.told.contains(&(owner.file.clone(), item.line)))
    }

    /// Takes in the services of a job, or of all.
    fn take(&mut self, owner: &Job, label: &str, services: &Node, variables: &Variables) {
        if !matches!(services.content, Content::List(_) | Content::Empty) {
            let (file, line, kind) = (&owner.file, services.line, services.kind());
            let wrong = format!("{file}:{line}: {label}: services is {kind}; GitLab takes a list");
            self.findings.broken.push(wrong);
        }
        let mut items = Vec::new();
        self.jobs.items(owner, services, DEPTH, &mut items);
        for (owner, item) in items {
            if !one_more(&mut self.left, &owner.file, &mut self.findings) {
                return;
            }
            self.told.insert((owner.file.clone(), item.line));
            self.service(&owner.file, label, item, variables);
        }
    }

    fn service(&mut self, file: &str, label: &str, item: &Node, variables: &Variables) {
        let Some(typed) = item.text().or_else(|| item.get("name")?.text()) else { return };
        let place = |image: &str| format!("{file}:{}: {label}, service {}", item.line, one_line(image));
        let mut of_images = variables.clone();
        for proxy in PROXIES {
            of_images.entry(proxy.to_owned()).or_insert_with(|| "docker.io".to_owned());
        }
        let Some(image) = fill(typed, &of_images) else {
            self.findings.left.push(format!("{}: the value of its image is not known here", place(typed)));
            return;
        };
        let alias = item.get("alias").and_then(Node::text).and_then(|alias| alias.split([',', ' ']).next());
        let name = alias.unwrap_or_default();
        let own = item.get("variables").map(self::variables).unwrap_or_default();
        let mut all = variables.clone();
        all.extend(own.clone());
        // The job's variables reach all of its services: they do not make a database of any.
        let is_meant = service::sounds_like(&image) || service::sounds_like(name);
        let read = if is_meant || database::of_image(&image, &[]).is_some() { all.clone() } else { own };
        let filled = service::relevant(read).map(|(name, value)| (name, fill(&value, &all))).collect();
        let words = |key: &str| match item.get(key) {
            Some(node) if node.items().is_empty() => node.text().map(command::words).unwrap_or_default(),
            Some(node) => node.items().iter().filter_map(Node::text).map(str::to_owned).collect(),
            None => Vec::new(),
        };
        let service = Service {
            name,
            image: &image,
            variables: filled,
            entrypoint: words("entrypoint"),
            command: words("command"),
            role: Role::Unknown,
            purpose: Purpose::Tests,
            place: Place { group: format!("{file} {label}"), text: place(&image) },
        };
        service::take(service, &mut self.findings);
    }
}

/// What GitLab itself sets, and puts before the names of Docker Hub's images.
const PROXIES: [&str; 2] =
    ["CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX", "CI_DEPENDENCY_PROXY_DIRECT_GROUP_IMAGE_PREFIX"];

/// Fills in variables, and those in their values.
fn fill(text: &str, variables: &Variables) -> Option<String> {
    let once = interpolate(text, variables)?;
    // A `$$` is a dollar then, and no variable.
    if text.contains("$$") {
        return Some(once);
    }
    let more = (1..NESTED).try_fold(once, |text, _| match text.contains('$') {
        true => interpolate(&text, variables),
        false => Some(text),
    });
    let starts = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '{');
    // What still stands for something else goes round in a circle.
    more.filter(|text| !text.split('$').skip(1).any(starts))
}

/// How deep variables may stand in the values of variables.
const NESTED: usize = 10;

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
        let Findings { found, notes, .. } =
            read("g.yml", &format!("variables:\n{variables}{jobs}"), &|_| None, &[]).unwrap();
        let took = crate::deadline::worked() - began;
        assert_eq!((found.len(), notes.len()), (super::super::SERVICES, 1));
        assert!(notes[0].contains("more than 200 services") && took.as_secs() < 5, "{took:?}");
    }

    #[test]
    fn patterns_of_files() {
        for (path, pattern, expected) in [
            ("ci/a.yml", "ci/*.yml", true),
            ("ci/b/a.yml", "ci/*.yml", false),
            ("ci/b/a.yml", "ci/**/*.yml", true),
            ("ci/a.yml", "ci/**/*.yml", true),
            ("ci/a.yaml", "ci/*.yml", false),
            ("ci/test-db.yml", "ci/test*.yml", true),
        ] {
            let parts = |text: &'static str| text.split('/').collect::<Vec<_>>();
            assert_eq!(is_like(&parts(path), &parts(pattern)), expected, "{path} {pattern}");
        }
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
        let found = read("g.yml", text, &|_| None, &[]).unwrap().found;
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.name.as_str(), found.tag.as_deref(), found.database.as_deref()))
            .collect();
        assert_eq!(shown, [("postgres", Some("16"), Some("shop")), ("orders", Some("8.4"), None)]);
        assert_eq!(found[1].places[0].text, "g.yml:5: job test, service mysql:8.4");
    }
}
