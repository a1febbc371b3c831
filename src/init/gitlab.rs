//! The services of GitLab CI's jobs, whose variables are those of the job; `include` of local files, `extends`
//! and `default` are followed.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::dotenv::{Variables, interpolate};
use super::project::normal;
use super::service::{self, Role, Service};
use super::{Findings, Place, Purpose, Read, SERVICES, command, one_line, one_more};
use crate::database;
use crate::yaml::{Budget, Content, Entry, Node, Problem};

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
    let mut known: BTreeSet<Included> = [(file.to_owned(), Variables::new())].into();
    let mut next: VecDeque<Included> = VecDeque::new();
    let mut findings = pipeline(file, parse(file, text, &Variables::new())?, read, all, &mut next);
    while let Some((file, inputs)) = next.pop_front() {
        if known.len() > CHILDREN || !known.insert((file.clone(), inputs.clone())) {
            continue;
        }
        match read(&file).map(|text| parse(&file, &text, &inputs)) {
            Some(Ok(root)) => findings.add(pipeline(&file, root, read, all, &mut next)),
            Some(Err(error)) => findings.broken.push(format!("{error:#}")),
            None => findings
                .notes
                .push(format!("{}: a job starts it as a pipeline, and it was not read", one_line(&file))),
        }
    }
    Ok(findings)
}

/// A file of the project, and the inputs that it is included with.
type Included = (String, Variables);

/// One pipeline; the files of those that it starts are `children`.
fn pipeline(
    file: &str,
    root: Node,
    read: Read,
    all: &[String],
    children: &mut VecDeque<Included>,
) -> Findings {
    let mut findings = Findings::default();
    let jobs = Jobs::new(files(file, root, read, all, &mut findings));
    let mut global = Variables::new();
    // What a file includes, it may set anew.
    for job in jobs.all.iter().rev().filter(|job| job.name == "variables") {
        global.extend(jobs.read(&job.node));
    }
    let mut reading = Reading { jobs: &jobs, told: BTreeSet::new(), left: SERVICES, findings };
    let is_job = |job: &&Job| !KEYWORDS.contains(&job.name.as_str());
    let (hidden, shown): (Vec<&Job>, Vec<&Job>) =
        jobs.all.iter().filter(is_job).partition(|job| job.name.starts_with('.'));
    for job in jobs.all.iter().filter(|job| job.name == "services" || job.name == "default") {
        let services = if job.name == "services" { Some(&job.node) } else { job.node.get("services") };
        if let Some(services) = services {
            reading.take_default((job, services), &shown, &global);
        }
    }
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
        reading.take(owner, &format!("job {}", one_line(&job.name)), services, &jobs.ways(job, &global));
    }
    if jobs.left.get() == 0 {
        reading.findings.notes.push(format!("{file}: more jobs extend others than are followed"));
    }
    reading.findings
}

/// The entries of a file and of all that it includes.
fn files(file: &str, root: Node, read: Read, all: &[String], findings: &mut Findings) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut known: BTreeSet<Included> = [(file.to_owned(), Variables::new())].into();
    let mut next: VecDeque<(String, Node)> = [(file.to_owned(), root)].into();
    while let Some((file, root)) = next.pop_front() {
        for (path, inputs) in includes(&file, &root, all, findings) {
            if known.len() > FILES || !known.insert((path.clone(), inputs.clone())) {
                continue;
            }
            match read(&path).map(|text| parse(&path, &text, &inputs)) {
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

/// The content of a file; what stands before `---` says what it can be included with, and `given` are the inputs of
/// who includes it.
fn parse(file: &str, text: &str, given: &Variables) -> anyhow::Result<Node> {
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
    let value = |entry: &Entry| {
        let given = given.get(&entry.key).cloned();
        given.or_else(|| Some(entry.value.get("default")?.text()?.to_owned()))
    };
    let inputs: Variables = inputs
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), value(entry)?)))
        .collect();
    let mut root = root.merged();
    shift(&mut root, start, &inputs);
    Ok(root)
}

/// Counts lines from the file's beginning, and fills `$[[ inputs.NAME ]]`.
fn shift(node: &mut Node, lines: usize, inputs: &Variables) {
    node.line += lines;
    match &mut node.content {
        Content::Scalar { text, .. } if text.contains("$[[") && text.len() < 1 << 10 => {
            for (name, value) in inputs.iter().filter(|(_, value)| value.len() < 1 << 10).take(SERVICES) {
                *text = text.replace(&format!("$[[ inputs.{name} ]]"), value);
                *text = text.replace(&format!("$[[inputs.{name}]]"), value);
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

/// The files of the project that a file includes, and with which inputs; the others are told of.
fn includes(file: &str, root: &Node, all: &[String], findings: &mut Findings) -> Vec<Included> {
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
        let inputs = item.get("inputs").map(Node::entries).unwrap_or_default();
        let inputs: Variables = inputs
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned())))
            .collect();
        if local.contains('*') {
            // `**.yml` is at any depth.
            let parts = local.split('/').flat_map(|part| match part.strip_prefix("**") {
                Some(rest) if !rest.is_empty() => ["**".to_owned(), format!("*{rest}")].to_vec(),
                _ => vec![part.to_owned()],
            });
            let parts: Vec<String> = parts.collect();
            let pattern: Vec<&str> = parts.iter().map(String::as_str).collect();
            let found = all.iter().filter(|path| is_like(&path.split('/').collect::<Vec<_>>(), &pattern));
            paths.extend(found.map(|path| (path.clone(), inputs.clone())));
        } else {
            match normal(local) {
                Some(path) => paths.push((path, inputs)),
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
        all.extend(job.node.get("variables").map(|node| self.read(node)).unwrap_or_default());
    }

    /// A job's variables, for each combination of its matrix.
    fn ways(&self, job: &Job, global: &Variables) -> Vec<Variables> {
        let mut own = if inherits(job, "variables") { global.clone() } else { Variables::new() };
        self.variables(job, DEPTH, &mut own);
        let parallel = self.lookup(job, "parallel", DEPTH).map(|(_, node)| node);
        let matrix = parallel.and_then(|parallel| parallel.get("matrix")).map(|matrix| self.follow(matrix));
        let mut ways = Vec::new();
        for item in matrix.map(Node::items).unwrap_or_default() {
            let mut combined = vec![own.clone()];
            for entry in self.follow(item).entries() {
                let value = self.follow(&entry.value);
                let values =
                    if value.items().is_empty() { std::slice::from_ref(value) } else { value.items() };
                let with = |known: &Variables, value: &str| {
                    let mut known = known.clone();
                    known.insert(entry.key.clone(), value.to_owned());
                    known
                };
                let all = combined
                    .iter()
                    .flat_map(|known| values.iter().filter_map(Node::text).map(move |value| (known, value)));
                combined = all.take(COMBINATIONS).map(|(known, value)| with(known, value)).collect();
            }
            ways.extend(combined);
            ways.truncate(COMBINATIONS);
        }
        if ways.is_empty() { vec![own] } else { ways }
    }

    /// The image of a service as it was typed.
    fn typed<'n>(&'n self, item: &'n Node) -> Option<&'n str> {
        item.text().or_else(|| self.follow(item.get("name")?).text())
    }

    fn name<'n>(&'n self, item: &'n Node) -> &'n str {
        let alias = item.get("alias").and_then(|alias| self.follow(alias).text());
        alias.and_then(|alias| alias.split([',', ' ']).next()).unwrap_or_default()
    }

    /// What `!reference [job, key, ...]` stands for, or the value itself.
    fn follow<'a>(&'a self, node: &'a Node) -> &'a Node {
        let mut node = node;
        for _ in 0..DEPTH {
            if node.tag.as_deref() != Some("reference") {
                break;
            }
            match self.referenced(node) {
                Some((_, other)) => node = other,
                None => break,
            }
        }
        node
    }

    fn referenced<'a>(&'a self, node: &'a Node) -> Option<(&'a Job, &'a Node)> {
        let keys: Vec<&str> = node.items().iter().filter_map(Node::text).collect();
        let (job, keys) = keys.split_first()?;
        let job = self.named(job)?;
        let node = keys.iter().try_fold(&job.node, |node, key| node.get(key))?;
        Some((job, node))
    }

    /// The variables that a mapping sets.
    fn read(&self, node: &Node) -> Variables {
        let text = |value: &Node| {
            let value = self.follow(value);
            value.text().or_else(|| self.follow(value.get("value")?).text()).map(ToOwned::to_owned)
        };
        self.follow(node)
            .entries()
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), text(&entry.value)?)))
            .take(VARIABLES)
            .collect()
    }

    /// The items of a list, with those that `!reference [job, services]` stands for.
    fn items<'a>(&'a self, owner: &'a Job, list: &'a Node, depth: usize, all: &mut Vec<(&'a Job, &'a Node)>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        if list.tag.as_deref() == Some("reference") {
            match self.referenced(list) {
                Some((job, node)) if matches!(node.content, Content::List(_)) => {
                    self.items(job, node, depth, all);
                }
                Some(one) => all.push(one),
                None => {}
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

/// Whether a job has what is set for all jobs: `default` or `variables`.
fn inherits(job: &Job, what: &str) -> bool {
    let told = job.node.get("inherit").and_then(|inherit| inherit.get(what)).and_then(Node::text);
    told != Some("false")
}

/// How many combinations of a matrix are looked at.
const COMBINATIONS: usize = 100;

/// What is known of a service: its image, and its variables.
type Known = (Option<String>, Vec<(String, Option<String>)>);

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

    /// Takes in the services that all jobs have which name none: once for those whose variables make no difference, and
    /// for the others with theirs.
    fn take_default(&mut self, (owner, services): (&Job, &Node), shown: &[&Job], global: &Variables) {
        let of_all = std::slice::from_ref(global);
        let plain = self.known(owner, services, of_all);
        let (mut known, mut others) = (vec![plain], Vec::new());
        let has_it = |job: &&&Job| {
            inherits(job, "default")
                && job.node.get("trigger").is_none()
                && self.jobs.lookup(job, "services", DEPTH).is_none()
        };
        let having: Vec<_> = shown.iter().filter(has_it).take(SERVICES).collect();
        let mut is_plain = having.is_empty();
        for job in having {
            let ways = self.jobs.ways(job, global);
            let own = self.known(owner, services, &ways);
            is_plain |= own == known[0];
            if !known.contains(&own) {
                known.push(own);
                others.push((format!("job {}", one_line(&job.name)), ways));
            }
        }
        // Where some jobs say more of it, those that say nothing do not use it.
        let says = known[0].iter().any(|(_, variables)| !variables.is_empty());
        if is_plain && (others.is_empty() || says) {
            self.take(owner, "all jobs", services, of_all);
        }
        for (label, ways) in others {
            self.take(owner, &label, services, &ways);
        }
    }

    /// What is known of the services of a list.
    fn known(&self, owner: &Job, services: &Node, ways: &[Variables]) -> Vec<Known> {
        let mut items = Vec::new();
        self.jobs.items(owner, services, DEPTH, &mut items);
        let all = items.iter().flat_map(|(_, item)| ways.iter().map(move |variables| (item, variables)));
        let known = all.filter_map(|(item, variables)| {
            let image = image(self.jobs.typed(item)?, variables);
            let settings = image.as_deref().map(|image| self.settings(item, image, variables));
            Some((image, settings.unwrap_or_default()))
        });
        known.collect()
    }

    /// Takes in the services of a job, or of all; `ways` are its variables for each combination of its matrix.
    fn take(&mut self, owner: &Job, label: &str, services: &Node, ways: &[Variables]) {
        let followed = self.jobs.follow(services);
        if !matches!(followed.content, Content::List(_) | Content::Empty) {
            let (file, line, kind) = (&owner.file, services.line, followed.kind());
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
            self.service(&owner.file, label, item, ways);
        }
    }

    /// The variables of a service that tell something about it.
    fn settings(&self, item: &Node, image: &str, variables: &Variables) -> Vec<(String, Option<String>)> {
        let own = item.get("variables").map(|node| self.jobs.read(node)).unwrap_or_default();
        let mut all = variables.clone();
        all.extend(own.clone());
        // The job's variables reach all of its services: they do not make a database of any.
        let is_meant = service::sounds_like(image) || service::sounds_like(self.jobs.name(item));
        let read = if is_meant || database::of_image(image, &[]).is_some() { all.clone() } else { own };
        service::relevant(read).map(|(name, value)| (name, fill(&value, &all))).collect()
    }

    fn service(&mut self, file: &str, label: &str, item: &Node, ways: &[Variables]) {
        let jobs = self.jobs;
        let Some(typed) = jobs.typed(item) else { return };
        let place = |image: &str| format!("{file}:{}: {label}, service {}", item.line, one_line(image));
        let mut images: Vec<(String, &Variables)> = Vec::new();
        for variables in ways {
            let Some(image) = image(typed, variables) else { continue };
            // Of one image the last combination, as one of them has to be taken.
            match images.iter_mut().find(|(known, _)| *known == image) {
                Some((_, known)) => *known = variables,
                None => images.push((image, variables)),
            }
        }
        let Some((image, variables)) = service::preferred(&images) else {
            self.findings.left.push(format!("{}: the value of its image is not known here", place(typed)));
            return;
        };
        let words = |key: &str| match item.get(key).map(|node| self.jobs.follow(node)) {
            Some(node) if node.items().is_empty() => node.text().map(command::words).unwrap_or_default(),
            Some(node) => node.items().iter().filter_map(Node::text).map(str::to_owned).collect(),
            None => Vec::new(),
        };
        let service = Service {
            name: self.jobs.name(item),
            image,
            variables: self.settings(item, image, variables),
            entrypoint: words("entrypoint"),
            command: words("command"),
            role: Role::Unknown,
            purpose: Purpose::Tests,
            place: Place { group: format!("{file} {label}"), text: place(image) },
        };
        if service::take(service, &mut self.findings) {
            service::tell_others(&place(typed), "the matrix", image, &images, &mut self.findings);
        }
    }
}

/// A service's image, variables filled in.
fn image(typed: &str, variables: &Variables) -> Option<String> {
    if !typed.contains('$') {
        return Some(typed.to_owned());
    }
    let mut variables = variables.clone();
    for proxy in PROXIES {
        variables.entry(proxy.to_owned()).or_insert_with(|| "docker.io".to_owned());
    }
    fill(typed, &variables)
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
    more.filter(|text| !text.split('$').skip(1).any(starts) && !text.contains("$[["))
}

/// How deep variables may stand in the values of variables.
const NESTED: usize = 10;

/// How many variables are taken from one place: each service has a copy.
const VARIABLES: usize = 1000;

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
