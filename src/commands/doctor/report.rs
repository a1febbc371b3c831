//! What was found, for people.
use crate::console::clean;
use crate::doctor::{Status, Verdict};

/// A line a verdict, and its remedy below it.
pub(super) fn text(verdicts: &[Verdict], in_colour: bool) -> String {
    let width = verdicts.iter().map(|verdict| verdict.check.len()).max().unwrap_or_default();
    verdicts.iter().map(|verdict| entry(verdict, width, in_colour)).collect()
}

fn entry(verdict: &Verdict, width: usize, in_colour: bool) -> String {
    let Verdict { check, object, status, message, remedy } = verdict;
    let padded = format!("{:7}", status.word());
    let word = match colour(*status).filter(|_| in_colour) {
        Some(colour) => format!("\x1b[{colour}m{padded}\x1b[0m"),
        None => padded,
    };
    // Many messages name their object; the others begin with it.
    let object = object
        .as_deref()
        .filter(|object| !names(message, object))
        .map(|object| format!("{object}: "))
        .unwrap_or_default();
    let indent = " ".repeat(7 + 2 + width + 2);
    let remedy = remedy.iter().flat_map(|remedy| remedy.lines()).enumerate().map(|(number, line)| {
        let lead = if number == 0 { "-> " } else { "   " };
        format!("{indent}{lead}{line}\n")
    });
    word + &clean(&format!("  {check:width$}  {object}{message}\n{}", remedy.collect::<String>()))
}

/// Whether a message says which object it is about, by its kind and name, or by its name alone.
fn names(message: &str, object: &str) -> bool {
    let name = object.split_once(' ').map_or(object, |(_, name)| name);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    message.match_indices(name).any(|(at, _)| {
        let (before, after) = (&message[..at], &message[at + name.len()..]);
        !before.ends_with(is_part) && !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
    })
}

fn colour(status: Status) -> Option<u8> {
    match status {
        Status::Ok => Some(32),
        Status::Skipped => None,
        Status::Warning => Some(33),
        Status::Problem => Some(31),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts() -> Vec<Verdict> {
        vec![
            Verdict::ok("api", "https://a answers"),
            Verdict::problem("rights", "missing: pods: watch")
                .remedy("add this:\nrules:\n- {verbs: [watch]}"),
            Verdict::warning("pod-security", "it needs x").on("Pod a"),
            Verdict::skipped("dns", "Service db-1 is not there").on("Service db-1"),
        ]
    }

    #[test]
    fn remedies_stand_below_in_line() {
        assert_eq!(
            text(&verdicts(), false),
            "ok       api           https://a answers\n\
             problem  rights        missing: pods: watch\n                       \
             -> add this:\n                          \
             rules:\n                          \
             - {verbs: [watch]}\n\
             warning  pod-security  Pod a: it needs x\n\
             skipped  dns           Service db-1 is not there\n"
        );
    }

    #[test]
    fn only_the_status_is_in_colour() {
        let shown = text(&verdicts(), true);
        assert!(shown.starts_with("\x1b[32mok     \x1b[0m  api "), "{shown}");
        assert_eq!(shown.matches("\x1b[31m").count(), 1);
    }

    #[test]
    fn an_object_is_named_once() {
        assert!(
            names("quota small: too little", "ResourceQuota small")
                && names("needs Secret a, which", "Secret a")
        );
        assert!(
            !names("the smallest", "ResourceQuota small")
                && !names("Pod db-10", "Pod db-1")
                && !names("x", "Pod a")
        );
    }
}
