//! What a person sees while waiting, on standard error: a live line a database on a terminal, a plain line a
//! change elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::runtime::Handle;

use crate::console;
use crate::failure::hints_of;

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    Quiet,
    Normal,
    Verbose,
}

/// The lines of one command.
pub struct Progress {
    loudness: Loudness,
    start: Instant,
    live: Option<MultiProgress>,
    lines: RefCell<BTreeMap<String, Line>>,
}

struct Line {
    stage: &'static str,
    detail: String,
    bar: Option<ProgressBar>,
}

impl Line {
    fn told(&self, name: &str) -> String {
        let Self { stage, detail, .. } = self;
        if detail.is_empty() { format!("{name}: {stage}") } else { format!("{name}: {stage} ({detail})") }
    }
}

impl Progress {
    /// Live lines if standard error is a terminal.
    pub fn new(loudness: Loudness) -> Self {
        let is_live = loudness == Loudness::Normal && console::is_seen();
        let live = || {
            MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
                Box::<console::Screen>::default(),
                PICTURES,
            ))
        };
        Self { loudness, start: Instant::now(), live: is_live.then(live), lines: RefCell::default() }
    }

    /// A message on a line of its own.
    pub fn say(&self, message: &str) {
        if self.loudness != Loudness::Quiet {
            self.print(message);
        }
    }

    /// A message that only `--verbose` shows.
    pub fn explain(&self, message: &str) {
        if self.loudness == Loudness::Verbose {
            self.print(message);
        }
    }

    /// Something that the user should look at, whatever the loudness.
    pub fn warn(&self, message: &str) {
        self.print(&format!("warning: {message}"));
    }

    /// An error that does not end the command, with its remedies.
    pub fn warn_of(&self, error: &anyhow::Error) {
        self.warn(&format!("{error:#}"));
        hints_of(error).iter().for_each(|hint| self.say(&format!("  {hint}")));
    }

    /// Where `name` is: a stage, such as `initialising`, and a detail that may change often.
    pub fn stage(&self, name: &str, stage: &'static str, detail: &str) {
        let mut lines = self.lines.borrow_mut();
        let line = lines.entry(name.to_owned()).or_insert_with(|| Line {
            stage: "",
            detail: String::new(),
            bar: None,
        });
        if line.stage == stage && line.detail == detail {
            return;
        }
        let new_stage = line.stage != stage;
        line.stage = stage;
        detail.clone_into(&mut line.detail);
        let text = line.told(name);
        if let Some(live) = &self.live {
            let bar = line.bar.get_or_insert_with(|| live.add(spinner()));
            bar.set_message(console::clean(&text).replace('\n', " "));
            if stage == READY {
                // What is final moves up to the lines that stay.
                bar.finish_and_clear();
                line.bar = None;
                self.print(&text);
            }
        } else if self.loudness == Loudness::Verbose || (new_stage && self.loudness == Loudness::Normal) {
            self.print(&text);
        }
    }

    /// Where a wait is that has no stages: each change is told, a live line where there is a terminal.
    pub fn wait(&self, name: &str, text: &str) {
        let is_known = self.lines.borrow().get(name).is_some_and(|line| line.detail == text);
        if is_known {
            return;
        }
        if self.live.is_some() {
            return self.stage(name, "waiting", text);
        }
        let line = Line { stage: "waiting", detail: text.to_owned(), bar: None };
        self.lines.borrow_mut().insert(name.to_owned(), line);
        self.say(&format!("{name}: waiting ({text})"));
    }

    /// The last stage and detail of everything that is not ready: what a timeout has to tell.
    pub fn unfinished(&self) -> Vec<String> {
        let lines = self.lines.borrow();
        lines.iter().filter(|(_, line)| line.stage != READY).map(|(name, line)| line.told(name)).collect()
    }

    /// Takes the live lines away, so that what is printed next stands alone.
    pub fn finish(&self) {
        for line in self.lines.borrow_mut().values_mut() {
            if let Some(bar) = line.bar.take() {
                bar.finish_and_clear();
            }
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn print(&self, message: &str) {
        let line = console::message(&format!("{:>6.1}s {message}", self.start.elapsed().as_secs_f64()));
        match &self.live {
            // A line above the live ones; a terminal that went away is no reason to fail.
            Some(live) => drop(live.println(line)),
            None => console::say(&line),
        }
    }
}

/// How many pictures of the live lines a second may have.
const PICTURES: u8 = 20;

/// How often a live line is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// The stage that ends a line.
pub const READY: &str = "ready";

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>6} {spinner} {wide_msg}") {
        bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    }
    tick(&bar);
    bar
}

/// Keeps the time of a live line moving, without the thread of its own that the library would start, or
/// panic.
fn tick(bar: &ProgressBar) {
    let (bar, Ok(runtime)) = (bar.downgrade(), Handle::try_current()) else { return };
    runtime.spawn(async move {
        let mut ticks = tokio::time::interval(TICK);
        while let Some(bar) = bar.upgrade().filter(|bar| !bar.is_finished()) {
            // A terminal that was stopped would get all of these pictures once it goes on.
            if !console::is_behind() {
                bar.tick();
            }
            ticks.tick().await;
        }
    });
}
