//! What a person reads when something can never become ready: one line that names it, a closer view, and what
//! to do next. It fits one report, and no secret that is known of it is on it.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::database::Discovery;
use crate::redact::Redactor;
use crate::runtime::kubernetes::Cluster;
use crate::runtime::kubernetes::diagnose::Log;
use crate::runtime::kubernetes::diagnose::run::Finding;
use crate::runtime::kubernetes::events::{Events, Note};
use crate::runtime::kubernetes::logs;

/// Lines of log on the report, shared by all that failed.
const LINES: usize = 20;
/// How many failures are shown closely.
const BLOCKS: usize = 4;
/// Where a line of a log is cut, and where Kubernetes' words are.
const LOG_WIDTH: usize = 160;
const WIDTH: usize = 480;

/// What the closer views are made from.
pub(super) struct Report<'a> {
    pub discovery: &'a Discovery,
    pub cluster: &'a Cluster,
    pub redactor: &'a Redactor,
    pub events: &'a Events,
}

/// The error itself: which object, and what is wrong with it.
pub(super) fn headline(lost: &[Finding]) -> String {
    match lost {
        [one] => format!("{} {} cannot become ready: {}", one.kind, one.name, one.cause.what),
        more => {
            let each: Vec<String> =
                more.iter().map(|one| format!("{} {}: {}", one.kind, one.name, one.cause.what)).collect();
            format!("{} objects cannot become ready: {}", more.len(), each.join("; "))
        }
    }
}

/// What to change, for all that failed; each said once.
pub(super) fn advice(lost: &[Finding]) -> Vec<String> {
    distinct(lost.iter().map(|one| one.cause.advice.clone()))
}

/// The commands that show more of the first few.
pub(super) fn looks(lost: &[Finding], kubectl: &str) -> Vec<String> {
    distinct(lost.iter().take(BLOCKS).map(|one| format!("look at it: {}", look(one, kubectl))))
}

fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    texts.filter(|text| known.insert(text.clone())).collect()
}

fn look(one: &Finding, kubectl: &str) -> String {
    match (&one.cause.log, &one.cause.container) {
        (Some(log), Some(container)) => {
            let previous = if *log == Log::Previous { " --previous" } else { "" };
            format!("{kubectl} logs {} -c {container}{previous}", one.pod)
        }
        _ if one.cause.gone => {
            format!("{kubectl} get events --field-selector involvedObject.name={}", one.name)
        }
        _ => format!("{kubectl} describe {} {}", one.kind.to_lowercase(), one.name),
    }
}

/// The newest event that says more of the failure.
fn event(one: &Finding, events: &Events) -> Option<Note> {
    let about = if one.kind == "Pod" {
        events.about("Pod", &one.name, one.uid.as_deref())
    } else {
        events.about_maker(&one.kind, &one.name)
    };
    one.cause.event.find(&about, one.cause.container.as_deref()).cloned()
}

impl Report<'_> {
    /// One block for each of the first few failures.
    pub(super) async fn blocks(&self, lost: &[Finding]) -> String {
        let lines = (LINES / lost.len().clamp(1, BLOCKS)).max(1);
        let shown = join_all(lost.iter().take(BLOCKS).map(|one| self.block(one, lines))).await;
        let mut blocks: Vec<String> = shown.into_iter().flatten().collect();
        if lost.len() > BLOCKS {
            blocks.push(format!("and {} more", lost.len() - BLOCKS));
        }
        if self.events.forbidden {
            blocks.push("(events might tell more, but may not be read: that needs the verbs list and watch on events)".into());
        }
        blocks.join("\n\n")
    }

    /// `None` where there is no more to say than the error itself does.
    async fn block(&self, one: &Finding, lines: usize) -> Option<String> {
        let mut block = vec![self.title(one)];
        let event = event(one, self.events);
        let why = one.cause.why.split_whitespace().collect::<Vec<_>>().join(" ");
        if !why.is_empty() && !event.as_ref().is_some_and(|event| event.message.contains(&why)) {
            let reason =
                if one.cause.reason.is_empty() { String::new() } else { format!("{}: ", one.cause.reason) };
            block.push(format!("  why:   {reason}{}", self.clean(&why, WIDTH)));
        }
        if let Some(event) = event {
            let kind = if event.warning { "Warning" } else { "Normal" };
            let times = if event.count > 1 { format!(" ({} times)", event.count) } else { String::new() };
            block.push(format!(
                "  event: {kind} {}{times}: {}",
                event.reason,
                self.clean(&event.message, WIDTH)
            ));
        }
        if let (Some(log), Some(container)) = (one.cause.log, &one.cause.container) {
            match logs::tail(self.cluster, &one.pod, container, log, lines).await {
                Ok(text) => {
                    let end = if text.len() < lines {
                        "log:".to_owned()
                    } else {
                        format!("log:   (its last {lines} lines)")
                    };
                    block.push(format!("  {end}"));
                    block.extend(text.iter().map(|line| format!("    | {}", self.clean(line, LOG_WIDTH))));
                }
                Err(reason) => block.push(format!("  log:   {reason}")),
            }
        }
        (block.len() > 1).then(|| block.join("\n"))
    }

    /// `Pod mysql-1 (database mysql), container mysql, image mysql:9.7`
    fn title(&self, one: &Finding) -> String {
        let databases = self.discovery.databases.iter().filter(|database| database.workload == one.workload);
        let names: Vec<&str> = databases.map(|database| database.name.as_str()).collect();
        let names = match names.as_slice() {
            [] => String::new(),
            [name] => format!(" (database {name})"),
            names => format!(" (databases {})", names.join(", ")),
        };
        let container = one
            .cause
            .container
            .as_ref()
            .map(|container| format!(", container {container}{}", self.image(one, container)));
        format!("{} {}{names}{}", one.kind, one.name, container.unwrap_or_default())
    }

    fn image(&self, one: &Finding, container: &str) -> String {
        let workload = self.discovery.workloads.iter().find(|workload| workload.id == one.workload);
        let spec = workload.map(|workload| &workload.spec);
        let containers = spec
            .into_iter()
            .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let image =
            containers.filter(|known| known.name == container).find_map(|known| known.image.as_deref());
        image.map(|image| format!(", image {image}")).unwrap_or_default()
    }

    /// Fit to be shown: without secrets, in one line of bounded length, without what would steer a terminal.
    fn clean(&self, text: &str, width: usize) -> String {
        let text: String =
            text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
        let text = self.redactor.redact(&text);
        match text.char_indices().nth(width) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::kubernetes::diagnose::Cause;

    fn finding(name: &str, cause: Cause) -> Finding {
        Finding {
            kind: "Pod".into(),
            name: name.into(),
            uid: None,
            pod: name.into(),
            workload: format!("Pod/{name}"),
            cause,
        }
    }

    #[test]
    fn everything_that_failed_is_named_and_what_they_share_is_said_once() {
        let cause = |what: &str, log| Cause {
            what: what.into(),
            advice: "correct it".into(),
            container: Some("db".into()),
            log,
            ..Cause::default()
        };
        let lost = [
            finding("a", cause("it ended", Some(Log::Previous))),
            finding("b", cause("it has no image", None)),
        ];
        assert_eq!(headline(&lost[..1]), "Pod a cannot become ready: it ended");
        assert_eq!(headline(&lost), "2 objects cannot become ready: Pod a: it ended; Pod b: it has no image");
        assert_eq!(advice(&lost), ["correct it"]);
        assert_eq!(
            looks(&lost, "kubectl -n ns"),
            ["look at it: kubectl -n ns logs a -c db --previous", "look at it: kubectl -n ns describe pod b"]
        );
        let gone = Cause { gone: true, ..Cause::default() };
        assert!(
            looks(&[finding("c", gone)], "kubectl")[0]
                .ends_with("get events --field-selector involvedObject.name=c")
        );
    }
}
