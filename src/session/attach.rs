//! `testbed attach`: the terminal of a database's container. It ends when the container does, or when somebody
//! leaves it: that is no end of the container.

use std::future::pending;

use anyhow::{Context, anyhow};
use futures::SinkExt;
use kube::api::{AttachedProcess, TerminalSize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::logs::{Gone, Shown};
use super::{Signals, cluster, ended, which};
use crate::background;
use crate::bug;
use crate::cli::{Attach, Global};
use crate::console::terminal::{self, Raw};
use crate::console::{self, Output};
use crate::failure::{Advise, usage};
use crate::location::Location;
use crate::progress::Progress;
use crate::redact::{Redactor, Stream};
use crate::registry::{Record, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::attach::{self, Container};
use crate::runtime::kubernetes::collect;

/// As much as is shown at once.
const BLOCK: usize = 64 << 10;

/// Shows what the container writes from now on, and passes on what is typed where that is asked for. Tells the
/// exit code.
///
/// # Errors
/// There is no such run, database or container; what keeps it from being attached to.
pub(crate) async fn attach(args: Attach, global: &Global, progress: &Progress) -> anyhow::Result<u8> {
    let record = which::in_use(Registry::find().as_ref(), global, args.which.run_id.as_deref())?;
    let Some(location) = record.location() else { return Err(no_container(&args, &record)) };
    let mut signals = Signals::new()?;
    let opened = tokio::select! {
        opened = Opened::new(&args, &record, location, global, progress) => opened?,
        error = signals.interrupted() => return ended(error),
    };
    // Outside of what may panic, so that it is over before anything is told.
    let mut raw = if opened.is_raw { Some(Raw::begin()?) } else { None };
    let work = async {
        bug::provoke("attached", "");
        tokio::select! {
            done = opened.pass(&raw) => done,
            error = signals.interrupted() => Err(error),
        }
    };
    let done = bug::caught(work).await;
    if raw.take().is_some() && console::is_seen() {
        // Whatever comes next begins a line.
        console::say("");
    }
    match done {
        Ok(End::OfContainer(container)) => {
            progress.say(&format!("{container} has ended"));
            Ok(0)
        }
        Ok(End::Left) => Ok(0),
        // Whoever has stopped reading wants no more.
        Err(error) if error.is::<Gone>() => Ok(0),
        Err(error) => ended(error),
    }
}

/// The error about a server of this machine.
fn no_container(args: &Attach, record: &Record) -> anyhow::Error {
    let name = args.database.as_deref().or(record.databases.first().map(|one| one.name.as_str()));
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    usage(format!(
        "run {} is on this machine, where no container is: its servers have no terminal",
        record.run_id
    ))
    .hint(format!("testbed logs -f{name} follows what they write; testbed connect{name} opens a client"))
}

enum End {
    OfContainer(Container),
    /// By the keys for it.
    Left,
}

/// A container that is attached to.
struct Opened {
    container: Container,
    attached: AttachedProcess,
    shown: Shown,
    redactor: Redactor,
    /// Whether the terminal here becomes the container's own.
    is_raw: bool,
}

impl Opened {
    async fn new(
        args: &Attach,
        record: &Record,
        location: &Location,
        global: &Global,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let cluster = cluster::standing::cluster(location, global).await?;
        let run_id = RunId::parse(&record.run_id)?;
        let found = collect::to_follow(&cluster, &run_id, cluster::standing::TIMEOUT).await?;
        found.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
        let names: Vec<&str> = found.logs.iter().map(|log| log.name.as_str()).collect();
        let index = choose(args.database.as_deref(), record, &names)?;
        let (name, log) = (names[index].to_owned(), &found.logs[index]);
        let container = attach::find(&cluster, &log.pod, &log.container).await?;
        if args.stdin && !container.stdin {
            return Err(usage(format!("{container} reads nothing: it has no `stdin: true`"))).hint(format!(
                "without -i testbed attach {name} shows what it writes; testbed connect {name} opens a client"
            ));
        }
        let lacks = match (container.tty, terminal::is_typed()) {
            _ if !args.tty => None,
            (false, _) => Some(format!("{container} has no terminal: it has no `tty: true`")),
            (true, false) => Some("standard input is no terminal".to_owned()),
            (true, true) => None,
        };
        if let Some(lacks) = &lacks {
            progress.say(&format!("note: going on without -t: {lacks}"));
        }
        let is_raw = args.tty && lacks.is_none();
        let opening = attach::open(&cluster, &container, args.stdin);
        let attached = tokio::time::timeout(cluster::standing::TIMEOUT, opening).await;
        let attached = attached.unwrap_or_else(|_| Err(cluster.late(cluster::standing::TIMEOUT)))?;
        progress.say(&match is_raw {
            true => format!(
                "attached to {container}: Ctrl-P Ctrl-Q leaves it; if there is no prompt, press Enter"
            ),
            false => format!("attached to {container}: Ctrl-C leaves it"),
        });
        let shown = Shown::of_one(name);
        Ok(Self { container, attached, shown, redactor: found.redactor, is_raw })
    }

    /// Passes everything on, in both directions. The terminal's mode is the caller's to keep as long.
    async fn pass(mut self, raw: &Option<Raw>) -> anyhow::Result<End> {
        let (stdin, sizes) = (self.attached.stdin(), self.attached.terminal_size());
        let (stdout, stderr) = (self.attached.stdout(), self.attached.stderr());
        let is_raw = raw.is_some();
        let typed = async {
            let Some(mut to) = stdin else { return pending().await };
            let (mut input, mut keys) = (terminal::input()?, Keys::default());
            while let Some(mut bytes) = input.recv().await {
                let is_left = is_raw && keys.take(&mut bytes);
                // Of one that reads no more, its end tells.
                if to.write_all(&bytes).await.is_err() {
                    return pending().await;
                }
                if is_left {
                    return Ok(());
                }
            }
            let _ = to.shutdown().await;
            pending::<anyhow::Result<()>>().await
        };
        let sized = async {
            let Some(mut to) = sizes.filter(|_| is_raw) else { return pending().await };
            let mut changed = signal(SignalKind::window_change()).context("listening for signals")?;
            // A size that is another one has what is there drawn anew, as kubectl knows.
            let mut more = 1;
            loop {
                if let Some((width, height)) = terminal::size() {
                    let size = TerminalSize {
                        width: width.saturating_add(more),
                        height: height.saturating_add(more),
                    };
                    if to.send(size).await.is_err() {
                        return pending::<anyhow::Result<()>>().await;
                    }
                }
                if std::mem::take(&mut more) == 0 {
                    changed.recv().await;
                }
            }
        };
        let shown = async {
            let out = self.show(stdout, Output::Result, is_raw);
            let err = self.show(stderr, Output::Messages, is_raw);
            futures::future::try_join(out, err).await
        };
        tokio::select! {
            left = typed => return left.map(|()| End::Left),
            failed = sized => failed?,
            shown = shown => drop(shown?),
        }
        attach::end(&self.container, self.attached).await?;
        Ok(End::OfContainer(self.container))
    }

    /// Shows one of its outputs: as it comes where the terminal is the container's own, else by lines, without
    /// known passwords and what a terminal would obey.
    async fn show(
        &self,
        from: Option<impl AsyncRead + Unpin>,
        to: Output,
        is_raw: bool,
    ) -> anyhow::Result<()> {
        let Some(mut from) = from else { return Ok(()) };
        let mut stream = Stream::new(&self.redactor);
        let mut block = vec![0; BLOCK];
        while let Ok(count @ 1..) = from.read(&mut block).await {
            if is_raw {
                let bytes = block[..count].to_vec();
                background::run(move || to.write(&bytes)).await?.map_err(|error| anyhow!(error))?;
            } else {
                self.shown.give_to(to, 0, stream.push(&block[..count])).await?;
            }
        }
        self.shown.give_to(to, 0, stream.finish()).await
    }
}

/// The one that is named, or the only one, by its number.
fn choose(wanted: Option<&str>, record: &Record, names: &[&str]) -> anyhow::Result<usize> {
    let run_id = &record.run_id;
    match (wanted, names) {
        (_, []) => Err(usage(format!("run {run_id} has no container of a database"))),
        (None, [_]) => Ok(0),
        (None, [first, ..]) => {
            Err(usage(format!("run {run_id} has several databases: {}", names.join(", "))))
                .hint(format!("say which one: testbed attach {first}"))
        }
        (Some(wanted), _) => names
            .iter()
            .position(|name| *name == wanted)
            .ok_or_else(|| usage(format!("run {run_id} has no container of {wanted}")))
            .hint(format!("it has those of {}", names.join(", "))),
    }
}

/// The keys that leave a container's terminal, as docker has them: Ctrl-P Ctrl-Q.
#[derive(Debug, Default)]
struct Keys {
    /// Whether the first of them waits for what comes next.
    is_held: bool,
}

impl Keys {
    const FIRST: u8 = 0x10;
    const SECOND: u8 = 0x11;

    /// Takes them out of what is typed, with all that comes after. Tells whether both were there.
    fn take(&mut self, typed: &mut Vec<u8>) -> bool {
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for byte in std::mem::take(typed) {
            match (std::mem::replace(&mut self.is_held, byte == Self::FIRST), byte) {
                (true, Self::SECOND) => {
                    *typed = passed;
                    return true;
                }
                (true, Self::FIRST) => passed.push(Self::FIRST),
                (true, other) => passed.extend([Self::FIRST, other]),
                (false, Self::FIRST) => {}
                (false, other) => passed.push(other),
            }
        }
        *typed = passed;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_leave_and_one_of_them_is_passed_on() {
        for (typed, passed, is_left) in [
            (&["ls\r"][..], "ls\r", false),
            (&["a\u{10}\u{11}b"], "a", true),
            (&["a\u{10}", "\u{11}b"], "a", true),
            (&["\u{10}", "k", "\u{11}"], "\u{10}k\u{11}", false),
            (&["\u{10}\u{10}\u{11}"], "\u{10}", true),
            (&["\u{11}\u{10}"], "\u{11}", false),
        ] {
            let (mut keys, mut all, mut left) = (Keys::default(), Vec::new(), false);
            for part in typed {
                let mut part = part.as_bytes().to_vec();
                left |= keys.take(&mut part);
                all.extend(part);
            }
            assert_eq!((all.as_slice(), left), (passed.as_bytes(), is_left), "{typed:?}");
        }
    }
}
