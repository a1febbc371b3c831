//! Renders in a process of its own what could go on for ever or fill the memory: Tera bounds how deep a
//! template is nested, and neither how long a loop runs nor how large a text grows.
//!
//! The process is testbed once more. The system holds it to the memory and the processor's time that it may
//! have, and whoever started it ends it once it has taken too long. A template without a tag and with no
//! filter but `quote` cannot do either, and is rendered where it is.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MOST, Template};
use crate::console;

/// What testbed is called with to render.
pub const NAME: &str = "render-apart";

/// How long it may take.
const TIME: Duration = Duration::from_secs(5);
/// How much memory it may have, in bytes, the program's own included.
const MEMORY: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Task {
    name: String,
    /// The template's text as it was written, for errors.
    written: String,
    text: String,
    globals: Value,
}

/// The longest expression that is rendered where it is.
const SHORT: usize = 200;

/// Whether rendering takes no more than a moment: nothing but texts with plain variables in them.
pub fn is_simple(text: &str) -> bool {
    let is_plain = |expression: &str| {
        let name = expression.trim();
        let name = name.strip_suffix("| urlencode").unwrap_or(name).trim_end_matches("| quote").trim();
        expression.len() <= SHORT && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-[]\"'".contains(c))
    };
    !text.contains("{%")
        && text
            .split("{{")
            .skip(1)
            .all(|rest| rest.split_once("}}").is_some_and(|(expression, _)| is_plain(expression)))
}

/// Renders in a process of its own.
///
/// # Errors
/// As [`Template::render`]; that it took too long or too much.
pub fn render(template: &Template, text: &str, globals: &Value) -> anyhow::Result<String> {
    let task = Task {
        name: template.name.to_owned(),
        written: template.text.to_owned(),
        text: text.to_owned(),
        globals: globals.clone(),
    };
    let task = serde_json::to_vec(&task)?;
    let mut child = Command::new("/proc/self/exe")
        .arg(NAME)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{}: starting a process that renders it", template.name))?;
    let answer = converse(&mut child, task);
    // Also one that has answered and goes on.
    let _ = child.kill();
    let status = child.wait()?;
    read(template.name, answer, status)
}

/// Gives the process its task and takes its answer; `None` when that takes too long.
fn converse(child: &mut Child, task: Vec<u8>) -> Option<Vec<u8>> {
    let (mut input, output) = (child.stdin.take()?, child.stdout.take()?);
    let (sender, receiver) = channel();
    // They end with the process: nobody waits for them.
    std::thread::Builder::new().spawn(move || drop(input.write_all(&task))).ok()?;
    let receive = move || {
        let mut answer = Vec::new();
        let _ = output.take(MOST as u64 + 2).read_to_end(&mut answer);
        let _ = sender.send(answer);
    };
    std::thread::Builder::new().spawn(receive).ok()?;
    receiver.recv_timeout(TIME).ok()
}

fn read(name: &str, answer: Option<Vec<u8>>, status: ExitStatus) -> anyhow::Result<String> {
    let Some(answer) = answer else { bail!("{name}: rendering takes more than {} seconds", TIME.as_secs()) };
    let text =
        String::from_utf8(answer).with_context(|| format!("{name}: the rendered text is not UTF-8"))?;
    if let Some(text) = text.strip_prefix(OK) {
        return Ok(text.to_owned());
    }
    match text.strip_prefix(ERROR) {
        Some(error) => Err(anyhow!("{error}")),
        None => {
            bail!("{name}: rendering takes more than {} MiB of memory or never ends ({status})", MEMORY >> 20)
        }
    }
}

/// What an answer begins with.
const OK: char = '+';
const ERROR: char = '-';

/// The process: reads its task, renders, and answers. Returns the exit code.
pub fn run(args: &[OsString]) -> u8 {
    if !args.is_empty() || limit().is_err() {
        return 2;
    }
    let mut task = Vec::new();
    if std::io::stdin().lock().read_to_end(&mut task).is_err() {
        return 2;
    }
    let Ok(task) = serde_json::from_slice::<Task>(&task) else { return 2 };
    let template = Template { name: &task.name, text: &task.written, parts: &[] };
    let (sign, text) = match template.render_here(&task.text, &task.globals) {
        Ok(text) => (OK, text),
        Err(error) => (ERROR, format!("{error:#}")),
    };
    u8::from(console::answer(format!("{sign}{text}").as_bytes()).is_err())
}

fn limit() -> rustix::io::Result<()> {
    let at_most = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    // A second more than whoever waits: that one has the better error.
    setrlimit(Resource::Cpu, at_most(TIME.as_secs() + 1))?;
    setrlimit(Resource::Core, at_most(0))?;
    setrlimit(Resource::As, at_most(MEMORY))?;
    set_parent_process_death_signal(Some(Signal::KILL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_variables_are_simple() {
        for text in ["", "a: {{ x }}\nb: {{ params['a-b'].c | quote }}", "a: }} b", "{{ params[\"x\"] }}"] {
            assert!(is_simple(text), "{text}");
        }
        let long = format!("{{{{ {} }}}}", "a.".repeat(200));
        for text in [
            "{% set x = 1 %}",
            "{{ x",
            "{{ x ~ x }}",
            "{{ x | replace(from='', to=x) }}",
            "{{ range(end=9) }}",
            "{{- x }}",
            "{# x #}{{ 1 * 2 }}",
            &long,
        ] {
            assert!(!is_simple(text), "{text}");
        }
    }
}
